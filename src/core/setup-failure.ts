/**
 * Failure of a function's setup, which keeps its lane from running events. Stored beside the lane
 * for `millrace explain`, for KEEP_SETUP_FAILURE_MS at most.
 */
export interface SetupFailure {
  readonly error: string;
  /** Stack of the thrown error. */
  readonly stack: string;
  /** First failure, last try, next try: dispatcher's clock, ms since 1970. */
  readonly sinceMs: number;
  readonly atMs: number;
  readonly nextMs: number;
}

/**
 * Time for which the failure is kept. A dispatcher that is gone cannot withdraw its failure, so the
 * failure expires.
 */
export const KEEP_SETUP_FAILURE_MS = 600_000;

/** Parses a stored failure; null: there is none, or it cannot be read. */
export function parseSetupFailure(text: string | null): SetupFailure | null {
  if (text === null) return null;
  try {
    const { error, stack, sinceMs, atMs, nextMs } = JSON.parse(text) as Partial<
      Record<keyof SetupFailure, unknown>
    >;
    if (typeof error !== 'string' || ![sinceMs, atMs, nextMs].every((ms) => Number.isFinite(ms)))
      return null;
    return {
      error,
      stack: typeof stack === 'string' ? stack : '',
      sinceMs: Number(sinceMs),
      atMs: Number(atMs),
      nextMs: Number(nextMs),
    };
  } catch {
    return null;
  }
}
