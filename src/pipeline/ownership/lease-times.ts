/**
 * The ends of this dispatcher's leases, and lanes that nobody owns, for health. Judged by the
 * clock, so that the answer is right although Redis has not answered for long.
 *
 * Owned here: the end of each lane's lease, the last round that succeeded, and since when lanes are
 * unowned.
 */
import { monotonicMs } from '../../core/clock.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';

/** Most keys in one command. */
const CHUNK = 2000;

export interface LeaseReport {
  /** Lanes whose lease has run out without a renewal or a commit. */
  readonly overdue: number;
  /** Age of the oldest renewal among them; without lanes, of the last round. 0: none is overdue. */
  readonly overdueMs: number;
  /** Lanes that nobody owned at the last look, which only a dispatcher without lanes makes. */
  readonly unowned: number;
  /** Time for which there have been some, ms. */
  readonly unownedMs: number;
}

/** A lane with the time of its last commit. */
export interface TimedLane {
  /** Time of the last successful commit, by monotonicMs(); -Infinity before the first. */
  readonly committedMs: number;
}

export class LeaseTimes {
  readonly #ttlMs: number;
  readonly #renewedMs = new WeakMap<TimedLane, number>();
  #roundMs = monotonicMs();
  #unowned = 0;
  #unownedSinceMs: number | null = null;

  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** Notes a lease that Redis has confirmed. @param untilMs its end, by monotonicMs() */
  held(lane: TimedLane, untilMs: number): void {
    this.#renewedMs.set(lane, untilMs - this.#ttlMs);
  }

  /**
   * Notes a round in which Redis took this dispatcher's announcements.
   * @param startedMs its start, by monotonicMs()
   */
  kept(startedMs: number): void {
    this.#roundMs = startedMs;
  }

  /** Notes the result of a look for lanes without an owner. */
  foundUnowned(lanes: number): void {
    this.#unowned = lanes;
    if (lanes === 0) this.#unownedSinceMs = null;
    else this.#unownedSinceMs ??= monotonicMs();
  }

  /** @param lanes those whose leases are to be renewed */
  report(lanes: Iterable<TimedLane>): LeaseReport {
    const now = monotonicMs();
    let [overdue, overdueMs, count] = [0, 0, 0];
    for (const lane of lanes) {
      count++;
      const aliveMs = Math.max(this.#renewedMs.get(lane) ?? now, lane.committedMs);
      if (now - aliveMs <= this.#ttlMs) continue;
      overdue++;
      overdueMs = Math.max(overdueMs, now - aliveMs);
    }
    // Without lanes nothing runs out: a round that is a little late does no harm.
    if (count === 0 && now - this.#roundMs > 2 * this.#ttlMs) overdueMs = now - this.#roundMs;
    const unownedMs = this.#unownedSinceMs === null ? 0 : now - this.#unownedSinceMs;
    return { overdue, overdueMs, unowned: this.#unowned, unownedMs };
  }
}

/** Counts the lanes whose lease nobody holds. */
export async function countUnowned(
  connection: RedisConnection,
  keys: Keys,
  functions: readonly string[],
  partitions: number,
): Promise<number> {
  const leases = functions.flatMap((fn) =>
    Array.from({ length: partitions }, (_, partition) =>
      keys.lease(partition, laneName(fn, OWNER)),
    ),
  );
  // In a Cluster each partition has a slot of its own.
  const size = connection.isCluster ? 1 : CHUNK;
  let held = 0;
  for (let i = 0; i < leases.length; i += size)
    held += Number(await connection.command('EXISTS', ...leases.slice(i, i + size)));
  return leases.length - held;
}
