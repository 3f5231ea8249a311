/** Streams with events to find: append and counters are the real ones. */
import { crc32 } from 'node:zlib';
import { compareEntryIds } from '../../src/core/position.ts';
import type { FindSource, SearchOptions, SearchProgress } from '../../src/find/search-events.ts';
import { searchEvents } from '../../src/find/search-events.ts';
import type { FoundEvent } from '../../src/find/found-event.ts';
import { appendFlush, type Appended } from '../../src/pipeline/append/append.ts';
import { RegistryStore } from '../../src/registry/registry-store.ts';
import { SchemaRegistry } from '../../src/registry/registry.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { createCatalog, type Catalog } from '../../src/wire/catalog.ts';
import { millrace } from '../../src/wire/generated/millrace.js';
import type { TestLike } from '../../scripts/lab/redis-server.ts';
import { makeBed, type Bed } from '../pipeline/bare-lane.ts';

const PROTO = `syntax = "proto3";
package find.v1;
import "millrace/v1/options.proto";
enum Status { NEW = 0; LATE = 1; }
message Line { string sku = 1; int32 quantity = 2; }
message Ordered {
  option (millrace.v1.event) = { type: "ordered", subject: "order_id" };
  string order_id = 1;
  int64 number = 2;
  Status status = 3;
  optional string note = 4;
  repeated Line lines = 5;
}
message Paid {
  option (millrace.v1.event) = { type: "paid", subject: "order_id" };
  string order_id = 1;
  double amount = 2;
}`;

export interface FindBed extends Bed, FindSource {
  readonly catalog: Catalog;
}

export async function makeFindBed(t: TestLike, partitions = 2): Promise<FindBed> {
  const bed = await makeBed(t, partitions);
  return {
    ...bed,
    catalog: createCatalog([{ name: 'find.proto', text: PROTO }]),
    registry: new SchemaRegistry(new RegistryStore(bed.connection, bed.keys)),
  };
}

export interface NewFindEvent {
  readonly id: string;
  readonly subject: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Bytes of the payload, in place of `data`. */
  readonly bytes?: Buffer;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly timeMs?: number;
  readonly source?: string;
  readonly schema?: number;
}

let producers = 0;

/**
 * Appends one flush. Positions are numbered through its types.
 * @returns its entry id
 */
export async function append(
  bed: FindBed,
  partition: number,
  parts: Readonly<Record<string, readonly NewFindEvent[]>>,
): Promise<string> {
  let position = 0;
  const { entryId } = (await appendFlush(
    {
      partition,
      producer: `find-${producers++}`,
      sequence: 1,
      parts: Object.entries(parts).map(([type, events]) => {
        const bytes = Buffer.from(
          millrace.v1.EventBatch.encode(
            millrace.v1.EventBatch.fromObject({
              events: events.map(({ data, bytes, ...event }) => ({
                ...event,
                position: position++,
                data: bytes ?? payloadOf(bed.catalog, type, event.subject, data ?? {}),
              })),
            }),
          ).finish(),
        );
        return { type, count: events.length, crc: crc32(bytes), bytes };
      }),
    },
    {
      connection: bed.connection,
      keys: bed.keys,
      confirm: { kind: 'none' },
      signal: new AbortController().signal,
      deadlineMs: 5000,
    },
  )) as Appended;
  return entryId;
}

function payloadOf(
  catalog: Catalog,
  type: string,
  subject: string,
  data: Readonly<Record<string, unknown>>,
): Buffer {
  return Buffer.from(catalog.get(type).encode({ orderId: subject, ...data }));
}

export interface Searched {
  readonly matches: readonly FoundEvent[];
  /** All reports, the last one first. */
  readonly last: SearchProgress;
  readonly reports: number;
}

/** Searches without pauses. */
export async function search(
  bed: FindBed,
  expression: string,
  options: SearchOptions = {},
): Promise<Searched> {
  const matches: FoundEvent[] = [];
  const reports: SearchProgress[] = [];
  for await (const { match, progress } of searchEvents(bed, expression, { share: 1, ...options })) {
    if (match) matches.push(match);
    else reports.push(progress);
  }
  return { matches, last: reports.at(-1) as SearchProgress, reports: reports.length };
}

export interface StoredEvent {
  readonly id: string;
  readonly subject: string;
  readonly type: string;
  readonly partition: number;
  readonly entryId: string;
  readonly position: number;
}

/** Reads all events of the types as a search without pages does, the newest first. */
export async function allEvents(bed: FindBed, types: readonly string[]): Promise<StoredEvent[]> {
  const all: StoredEvent[] = [];
  for (let partition = 0; partition < bed.partitions; partition++) {
    for (const type of types) {
      const entries = (await bed.connection.commandBuffer(
        'XRANGE',
        bed.keys.events(partition, type),
        '-',
        '+',
      )) as [Buffer, Buffer[]][];
      for (const [idBytes, fields] of entries) {
        const entryId = idBytes.toString();
        const at = fields.findIndex((field, i) => i % 2 === 0 && field.toString() === 'b');
        walkBatch(fields[at + 1] as Buffer, ({ id, subject, position }) =>
          all.push({ id, subject, type, partition, entryId, position }),
        );
      }
    }
  }
  return all.sort(
    (a, b) =>
      compareEntryIds(b.entryId, a.entryId) || a.partition - b.partition || b.position - a.position,
  );
}

/** Number of calls of a command since the last CONFIG RESETSTAT. */
export async function callsOf(bed: FindBed, command: string): Promise<number> {
  const stats = (await bed.connection.command('INFO', 'commandstats')) as string;
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

export async function resetStats(bed: FindBed): Promise<void> {
  await bed.connection.command('CONFIG', 'RESETSTAT');
}
