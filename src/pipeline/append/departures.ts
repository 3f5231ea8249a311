/**
 * The times at which a publisher's flushes leave.
 *
 * Under load the flushes of all partitions leave together, a few ms apart: five events cost Redis
 * and the dispatcher as much as fifty. Spacing pays only while events come by themselves. A caller
 * who waits for one call before the next publishes less for each ms of waiting. So a departure
 * leaves early with enough events, and spacing pauses where it has cost throughput. The spacing
 * follows the load of the publisher's thread: an idle thread spaces nothing.
 *
 * Owned here: the rate of events, over windows of at least 20 ms, and whether departures are
 * spaced.
 */
import { LoopLoad } from '../../core/loop-load.ts';

/** Rate from which departures are spaced, in events per ms. */
const FROM = 12;
/** Time between two departures of a thread under full load, ms. */
const APART_MS = 5;
const WINDOW_MS = 20;
/** Events per partition from which waiting for more gains nothing. */
const ENOUGH = 64;
/**
 * Windows in a row below half the unspaced rate, after which spacing stops: the spacing itself
 * holds the callers back.
 */
const SLOW_WINDOWS = 3;
/** Pause of the spacing after that, ms. */
const OFF_MS = 500;

export class Departures {
  #spaced = false;
  #departedMs = 0;
  #windowMs = 0;
  #windowEvents = 0;
  /** Events since the last departure. */
  #gathered = 0;
  /** Rate before departures were spaced, in events per ms. */
  #unspacedRate = 0;
  #slowWindows = 0;
  #offUntilMs = -Infinity;
  readonly #enough: number;
  readonly #load: LoopLoad;

  constructor(partitions: number, load = new LoopLoad()) {
    this.#enough = ENOUGH * partitions;
    this.#load = load;
  }

  /** An event was accepted. */
  added(): void {
    this.#windowEvents++;
    this.#gathered++;
  }

  /** Time that the next departure should wait, ms; 0: not at all. */
  waitMs(nowMs: number): number {
    if (!this.#spaced || this.#gathered >= this.#enough) return 0;
    const apartMs = Math.round(APART_MS * this.#load.spacing(nowMs));
    return Math.max(0, this.#departedMs + apartMs - nowMs);
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
    if (!this.#spaced) {
      if (rate < FROM || nowMs < this.#offUntilMs) return;
      this.#spaced = true;
      this.#unspacedRate = rate;
      this.#slowWindows = 0;
      return;
    }
    this.#slowWindows = rate < this.#unspacedRate / 2 ? this.#slowWindows + 1 : 0;
    if (rate >= FROM && this.#slowWindows < SLOW_WINDOWS) return;
    this.#spaced = false;
    if (this.#slowWindows > 0) this.#offUntilMs = nowMs + OFF_MS;
  }
}
