/**
 * Gate for the start of a batch's events. It closes when the turn is over, or when the dispatcher
 * says so.
 */
import type { ProgressCells } from '../core/progress-cells.ts';

export class StartGate {
  /** Whether the gate is closed for good: nothing more is started. */
  closed = false;
  readonly #control: ProgressCells['control'];
  readonly #endsMs: number;

  /** @param endsMs end of the turn, by monotonicMs() */
  constructor(control: ProgressCells['control'], endsMs: number) {
    this.#control = control;
    this.#endsMs = endsMs;
  }

  /**
   * Closes the gate once the turn is over.
   * @returns whether the gate is closed
   */
  closes(now: number): boolean {
    if (now > this.#endsMs || this.isOrderedShut(now)) this.closed = true;
    return this.closed;
  }

  /** Whether the dispatcher wants nothing more to start. */
  isOrderedShut(now: number): boolean {
    return now > (this.#control[0] as number);
  }
}
