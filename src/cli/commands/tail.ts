/**
 * `millrace tail`: the events of one type as CloudEvents NDJSON, merged over all partitions. It
 * only reads, and belongs to no consumer group.
 */
import type { Command } from 'commander';
import { Option } from 'commander';
import { sleep } from '../../core/clock.ts';
import { compareEntryIds, formatPosition } from '../../core/position.ts';
import type { Deployment } from '../../deployment.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import type { Catalog } from '../../wire/catalog.ts';
import { formatEvent } from '../event-json.ts';
import { formatMasked } from '../masked-event.ts';
import { checkBatch, walkBatch } from '../../wire/batch-reader.ts';
import type { EventHeader } from '../../wire/event-header.ts';
import { envelopeProblem } from '../../wire/envelope-problem.ts';
import type { LongRunningContext, Stop } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { printable } from '../printable.ts';

const BLOCK_MS = 1000;
/**
 * Interval of reads on a Cluster, ms: a Cluster has no blocking read over the streams of several
 * nodes.
 */
const POLL_MS = 100;
const RETRY_MS = 500;
/** Most entries in memory, over all partitions. An entry may have some hundred KiB. */
const PAGE_ENTRIES = 256;

interface TailFlags {
  readonly from?: 'start' | 'end';
  readonly limit?: number;
  readonly partition?: number;
  readonly follow?: boolean;
  readonly masked?: boolean;
}

type Entry = [id: Buffer, fields: Buffer[]];

interface Stream {
  readonly partition: number;
  readonly key: string;
  /** Id of the last entry that was printed or skipped. */
  lastId: string;
}

