/** Before something is appended: is the deployment still the one that it is meant for? */
import { by, withRetry } from '../../redis/retry.ts';

/**
 * Whether the deployment is still the one its user was made for; null: that is known. Rejects where
 * it is not. The partitions may have become others since Redis was away.
 */
export type Verify = () => Promise<void> | null;

/** @throws what `verify` throws; UnknownOutcomeError after the deadline, in ms */
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
      return by(untilMs, 'settle-settings.lua', answer);
    },
    { signal, deadlineMs, minDelayMs: 20, maxDelayMs: 1000 },
  );
}
