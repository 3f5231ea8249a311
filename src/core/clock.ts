/**
 * Monotonic time shared by all threads of the process, in ms. `performance.now()` is cheap but has
 * its own origin per thread; process.hrtime has the same everywhere, so the distance is measured
 * once. Imported, because the global of that name is a getter, called for each event wherever V8
 * does not inline it.
 */
import { performance } from 'node:perf_hooks';

const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export function monotonicMs(): number {
  return originMs + performance.now();
}

/** Wall clock in ms since 1970: for stamps people read, never for leases, delays or due dates. */
export function wallClockMs(): number {
  return Date.now();
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/**
 * What has waited out its whole time behind others is still sent once: an answer may come within so
 * long, in ms.
 */
const LAST_TRY_MS = 1000;

/**
 * How long may be waited for an answer now, in ms: what is left of `deadlineMs` since `sinceMs`
 * (monotonic), where what stood in front took the rest.
 */
export function leftOf(deadlineMs: number, sinceMs: number): number {
  return Math.max(sinceMs + deadlineMs - monotonicMs(), Math.min(LAST_TRY_MS, deadlineMs));
}
