import { monotonicMs } from '../core/clock.ts';

export interface RebuildProgress {
  readonly from: 'histories' | 'streams';
  /** Events appended for it so far. */
  readonly appended: number;
  /** Folded, or dead-lettered. */
  readonly settled: number;
  readonly parked: number;
  readonly dead: number;
  readonly eventsPerSecond: number;
  /** Null: not to be told yet. */
  readonly etaMs: number | null;
}

/** How fast a rebuild is, smoothed from look to look, and how long it will take. */
export class Pace {
  #settled: number;
  #atMs = monotonicMs();
  #rate = 0;

  /** @param settled events at the beginning */
  constructor(settled: number) {
    this.#settled = settled;
  }

  /** Since the last look. */
  get sinceMs(): number {
    return monotonicMs() - this.#atMs;
  }

  look(
    settled: number,
    left: number,
  ): { readonly eventsPerSecond: number; readonly etaMs: number | null } {
    const passedMs = this.sinceMs;
    // Of less there is no telling.
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
