/** Reads the emitted events from Redis, for tests that count them. */
import type { Cluster, Redis } from 'ioredis';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import type { EventHeader } from '../../src/wire/event-header.ts';

export interface FoundEvent extends Pick<EventHeader, 'id' | 'subject' | 'source' | 'extensions'> {
  readonly partition: number;
  readonly entry: string;
}

/** Returns every event in the streams of a type, in the order of the streams. */
export async function eventsIn(
  redis: Redis | Cluster,
  partitions: number,
  type: string,
): Promise<FoundEvent[]> {
  const out: FoundEvent[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    for (const [entry, fields] of await redis.xrangeBuffer(
      `mr:{${partition}}:events:${type}`,
      '-',
      '+',
    )) {
      const bytes = fields[
        fields.findIndex((field, i) => i % 2 === 0 && String(field) === 'b') + 1
      ] as Buffer;
      walkBatch(
        bytes,
        ({ id, subject, source, extensions }) =>
          void out.push({ id, subject, source, extensions, partition, entry: String(entry) }),
      );
    }
  }
  return out;
}

/** Returns the number of entries that wait in all outboxes. */
export async function outboxEntries(redis: Redis | Cluster, partitions: number): Promise<number> {
  let entries = 0;
  for (let partition = 0; partition < partitions; partition++)
    entries += await redis.xlen(`mr:{${partition}}:outbox`);
  return entries;
}

/** @returns a line for each id that is missing or there too often: `id: should be 1, is 2` */
export function miscounted(
  found: readonly { readonly id: string }[],
  expected: Iterable<string>,
): string[] {
  const counts = new Map<string, number>();
  for (const { id } of found) counts.set(id, (counts.get(id) ?? 0) + 1);
  const out: string[] = [];
  for (const id of expected) {
    if (counts.get(id) !== 1) out.push(`${id}: should be 1, is ${counts.get(id) ?? 0}`);
    counts.delete(id);
  }
  for (const [id, count] of counts) out.push(`${id}: should be 0, is ${count}`);
  return out;
}
