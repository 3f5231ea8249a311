/** Freshness of a query's answer. */
import { compareEntryIds, entryIdTime } from '../core/position.ts';
import { COUNTS } from '../redis/lua/shared.ts';

/** Lua to put in front of a script: it tells how far a view's lane is behind. */
export const FRESHNESS = [COUNTS, new URL('./freshness.lua', import.meta.url)];

export interface Freshness {
  /**
   * Published events of the view's types that are not folded yet, in the partitions that were read.
   * 0: up to date.
   */
  readonly lag: number;
  /**
   * Time, by the server's clock, before which everything published is included. Null: a partition
   * that was read has events, and none of them is folded yet.
   */
  readonly asOf: Date | null;
}

/** State of a lane: server time, events not folded, and the last entry id of each type. */
export type FreshnessReply = readonly string[];

export function freshnessOf(replies: readonly FreshnessReply[]): Freshness {
  let lag = 0;
  let asOfMs = Infinity;
  for (const [now = '0', behind = '0', ...ids] of replies) {
    const events = Math.max(0, Number(behind));
    lag += events;
    const at = latest(ids);
    asOfMs = Math.min(
      asOfMs,
      events === 0 ? Number(now) : at === null ? -Infinity : Math.min(Number(now), entryIdTime(at)),
    );
  }
  return { lag, asOf: Number.isFinite(asOfMs) ? new Date(asOfMs) : null };
}

/** Returns the latest of the entry ids; null: none of the texts is an id. */
export function latest(ids: readonly string[]): string | null {
  let at: string | null = null;
  for (const id of ids)
    if (/^\d+-\d+$/.test(id) && (at === null || compareEntryIds(id, at) > 0)) at = id;
  return at;
}
