/** Ages of the events that a batch has completed, counted by age. */
import { monotonicMs, wallClockMs } from '../core/clock.ts';

export class EventAges {
  readonly #counts = new Map<number, number>();
  #lastAge = -1;
  #lastCount = 0;
  /** Wall clock minus monotonic clock, ms. Events carry wall-clock stamps. */
  readonly #wallAheadMs = wallClockMs() - monotonicMs();

  /**
   * Counts a completed event.
   * @param endedMs monotonic
   */
  add(timeMs: number, endedMs: number): void {
    const age = coarse(endedMs + this.#wallAheadMs - timeMs);
    // Neighbouring events mostly have the same age, so equal ages are counted before they go into
    // the map.
    if (age === this.#lastAge) this.#lastCount++;
    else {
      this.#flush();
      this.#lastAge = age;
      this.#lastCount = 1;
    }
  }

  /** Returns all ages since the last call: pairs of age in ms, count. */
  take(): number[] {
    this.#flush();
    this.#lastAge = -1;
    const ages: number[] = [];
    for (const [age, count] of this.#counts) ages.push(age, count);
    this.#counts.clear();
    return ages;
  }

  #flush(): void {
    if (this.#lastCount > 0)
      this.#counts.set(this.#lastAge, (this.#counts.get(this.#lastAge) ?? 0) + this.#lastCount);
    this.#lastCount = 0;
  }
}

/**
 * Rounds an age. Ages above a second keep ten significant bits, so that a batch has few distinct
 * ages.
 */
function coarse(ms: number): number {
  if (ms < 1024) return ms > 0 ? Math.floor(ms) : 0;
  const dropped = Math.max(0, 22 - Math.clz32(ms));
  return dropped > 20 ? 2 ** 31 : (ms >>> dropped) << dropped;
}
