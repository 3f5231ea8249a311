/**
 * When a publisher's flushes leave. Under load they leave together a few ms apart: a flush costs
 * Redis and the dispatcher the same with five events as with fifty. But spacing only pays while
 * events come by themselves: callers who wait for one call before they make the next publish less
 * for every ms they wait. So it ends as soon as enough has gathered, and is left off for a while
 * where it has cost throughput.
 *
 * Owned here: the rate, over windows of 20 ms and more, and whether departures are spaced.
 */

/** Spaced from this rate on, in events per ms. */
const FROM = 12;
const APART_MS = 5;
const WINDOW_MS = 20;
/** So many events a partition are a flush worth sending: nothing is gained by waiting for more. */
const ENOUGH = 64;
/**
 * So many windows in a row with less than half of what came unspaced: it is the spacing that holds
 * them back.
 */
const SLOW_WINDOWS = 3;
const OFF_MS = 500;

export class Departures {
  #apartMs = 0;
  #departedMs = 0;
  #windowMs = 0;
  #windowEvents = 0;
  /** Since the last departure. */
  #gathered = 0;
  /** What came before they were spaced, in events per ms. */
  #unspacedRate = 0;
  #slowWindows = 0;
  #offUntilMs = -Infinity;
  readonly #enough: number;

  constructor(partitions: number) {
    this.#enough = ENOUGH * partitions;
  }

  /** An event was accepted. */
  added(): void {
    this.#windowEvents++;
    this.#gathered++;
  }

  /** How long the next departure should wait; 0: it should not. */
  waitMs(nowMs: number): number {
    if (this.#apartMs === 0 || this.#gathered >= this.#enough) return 0;
    return Math.max(0, this.#departedMs + this.#apartMs - nowMs);
  }

  departed(nowMs: number): void {
    const windowMs = nowMs - this.#windowMs;
    if (windowMs >= WINDOW_MS) {
      this.#judge(this.#windowEvents / windowMs, nowMs);
      this.#windowMs = nowMs;
      this.#windowEvents = 0;
    }
    this.#departedMs = nowMs;
    this.#gathered = 0;
  }

  #judge(rate: number, nowMs: number): void {
    if (this.#apartMs === 0) {
      if (rate < FROM || nowMs < this.#offUntilMs) return;
      this.#apartMs = APART_MS;
      this.#unspacedRate = rate;
      this.#slowWindows = 0;
      return;
    }
    this.#slowWindows = rate < this.#unspacedRate / 2 ? this.#slowWindows + 1 : 0;
    if (rate >= FROM && this.#slowWindows < SLOW_WINDOWS) return;
    this.#apartMs = 0;
    if (this.#slowWindows > 0) this.#offUntilMs = nowMs + OFF_MS;
  }
}
