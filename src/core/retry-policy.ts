/**
 * When a failed event is tried again, and when it is over.
 *
 * Exponential backoff. Without jitter the delay before attempt n + 1 is minDelayMs * factor^(n -
 * 1), at most maxDelayMs. With jitter it is up to half as long again, and both bounds stay true:
 * never below minDelayMs, never above maxDelayMs. So that jitter has room at the upper bound too,
 * growth ends at two thirds of it. Jitter that undercuts the exponential delay ("full jitter")
 * contends least, but an outage is outlived by the sum of the delays: that sum must not be left to
 * luck.
 */
export interface RetryPolicy {
  /** Attempts in all, the first included. 1 … 1000, default 30. 1 means: never retry. */
  readonly attempts: number;
  /**
   * Least delay before any attempt, and the one before the second attempt without jitter, in ms. 0
   * … 86,400,000, default 200.
   */
  readonly minDelayMs: number;
  /** Largest delay, jitter included, in ms. minDelayMs … 86,400,000, default 300,000. */
  readonly maxDelayMs: number;
  /** Growth per attempt. 1 … 10, default 2. 1 means: always minDelayMs. */
  readonly factor: number;
  /** Delays are up to half as long again, at random. Default true. */
  readonly jitter: boolean;
}

/**
 * The delays add up to 67 minutes at least, and to 100 at most: an event outlives an hour's outage
 * of what it calls.
 */
export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 30,
  minDelayMs: 200,
  maxDelayMs: 300_000,
  factor: 2,
  jitter: true,
};

const SPREAD = 1.5;

/**
 * @param attempts how many attempts have been made (>= 1)
 * @param random from 0 to below 1
 * @returns delay in whole ms before the next one, or null when there is none left
 */
export function nextDelayMs(
  policy: RetryPolicy,
  attempts: number,
  random: () => number = Math.random,
): number | null {
  if (attempts >= policy.attempts) return null;
  const { minDelayMs, maxDelayMs, factor, jitter } = policy;
  // Infinity times no delay would be no number.
  const grown = minDelayMs * Math.min(Number.MAX_VALUE, factor ** (attempts - 1));
  if (!jitter) return Math.round(Math.min(grown, maxDelayMs));
  const least = Math.min(grown, Math.max(minDelayMs, maxDelayMs / SPREAD));
  const most = Math.min(least * SPREAD, maxDelayMs);
  // Rounding must not undercut the minimum: bounds are whole numbers.
  return Math.min(
    maxDelayMs,
    Math.max(minDelayMs, Math.round(least + random() * Math.max(0, most - least))),
  );
}
