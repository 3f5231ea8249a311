/**
 * Clocks of the process. The only file of src/ that reads one: ESLint checks that.
 *
 * `performance.now()` is cheap but has its own origin per thread. process.hrtime has the same
 * origin everywhere, so the distance between both is measured once. `performance` is imported,
 * because the global of that name is a getter. V8 would call that getter for each event wherever it
 * does not inline it.
 */
import { performance } from 'node:perf_hooks';

const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export function monotonicMs(): number {
  return originMs + performance.now();
}

/**
 * Wall clock, ms since 1970. For stamps that people read, never for leases, delays or due dates.
 */
export function wallClockMs(): number {
  return Date.now();
}

/** Returns the time for which the event loop of this thread has worked so far, ms. */
export function eventLoopBusyMs(): number {
  return performance.eventLoopUtilization().active;
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
 * Resolves with the work, or at once when the signal is aborted. Keeps no listener: a loop may wait
 * with the same signal again and again.
 * @throws any error of the work
 */
export async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  let end = (): void => {};
  const aborted = new Promise<void>((resolve) => (end = resolve));
  signal.addEventListener('abort', end, { once: true });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/**
 * Least time for an answer, ms. A call that has waited out its deadline in a queue is still sent
 * once, with this time.
 */
const LAST_TRY_MS = 1000;

/**
 * Returns the time left for an answer, ms: the rest of `deadlineMs` since `sinceMs` (monotonic). A
 * call that others held up gets LAST_TRY_MS at least, where its deadline is that long.
 */
export function leftOf(deadlineMs: number, sinceMs: number): number {
  return Math.max(sinceMs + deadlineMs - monotonicMs(), Math.min(LAST_TRY_MS, deadlineMs));
}
