import { monotonicMs } from '../core/clock.ts';

export interface RebuildProgress {
  readonly from: 'histories' | 'streams';
  /** Events appended for the generation so far. */
  readonly appended: number;
  /** Events folded or dead-lettered. */
  readonly settled: number;
  readonly parked: number;
  readonly dead: number;
  readonly eventsPerSecond: number;
  /** Time left, ms. Null: not known yet. */
  readonly etaMs: number | null;
}

/** The rate of a rebuild, smoothed from look to look, and the time left. */
export class Pace {
  #settled: number;
  #atMs = monotonicMs();
  #rate = 0;

  /** @param settled events settled at the beginning */
  constructor(settled: number) {
    this.#settled = settled;
  }

  /** Time since the last look, ms. */
  get sinceMs(): number {
    return monotonicMs() - this.#atMs;
  }

  look(
    settled: number,
    left: number,
  ): { readonly eventsPerSecond: number; readonly etaMs: number | null } {
    const passedMs = this.sinceMs;
    // A shorter time gives no meaningful rate.
    if (passedMs >= 1) {
      const current = ((settled - this.#settled) * 1000) / passedMs;
      this.#rate = this.#rate === 0 ? current : this.#rate + (current - this.#rate) * 0.3;
      this.#settled = settled;
      this.#atMs += passedMs;
    }
    return {
      eventsPerSecond: this.#rate,
      etaMs: this.#rate > 0 ? (left / this.#rate) * 1000 : null,
    };
  }
}
