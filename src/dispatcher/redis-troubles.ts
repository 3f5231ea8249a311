/**
 * Notes until when there was trouble with Redis. Times without progress count from its end on: a
 * lane that waited for Redis has not hung.
 *
 * Owned here: the time of the last look that met trouble.
 */
import { monotonicMs } from '../core/clock.ts';

export class RedisTroubles {
  #lastMs = -Infinity;

  /**
   * Notes a look. Call it regularly: trouble is known from looks only.
   * @param trouble whether Redis refuses, or does not answer
   * @returns time since the last trouble, ms
   */
  looked(trouble: boolean): number {
    const now = monotonicMs();
    if (trouble) this.#lastMs = now;
    return now - this.#lastMs;
  }
}