export function registerTail(program: Command, context: LongRunningContext): void {
  program
    .command('tail')
    .description('print the events of a type as CloudEvents NDJSON')
    .argument('<type>', 'event type')
    .addOption(
      new Option(
        '--from <where>',
        'start: all retained events; end: new events only (default: end when following, else start)',
      ).choices(['start', 'end']),
    )
    .option(
      '--limit <n>',
      'end after this many events; implies --no-follow unless --follow is given',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .option('--partition <p>', 'print this partition only', wholeNumber(0, 1023))
    .option('--follow', 'wait for new events (default without --limit)')
    .option('--no-follow', 'end after the events that are there now')
    .option(
      '--masked',
      'leave out the fields that the schemas mask: null, and their paths in "masked"',
    )
    .addHelpText(
      'after',
      `
Events of all partitions are merged by the time of their entries. Within a partition the order is
exact. An unreadable entry is reported on stderr with its address and skipped.
SIGINT, SIGTERM and a closed stdout end the command with exit status 0.

Examples:
  millrace tail order.created
  millrace tail order.created --from start --limit 10
  millrace tail order.created --no-follow > orders.ndjson`,
    )
    .action((type: string, flags: TailFlags) => tail(type, flags, context));
}

async function tail(type: string, flags: TailFlags, context: LongRunningContext): Promise<void> {
  const follow = flags.follow ?? flags.limit === undefined;
  const from = flags.from ?? (follow ? 'end' : 'start');
  if (from === 'end' && !follow)
    throw new UsageError(
      '--from end prints new events only: without --follow there is nothing to print. Add --follow',
    );
  const stop = context.takeStop();
  const deployment = await context.open({ failFast: 'first' });
  deployment.catalog.get(type);
  const { partitions, keys } = deployment;
  if (flags.partition !== undefined && flags.partition >= partitions) {
    throw new UsageError(
      `--partition ${flags.partition}: this deployment has the partitions 0 to ${partitions - 1}`,
    );
  }
  const wanted =
    flags.partition === undefined
      ? Array.from({ length: partitions }, (_, p) => p)
      : [flags.partition];
  const streams: Stream[] = wanted.map((partition) => ({
    partition,
    key: keys.events(partition, type),
    lastId: '0-0',
  }));
  const printer = new Printer(type, deployment.catalog, context, flags);

  if (from === 'start') await printRetained(deployment.connection, streams, printer, stop);
  else await skipRetained(deployment.connection, streams);
  if (!follow || printer.full || stop.first.aborted) return;
  if (from === 'end')
    context.err(
      `millrace: waiting for new events of ${type} in ${plural(streams.length, 'partition')}`,
    );
  await printNew(deployment, streams, printer, stop, context);
}

/**
 * Prints the retained entries of all streams, merged by entry id. Each stream is read a page at a
 * time.
 */
async function printRetained(
  connection: RedisConnection,
  streams: readonly Stream[],
  printer: Printer,
  stop: Stop,
): Promise<void> {
  const count = Math.max(1, Math.floor(PAGE_ENTRIES / streams.length));
  const pages = new Map<Stream, Entry[]>();
  const turnPage = async (stream: Stream): Promise<void> => {
    const page = await readAfter(connection, stream, count);
    if (page.length > 0) pages.set(stream, page);
    else pages.delete(stream);
  };
  await Promise.all(streams.map(turnPage));
  while (pages.size > 0 && !printer.full && !stop.first.aborted) {
    let next: Stream | null = null;
    let nextId = '';
    for (const [stream, page] of pages) {
      const id = (page[0] as Entry)[0].toString('latin1');
      if (next !== null && compareEntryIds(id, nextId) >= 0) continue;
      next = stream;
      nextId = id;
    }
    const stream = next as Stream;
    const page = pages.get(stream) as Entry[];
    printer.print(stream.partition, page.shift() as Entry);
    stream.lastId = nextId;
    if (page.length === 0) await turnPage(stream);
  }
}

async function skipRetained(
  connection: RedisConnection,
  streams: readonly Stream[],
): Promise<void> {
  await Promise.all(
    streams.map(async (stream) => {
      const last = (await connection.commandBuffer(
        'XREVRANGE',
        stream.key,
        '+',
        '-',
        'COUNT',
        1,
      )) as Entry[];
      if (last[0]) stream.lastId = last[0][0].toString('latin1');
    }),
  );
}

async function printNew(
  deployment: Deployment,
  streams: readonly Stream[],
  printer: Printer,
  stop: Stop,
  context: LongRunningContext,
): Promise<void> {
  const { connection } = deployment;
  const count = Math.max(1, Math.floor(PAGE_ENTRIES / streams.length));
  const blocking = connection.isCluster ? null : deployment.connect('tail', { blocking: true });
  stop.first.addEventListener('abort', () => blocking?.destroy(), { once: true });
  const byKey = new Map(streams.map((stream) => [stream.key, stream]));
  let lost = false;
  while (!stop.first.aborted && !printer.full) {
    try {
      const found: [Stream, Entry][] = [];
      if (blocking) {
        const reply = (await blocking.commandBuffer(
          'XREAD',
          'COUNT',
          count,
          'BLOCK',
          BLOCK_MS,
          'STREAMS',
          ...streams.map((s) => s.key),
          ...streams.map((s) => s.lastId),
        )) as [Buffer, Entry[]][] | null;
        for (const [key, entries] of reply ?? [])
          for (const entry of entries) found.push([byKey.get(key.toString()) as Stream, entry]);
      } else {
        await Promise.all(
          streams.map(async (stream) => {
            for (const entry of await readAfter(connection, stream, count))
              found.push([stream, entry]);
          }),
        );
        if (found.length === 0) await sleep(POLL_MS, stop.first);
      }
      if (lost) context.err('millrace: the server answers again');
      lost = false;
      found.sort(([, a], [, b]) =>
        compareEntryIds(a[0].toString('latin1'), b[0].toString('latin1')),
      );
      for (const [stream, entry] of found) {
        if (printer.full || stop.first.aborted) break;
        printer.print(stream.partition, entry);
        stream.lastId = entry[0].toString('latin1');
      }
    } catch (error) {
      if (stop.first.aborted) return;
      if (!lost) context.err(`millrace: ${(error as Error).message}; trying again`);
      lost = true;
      await sleep(RETRY_MS, stop.first);
    }
  }
}

async function readAfter(
  connection: RedisConnection,
  stream: Stream,
  count: number,
): Promise<Entry[]> {
  return (await connection.commandBuffer(
    'XRANGE',
    stream.key,
    `(${stream.lastId}`,
    '+',
    'COUNT',
    count,
  )) as Entry[];
}

class Printer {
  readonly #type: string;
  readonly #catalog: Catalog;
  readonly #context: LongRunningContext;
  readonly #limit: number;
  readonly #masked: boolean;
  #printed = 0;

  constructor(type: string, catalog: Catalog, context: LongRunningContext, flags: TailFlags) {
    this.#type = type;
    this.#catalog = catalog;
    this.#context = context;
    this.#limit = flags.limit ?? Infinity;
    this.#masked = flags.masked ?? false;
  }

  get full(): boolean {
    return this.#printed >= this.#limit;
  }

  /**
   * Prints the events of an entry. As in a dispatcher, an unsound entry is skipped as a whole, an
   * unsound event alone.
   */
  print(partition: number, [idBytes, fields]: Entry): void {
    const entryId = idBytes.toString('latin1');
    const address = `${partition}/${entryId}`;
    const bytes = fieldOf(fields, 'b');
    const headers: EventHeader[] = [];
    try {
      if (!bytes) throw new Error('it has no field "b"');
      const crc = fieldOf(fields, 'c');
      checkBatch(bytes, crc ? Number(crc.toString('latin1')) : null);
      walkBatch(bytes, (header) => headers.push(header));
    } catch (error) {
      this.#context.err(
        `millrace: entry ${address} passed over: ${printable((error as Error).message)}`,
      );
      return;
    }
    for (const header of headers) {
      if (this.full) return;
      const position = formatPosition({ partition, entryId, position: header.position });
      try {
        this.#context.out(this.#line(bytes as Buffer, header));
        this.#printed++;
      } catch (error) {
        this.#context.err(
          `millrace: event ${printable(header.id)} at ${position} passed over: ${printable((error as Error).message)}`,
        );
      }
    }
  }

  #line(bytes: Buffer, header: EventHeader): string {
    const problem = envelopeProblem(header);
    if (problem !== null) throw problem;
    const type = header.type === '' ? this.#type : header.type;
    const data = this.#catalog
      .get(type)
      .decode(bytes.subarray(header.dataOffset, header.dataOffset + header.dataLength));
    return this.#masked
      ? formatMasked(this.#catalog, header, type, data)
      : formatEvent(header, type, data);
  }
}

function fieldOf(fields: readonly Buffer[], name: string): Buffer | null {
  for (let i = 0; i + 1 < fields.length; i += 2)
    if ((fields[i] as Buffer).toString('latin1') === name) return fields[i + 1] as Buffer;
  return null;
}
