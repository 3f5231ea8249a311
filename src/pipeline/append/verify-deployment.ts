/** Asks before an append whether the deployment is still the one that the events are meant for. */
import { settledBy, withRetry } from '../../redis/retry.ts';

/**
 * Checks that the deployment is still the one its user was made for: the number of partitions may
 * have changed while Redis was away. Null: this is known. The promise rejects where it is another
 * one.
 */
export type Verify = () => Promise<void> | null;

/** @throws errors of `verify`; UnknownOutcomeError after the deadline, in ms */
export async function verifyDeployment(
  verify: Verify | undefined,
  signal: AbortSignal,
  deadlineMs: number,
): Promise<void> {
  const first = verify?.() ?? null;
  if (first === null) return;
  await withRetry(
    (attempt, untilMs) => {
      const answer = attempt === 1 ? first : (verify?.() ?? Promise.resolve());
      return settledBy(untilMs, 'settle-settings.lua', answer);
    },
    { signal, deadlineMs, minDelayMs: 20, maxDelayMs: 1000 },
  );
}
