/**
 * The place up to which a function has read a stream, and the number of events between there and
 * another place.
 */
import { compareEntryIds } from '../core/position.ts';
import { counterFields, type PartitionState } from '../redis/counters.ts';
import { countEntry, entryFields } from '../wire/count-entry.ts';
import type { RedisSource } from '../redis/source.ts';
import type { EventPlace } from './find-event.ts';

/** Entries read at once, and most entries counted one by one. */
const PAGE = 32;
const MOST = 4_096;

/** Reads the last delivered id of a function. Null: its consumer group is gone. */
export async function lastDelivered(
  source: RedisSource,
  stream: string,
  fn: string,
): Promise<string | null> {
  let groups: unknown[][];
  try {
    groups = (await source.connection.command('XINFO', 'GROUPS', stream)) as unknown[][];
  } catch {
    return null; // the stream was deleted meanwhile
  }
  for (const info of groups) {
    const of = (name: string): string => String(info[info.indexOf(name) + 1]);
    if (of('name') === fn) return of('last-delivered-id');
  }
  return null;
}

/**
 * Counts the events of the type between the last delivered one and this one. Null: too many to be
 * counted.
 */
export async function countBefore(
  source: RedisSource,
  state: PartitionState,
  stream: string,
  delivered: string,
  place: EventPlace,
): Promise<number | null> {
  const exact = state.counters.get(counterFields.exact(place.type)) ?? '0-0';
  const ordinal =
    place.ordinal !== null && compareEntryIds(place.entryId, exact) > 0 ? place.ordinal : null;
  let counted = 0;
  let entries = 0;
  let cursor = delivered;
  for (;;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      stream,
      `(${cursor}`,
      `(${place.entryId}`,
      'COUNT',
      entries === 0 ? 1 : PAGE,
    )) as [Buffer, Buffer[]][];
    if (page.length === 0) return counted + place.index;
    for (const [idBytes, fields] of page) {
      cursor = idBytes.toString('latin1');
      const first = entryFields(fields).ordinal;
      const count = countEntry(fields);
      if (ordinal !== null && first !== null && compareEntryIds(cursor, exact) > 0) {
        return counted + (ordinal - place.count) - (first - count) + place.index;
      }
      counted += count;
      entries++;
    }
    if (entries > MOST) return null;
  }
}
