/**
 * Finds the schema ids of all events that are still there. It looks into the streams of some types,
 * and into the parked lists and dead letters of some functions. It reads all of these, a page at a
 * time, and changes nothing.
 */
import type { RedisSource } from '../redis/source.ts';
import { lettersOf } from '../pipeline/dead/dead-letters.ts';
import { readEvent, walkBatch } from '../wire/batch-reader.ts';
import { decodeParked } from '../wire/parked.ts';

export interface PresentSchema {
  readonly type: string;
  /** Id of the schema. 0: events of producers that set no id. */
  readonly schema: number;
  streams: number;
  parked: number;
  dead: number;
  /**
   * Functions with such events in their parked lists or dead letters. Events in a stream are for
   * every function of the type.
   */
  readonly functions: Set<string>;
}

export interface PresentSchemas {
  readonly schemas: readonly PresentSchema[];
  /** Entries and letters that cannot be read. Their schemas are not known. */
  readonly unreadable: number;
}

export interface Wanted {
  readonly name: string;
  readonly on: readonly string[];
}

/** Entries per page. An entry may have megabytes. */
const PAGE = 50;
const PROGRESS_EVENTS = 500_000;

/** @param progress called now and then, with the number of events seen so far */
export async function findPresentSchemas(
  source: RedisSource,
  functions: readonly Wanted[],
  progress?: (events: number) => void,
): Promise<PresentSchemas> {
  const found = new Map<string, PresentSchema>();
  let unreadable = 0;
  let events = 0;
  const count = (type: string, schema: number): PresentSchema => {
    const key = `${type}/${schema}`;
    let present = found.get(key);
    if (!present) {
      present = { type, schema, streams: 0, parked: 0, dead: 0, functions: new Set() };
      found.set(key, present);
    }
    if (++events % PROGRESS_EVENTS === 0) progress?.(events);
    return present;
  };
  const attempt = (read: () => void): void => {
    try {
      read();
    } catch {
      unreadable++;
    }
  };

  const types = [...new Set(functions.flatMap((fn) => fn.on))].sort();
  for (let partition = 0; partition < source.partitions; partition++) {
    for (const type of types) {
      for await (const bytes of entriesOf(source, partition, type)) {
        attempt(() => walkBatch(bytes, (header) => void count(type, header.schema).streams++));
      }
    }
    for (const { name } of functions) {
      for await (const bytes of parkedOf(source, partition, name)) {
        attempt(() => {
          const record = decodeParked(bytes);
          const present = count(record.type, readEvent(record.event).schema);
          present.parked++;
          present.functions.add(name);
        });
      }
      for await (const letter of lettersOf(source, name, partition)) {
        if (letter.kind === 'entry') {
          unreadable++;
          continue;
        }
        attempt(() => {
          const present = count(letter.type, readEvent(letter.bytes).schema);
          present.dead++;
          present.functions.add(name);
        });
      }
    }
  }
  const schemas = [...found.values()].sort((a, b) =>
    a.type < b.type ? -1 : a.type > b.type ? 1 : a.schema - b.schema,
  );
  return { schemas, unreadable };
}

/** Yields the field `b` of each entry. */
async function* entriesOf(
  source: RedisSource,
  partition: number,
  type: string,
): AsyncGenerator<Buffer> {
  const key = source.keys.events(partition, type);
  for (let last = '0-0'; ;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      key,
      `(${last}`,
      '+',
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    for (const [id, fields] of page) {
      last = id.toString('latin1');
      for (let i = 0; i + 1 < fields.length; i += 2)
        if ((fields[i] as Buffer).equals(FIELD)) yield fields[i + 1] as Buffer;
    }
    if (page.length < PAGE) return;
  }
}
const FIELD = Buffer.from('b');

async function* parkedOf(
  source: RedisSource,
  partition: number,
  fn: string,
): AsyncGenerator<Buffer> {
  const { connection, keys } = source;
  // Units come and go during the read. So it reads a page of them at a time, by rank.
  for (let first = 0; ; first += PAGE) {
    const units = (await connection.command(
      'ZRANGE',
      keys.due(partition, fn),
      first,
      first + PAGE - 1,
    )) as string[];
    for (const unit of units) {
      for (let at = 0; ; at += PAGE) {
        const records = (await connection.commandBuffer(
          'LRANGE',
          keys.parked(partition, fn, unit),
          at,
          at + PAGE - 1,
        )) as Buffer[];
        yield* records;
        if (records.length < PAGE) break;
      }
    }
    if (units.length < PAGE) return;
  }
}
