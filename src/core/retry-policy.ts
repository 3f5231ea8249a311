/**
 * When a failed event is tried again, and when it is over.
 *
 * Exponential backoff with "full jitter": delay = random between 0 and min(maxDelayMs, minDelayMs * factor^(attempt-1)),
 * the variant with the least contention in Marc Brooker's comparison
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Without jitter the delay is the cap itself.
 */
export interface RetryPolicy {
  /** Attempts in all, the first included. 1 … 1000, default 5. 1 means: never retry. */
  readonly attempts: number;
  /** Delay before the second attempt, in ms. 0 … 86,400,000, default 200. */
  readonly minDelayMs: number;
  /** Largest delay, in ms. minDelayMs … 86,400,000, default 60,000. */
  readonly maxDelayMs: number;
  /** Growth per attempt. 1 … 10, default 2. 1 means: always minDelayMs. */
  readonly factor: number;
  /** Full jitter. Default true. */
  readonly jitter: boolean;
}

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  minDelayMs: 200,
  maxDelayMs: 60_000,
  factor: 2,
  jitter: true,
};

/**
 * @param attempts how many attempts have been made (>= 1)
 * @returns delay in ms before the next one, or null when there is none left
 */
export function nextDelayMs(policy: RetryPolicy, attempts: number, random: () => number = Math.random): number | null {
  if (attempts >= policy.attempts) return null;
  // Infinity times no delay would be no number.
  const growth = Math.min(Number.MAX_VALUE, policy.factor ** (attempts - 1));
  const cap = Math.min(policy.maxDelayMs, policy.minDelayMs * growth);
  return Math.round(policy.jitter ? random() * cap : cap);
}
