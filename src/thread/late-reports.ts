/**
 * Outcomes of handlers that still ran when their batch was reported. They are kept until the
 * dispatcher asks for them.
 */
import type { LateReport } from '../core/thread-protocol.ts';

/** Late reports of the batches of one task. */
export class LateReports {
  /** Number of handlers that still run. */
  #running = 0;
  #ready: LateReport[] = [];
  #wake: (() => void) | null = null;

  get running(): number {
    return this.#running;
  }

  /** Whether a handler still runs, or has an outcome that nobody has asked for. */
  get open(): boolean {
    return this.#running > 0 || this.#ready.length > 0;
  }

  expect(handlers: number): void {
    this.#running += handlers;
  }

  add(late: LateReport): void {
    this.#running--;
    this.#ready.push(late);
    this.#wake?.();
  }

  /** Resolves with at least one report, unless no handler runs any more. */
  async next(): Promise<readonly LateReport[]> {
    if (this.#ready.length === 0 && this.#running > 0)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = null;
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
}
