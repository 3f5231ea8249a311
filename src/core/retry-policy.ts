/**
 * Schedule of the retries of a failed event.
 *
 * Exponential backoff. Without jitter the delay before attempt n + 1 is minDelayMs * factor^(n -
 * 1), at most maxDelayMs. With jitter the delay is up to half as long again, and never below
 * minDelayMs or above maxDelayMs. Growth ends at two thirds of maxDelayMs, so that jitter has room
 * there too.
 *
 * Jitter that undercuts the exponential delay ("full jitter") has the least contention. But an
 * event outlives an outage only if the sum of its delays is longer. Full jitter would leave that
 * sum to chance.
 */
export interface RetryPolicy {
  /** Number of attempts, the first included. 1 … 1000, default 30. 1 means: never retry. */
  readonly attempts: number;
  /**
   * Smallest delay before a retry, and the delay before the second attempt without jitter, ms. 0
   * … 86,400,000, default 200.
   */
  readonly minDelayMs: number;
  /** Largest delay, jitter included, ms. minDelayMs … 86,400,000, default 300,000. */
  readonly maxDelayMs: number;
  /** Growth of the delay per attempt. 1 … 10, default 2. 1 means: always minDelayMs. */
  readonly factor: number;
  /** Whether delays are up to half as long again, at random. Default true. */
  readonly jitter: boolean;
}

/**
 * Default policy. The delays add up to 67 minutes at least, and to 100 at most: an event outlives
 * an hour's outage of the services it calls.
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
 * Returns the delay before the next attempt, in whole ms; null: no attempt is left.
 * @param attempts number of attempts that have been made (>= 1)
 * @param random from 0 to below 1
 */
export function nextDelayMs(
  policy: RetryPolicy,
  attempts: number,
  random: () => number = Math.random,
): number | null {
  if (attempts >= policy.attempts) return null;
  const { minDelayMs, maxDelayMs, factor, jitter } = policy;
  // Infinity times a delay of 0 would be NaN.
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
