/**
 * Retention: takes old events off the streams of a partition. It never takes an event that a
 * registered function has not settled.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { entryIdTime } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { partOf } from '../lag/rates.ts';
import { defineScript } from '../redis/script.ts';
import { ENTRIES } from '../redis/lua/shared.ts';
import type { TypeLimits } from './type-limits.ts';

const trim = defineScript({ with: ENTRIES, url: new URL('./trim.lua', import.meta.url), keys: 2 });

/** Entries of a page. Entries may have megabytes, and a page must not hold the server up. */
const PAGE = 50;

export interface Trimmed {
  readonly events: number;
  /**
   * The function that holds the stream above its limit: it has not settled the oldest entry due to
   * go.
   */
  readonly held: {
    readonly function: string;
    readonly entryId: string;
    readonly sinceMs: number;
  } | null;
}

/**
 * @param limits `maxEvents` counts over all partitions
 * @param signal stop between two pages
 * @throws UnknownOutcomeError, RedisReplyError; events trimmed by then are counted
 */
export async function retain(
  { connection, keys, partitions }: RedisSource,
  partition: number,
  type: string,
  limits: TypeLimits,
  signal?: AbortSignal,
): Promise<Trimmed> {
  let events = 0;
  if (limits.maxAgeMs === undefined && limits.maxEvents === undefined)
    return { events, held: null };
  const { even } = await adoptForeign(connection, keys, partition, type);
  if (!even) return { events, held: null };
  const args = [
    type,
    limits.maxAgeMs ?? '',
    limits.maxEvents === undefined ? '' : partOf({ max: limits.maxEvents, partitions }),
    PAGE,
  ];
  for (;;) {
    // A repeated page takes more entries off than the reply says, never more than the limits allow.
    const [kind, count, fn, entryId] = (await withRetry(
      () => trim.run(connection, [keys.counters(partition), keys.events(partition, type)], args),
      { deadlineMs: DEADLINE_MS },
    )) as [string, string, string, string];
    events += Number(count);
    if (kind === 'page' && signal?.aborted !== true) continue;
    return {
      events,
      held: fn === '' ? null : { function: fn, entryId, sinceMs: entryIdTime(entryId) },
    };
  }
}
