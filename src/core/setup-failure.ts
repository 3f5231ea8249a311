/**
 * Why a lane runs nothing: the setup of its function fails. Kept beside the lane for `millrace
 * explain`, not longer than KEEP_MS.
 */
export interface SetupFailure {
  readonly error: string;
  /** Of what was thrown. */
  readonly stack: string;
  /** Dispatcher's clock, ms since 1970: since when it fails, the last try, the next one. */
  readonly sinceMs: number;
  readonly atMs: number;
  readonly nextMs: number;
}

/** A dispatcher that is gone says nothing more: then it is forgotten. */
export const KEEP_SETUP_FAILURE_MS = 600_000;

/** Null: none, or not readable. */
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
