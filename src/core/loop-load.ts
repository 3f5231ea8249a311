/**
 * Load of this thread's event loop, as a measure of when it pays to wait for more events.
 *
 * A flush or a turn costs the loop about the same for one event as for fifty. Their cost times
 * their rate is the share of time for which the loop works. While that share is small, spacing them
 * gains nothing and costs latency. While that share is great, spacing gains throughput.
 *
 * Source of the share: `performance.eventLoopUtilization` of Node.js. Time in which another process
 * has the core counts as work, which is right here: the core is scarce then.
 */
import { eventLoopBusyMs, monotonicMs } from './clock.ts';

/** Least time over which the share is measured, ms. */
const WINDOW_MS = 20;
/** Share of time up to which nothing is spaced. */
const EASY = 0.3;
/** Share of time from which spacing is full. */
const BUSY = 0.6;

export class LoopLoad {
  readonly #busyMs: () => number;
  #sinceMs: number;
  #busyBeforeMs: number;
  #share = 0;

  /** @param busyMs time for which the loop has worked so far, ms; a test may replace it */
  constructor(busyMs: () => number = eventLoopBusyMs, nowMs = monotonicMs()) {
    this.#busyMs = busyMs;
    this.#sinceMs = nowMs;
    this.#busyBeforeMs = busyMs();
  }

  /**
   * Returns the part of the full spacing that pays now, 0 to 1. Between EASY and BUSY that part
   * grows with the share. The share is a mean over windows: each window weighs half as much as the
   * next one.
   */
  spacing(nowMs: number): number {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs >= WINDOW_MS) {
      const busyMs = this.#busyMs();
      this.#share = (this.#share + (busyMs - this.#busyBeforeMs) / elapsedMs) / 2;
      this.#sinceMs = nowMs;
      this.#busyBeforeMs = busyMs;
    }
    return Math.min(1, Math.max(0, (this.#share - EASY) / (BUSY - EASY)));
  }
}
