/** The leases of lanes. Only the holder of a lane's lease may read and commit the lane. */
import { monotonicMs } from '../../core/clock.ts';
import { laneName, OWNER } from '../../core/function-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisSender, RedisConnection } from '../../redis/contract.ts';
import { withRetry } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import { HOLDS_LEASE } from '../../redis/lua/shared.ts';
import type { HeldLane, LaneAddress } from './lane-address.ts';

const acquire = defineScript({ url: new URL('./acquire-lease.lua', import.meta.url), keys: 3 });
const renew = defineScript({
  url: new URL('./renew-leases.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 'variable',
});
const retire = defineScript({
  url: new URL('./retire.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 'variable',
});
const notDead = defineScript({ url: new URL('./not-dead.lua', import.meta.url), keys: 1 });
const release = defineScript({
  url: new URL('./release-lease.lua', import.meta.url),
  with: HOLDS_LEASE,
  keys: 2,
});

export interface LeaseClaim {
  /** Name of the dispatcher that asks. */
  readonly dispatcher: string;
  readonly ttlMs: number;
  /**
   * 'pass': a pass over the histories builds the function's rows, and no lane runs meanwhile.
   * Default: 'lane'.
   */
  readonly purpose?: 'lane' | 'pass';
}

/**
 * Asks for a lease once.
 * @returns the lease value, or the rest of the present owner's lease in ms
 */
export async function acquireLease(
  connection: RedisSender,
  keys: Keys,
  { fn, partition, consumer }: LaneAddress,
  { dispatcher, ttlMs, purpose = 'lane' }: LeaseClaim,
): Promise<{ readonly value: string } | { readonly freeInMs: number }> {
  const reply = (await acquire.run(
    connection,
    [
      keys.lease(partition, laneName(fn, consumer)),
      keys.counters(partition),
      keys.helpers(partition, fn),
    ],
    [fn, dispatcher, ttlMs, laneName(fn, consumer), consumer === OWNER ? '' : consumer, purpose],
  )) as [number, string | number];
  return reply[0] === 1 ? { value: String(reply[1]) } : { freeInMs: Math.max(0, Number(reply[1])) };
}

/** Longest time for which Redis is asked for a lease, ms. */
const CLAIM_MS = 10_000;

/**
 * acquireLease(), again and again until Redis answers, for 10 s at most. `untilMs`: end of the
 * lease by monotonicMs(), whatever Redis does.
 *
 * The signal may cut a claim off while the outcome of an attempt is unknown. One more attempt then
 * asks Redis, so that the caller learns of a lease that it has to give back.
 * @throws the signal's reason; the last error
 */
export async function claimLease(
  connection: RedisConnection,
  keys: Keys,
  address: LaneAddress,
  claim: LeaseClaim,
  signal: AbortSignal,
): Promise<{ readonly value: string; readonly untilMs: number } | { readonly freeInMs: number }> {
  let untilMs = 0;
  let unknown = false;
  const attempt = (sender: RedisSender): ReturnType<typeof acquireLease> => {
    untilMs = monotonicMs() + claim.ttlMs;
    return acquireLease(sender, keys, address, claim);
  };
  const answer = await withRetry(() => attempt(connection), {
    signal,
    deadlineMs: CLAIM_MS,
    onRetry: (error) => (unknown ||= error.outcomeUnknown),
  }).catch((error: unknown) => {
    if (!signal.aborted || !unknown) throw error;
    // A lease that an earlier attempt has acquired ends by itself then.
    return attempt(connection.until(untilMs));
  });
  return 'value' in answer ? { ...answer, untilMs } : answer;
}

/**
 * Says that an owner lives although its lease is lost: nobody is charged with its death.
 * @param marked address of the event that the owner ran marked, '' without one
 * @returns the epoch of the function's last rewind, 0 without one
 */
export async function noteNotDead(
  connection: RedisConnection,
  keys: Keys,
  { partition, fn, consumer, leaseValue }: HeldLane,
  marked: string,
): Promise<number> {
  return Number(
    await notDead.run(
      connection,
      [keys.counters(partition)],
      [fn, laneName(fn, consumer), leaseValue, marked],
    ),
  );
}

export interface RenewedLane {
  readonly held: boolean;
  /** Time of the next retry by the server's clock, ms. Null: nothing is parked. */
  readonly nextDueMs: number | null;
  /** Id of the last committed turn; '' without one. */
  readonly turn: string;
}

/** Renews the leases of one partition's lanes in one call. */
export async function renewLeases(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  lanes: readonly Pick<HeldLane, 'fn' | 'consumer' | 'leaseValue'>[],
  ttlMs: number,
): Promise<{ readonly serverNowMs: number; readonly lanes: readonly RenewedLane[] }> {
  const reply = (await renew.run(
    connection,
    [
      keys.counters(partition),
      ...lanes.flatMap((lane) => [
        keys.lease(partition, laneName(lane.fn, lane.consumer)),
        keys.due(partition, lane.fn),
      ]),
    ],
    [ttlMs, ...lanes.flatMap((lane) => [lane.leaseValue, laneName(lane.fn, lane.consumer)])],
  )) as string[];
  return {
    serverNowMs: Number(reply[0]),
    lanes: lanes.map((_, i) => {
      const [due = '', turn = ''] = (reply[i + 1] ?? '').split(' ');
      return {
        held: due !== '',
        nextDueMs: due === '' || due === 'none' ? null : Number(due),
        turn,
      };
    }),
  };
}

/** The runs of an owner under its lease. */
export interface RanUnderLease {
  /** Whether all that was pending or due at its start has run. */
  readonly passed: boolean;
  /** Address of the event that it has marked in a crash search; '' without one. */
  readonly marked: string;
}

/**
 * Gives a lease back. Does nothing where the lease is lost.
 * @param ran default: nothing was run
 */
export async function releaseLease(
  connection: RedisConnection,
  keys: Keys,
  { fn, partition, consumer, leaseValue }: HeldLane,
  { passed, marked }: RanUnderLease = { passed: false, marked: '' },
): Promise<void> {
  const lane = laneName(fn, consumer);
  await release.run(
    connection,
    [keys.lease(partition, lane), keys.counters(partition)],
    [leaseValue, lane, passed ? 'passed' : '', marked],
  );
}

/**
 * Removes a helper's consumer and gives its lease back.
 * @returns false where entries are still pending for the helper (nothing was done), or the lease is
 *   lost
 */
export async function retireHelper(
  connection: RedisConnection,
  keys: Keys,
  { fn, partition, consumer, leaseValue }: HeldLane,
  types: readonly string[],
): Promise<boolean> {
  const lane = laneName(fn, consumer);
  return (
    Number(
      await retire.run(
        connection,
        [
          keys.lease(partition, lane),
          keys.counters(partition),
          keys.helpers(partition, fn),
          ...types.map((type) => keys.events(partition, type)),
        ],
        [leaseValue, fn, lane, consumer],
      ),
    ) === 1
  );
}
