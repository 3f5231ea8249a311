/**
 * Retries before their time: for the moment when a mail server, a database or a partner is back,
 * and thousands of events wait for minutes. The lane's owner finds the units like any retry.
 */
import { withRetry, DEADLINE_MS } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import type { Keys } from '../../redis/keys.ts';

const script = defineScript({ url: new URL('./run-now.lua', import.meta.url), keys: 1 });

/** Units of a call. */
const CHUNK = 500;

export interface RunNowSource {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
}

export interface RunNowResult {
  /** Units that are due now because of this call. */
  readonly moved: number;
  /** Named units that a dead letter holds. They stay. */
  readonly held: number;
}

/**
 * Makes one unit due. A unit is a subject; with ordering 'none' it is the id of an event.
 * @returns moved 0 and held 0: it is not parked, or is due already
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function runUnitNow(
  { connection, keys, partitions }: RunNowSource,
  fn: string,
  unit: string,
): Promise<RunNowResult> {
  // The id of an event does not tell its partition.
  const all = await Promise.all(
    Array.from({ length: partitions }, (_, partition) =>
      withRetry(() => script.run(connection, [keys.due(partition, fn)], [1, unit]), {
        deadlineMs: DEADLINE_MS,
      }),
    ),
  );
  return (all as [number, number][]).reduce(
    (sum, [moved, held]) => ({ moved: sum.moved + moved, held: sum.held + held }),
    { moved: 0, held: 0 },
  );
}

/**
 * Makes all units of a function due, 500 in a call. Units that were moved stay so where the
 * signal ends the work.
 * @param moved told of the number so far after each call
 * @returns the number of units moved
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function runAllNow(
  { connection, keys, partitions }: RunNowSource,
  fn: string,
  {
    signal,
    moved,
  }: { readonly signal?: AbortSignal; readonly moved?: (units: number) => void } = {},
): Promise<number> {
  let all = 0;
  for (let partition = 0; partition < partitions; partition++) {
    let last = CHUNK;
    while (last === CHUNK && !signal?.aborted) {
      const reply = await withRetry(
        () => script.run(connection, [keys.due(partition, fn)], [CHUNK]),
        { deadlineMs: DEADLINE_MS },
      );
      [last] = reply as [number, number];
      all += last;
      moved?.(all);
    }
  }
  return all;
}
