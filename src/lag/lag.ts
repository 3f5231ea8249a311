/**
 * The lag of every function: the events appended for it, and how many are done, parked, dead,
 * pending or in lag.
 *
 * The five states are measured independently of each other and of the appended events. done, dead
 * and parked are the commits' counters. pending is the group's pending list. lag comes from the
 * entries' ordinals. `conserved` says whether they add up.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { entryIdTime } from '../core/position.ts';
import { sumRows, stateOf, type LagCounts, type LagRow, type TypeLag } from './lag-counts.ts';
import { ageOf } from './oldest.ts';
import { readPartitionLag } from './partition-lag.ts';
import { findUnserved, type Unserved } from './unserved.ts';

export type { LagCounts, LagStates, StateLag, TypeLag } from './lag-counts.ts';
export type { Bound } from './oldest.ts';

export interface FunctionLag extends LagCounts {
  readonly name: string;
  /**
   * Dead letters of the function. A letter stands for several dead events where an entry died as a
   * whole. A purged event has none.
   */
  readonly letters: number;
  /** Whether the states add up to the appended events, in every partition and type. */
  readonly conserved: boolean;
  readonly types: readonly TypeLag[];
}

export interface LagReport {
  readonly functions: readonly FunctionLag[];
  /**
   * Events in partitions that the deployment does not have; missing where there are none. The
   * functions of these events are not conserved.
   */
  readonly unserved?: readonly Unserved[];
  /** Time of the reading by the server's clock, ms since 1970; missing without functions. */
  readonly nowMs?: number;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readLag(source: RedisSource): Promise<LagReport> {
  const partitions = await Promise.all(
    partitionsOf(source).map((partition) =>
      withRetry(() => readPartitionLag(source, partition), { deadlineMs: DEADLINE_MS }),
    ),
  );
  const functions = new Map<string, LagRow[]>();
  const rows = partitions.flatMap((partition) => partition.rows);
  const nowMs = Math.max(0, ...partitions.map((partition) => partition.nowMs));
  const unserved = await findUnserved(source, new Set(rows.map((row) => row.type)));
  for (const row of [...rows, ...unservedRows(rows, unserved, nowMs)]) {
    const rows = functions.get(row.fn);
    if (rows) rows.push(row);
    else functions.set(row.fn, [row]);
  }
  const letters = new Map(
    await Promise.all(
      [...functions.keys()].map(async (fn) => [fn, await countLetters(source, fn)] as const),
    ),
  );
  return {
    ...(unserved.length === 0 ? {} : { unserved }),
    ...(nowMs === 0 ? {} : { nowMs }),
    functions: [...functions.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, rows]) => {
        rows.sort((a, b) =>
          a.type === b.type ? a.partition - b.partition : a.type < b.type ? -1 : 1,
        );
        return {
          name,
          letters: letters.get(name) ?? 0,
          ...sumRows(rows),
          conserved: rows.every((row) => row.conserved),
          types: rows.map(({ fn: _fn, conserved: _conserved, ...row }) => row),
        };
      }),
  };
}

/** Counts the dead letters, a moment after the counters were read. */
async function countLetters(source: RedisSource, fn: string): Promise<number> {
  const { connection, keys } = source;
  const counts = await Promise.all(
    partitionsOf(source).map((partition) =>
      withRetry(() => connection.command('XLEN', keys.dead(partition, fn)), {
        deadlineMs: DEADLINE_MS,
      }),
    ),
  );
  return counts.reduce<number>((total, count) => total + Number(count), 0);
}

/** Rows of the unserved events: they wait for each function of their type, for ever. */
function unservedRows(
  rows: readonly LagRow[],
  unserved: readonly Unserved[],
  nowMs: number,
): LagRow[] {
  const none = stateOf({ events: 0 }, null);
  return unserved.flatMap(({ partition, type, events, firstEntryId }) => {
    const age = firstEntryId === '' ? null : ageOf({ atMs: entryIdTime(firstEntryId) }, nowMs);
    return [...new Set(rows.filter((row) => row.type === type).map((row) => row.fn))].map((fn) => ({
      fn,
      type,
      partition,
      appended: events,
      done: 0,
      skipped: 0,
      parked: 0,
      dead: 0,
      purged: 0,
      pending: 0,
      lag: events,
      oldestMs: null,
      states: { lag: stateOf({ events }, age), pending: none, parked: none, held: none },
      conserved: false,
    }));
  });
}
