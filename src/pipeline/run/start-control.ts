/**
 * Tells the thread that runs a lane's batch until when it may start events, and when to give up the
 * running ones. The orders are in shared memory, so that they count at once, however busy thread
 * and dispatcher are. They also count after both were stopped and go on, since clocks go on
 * meanwhile.
 *
 * - The lease: no event starts later than one TTL after the last successful renewal was sent.
 *   Beyond that nobody knows whose the lane is. The turn then commits the finished events, and
 *   Redis says whose the lane is.
 * - halt(): no event starts any more. For a drain, or a lane that is given back.
 * - lose(): in addition, the signals of running handlers abort, also of those that run beside the
 *   lane's turns.
 *
 * An event that was not started stays pending, or is parked without an attempt (untouched.ts).
 */
import { monotonicMs } from '../../core/clock.ts';
import { CELL, ORDER, type ProgressCells } from '../../core/progress-cells.ts';
import type { RunControl } from './run-isolating.ts';

/**
 * Time after which a turn starts nothing further, ms. So a kill costs little, and long turns make
 * progress.
 */
export const TURN_MS = 1000;

export class StartControl implements RunControl {
  readonly turnMs: number;
  /** End of the lease, by monotonicMs(); null: no lease is kept. */
  #leaseUntilMs: number | null = null;
  #halted = false;
  #order: number = ORDER.NONE;
  #cells: ProgressCells | null = null;
  #events = 0;
  /** Cells of reported batches in which handlers run on. */
  readonly #beside = new Set<ProgressCells>();
  /** Number of handlers that run on in reported batches. */
  #runningBeside = 0;

  constructor(turnMs: number = TURN_MS) {
    this.turnMs = turnMs;
  }

  get mayStart(): boolean {
    return monotonicMs() <= this.#untilMs;
  }

  get halted(): boolean {
    return this.#halted;
  }

  get #untilMs(): number {
    return this.#halted ? -Infinity : (this.#leaseUntilMs ?? Infinity);
  }

  observe(cells: ProgressCells | null, events: number): void {
    this.#cells = cells;
    this.#events = events;
    this.#write();
  }

  beside(cells: ProgressCells, ends: readonly Promise<unknown>[]): void {
    this.#beside.add(cells);
    cells.control[1] = this.#order;
    this.#runningBeside += ends.length;
    for (const end of ends) void end.then(() => this.#runningBeside--);
    void Promise.all(ends).then(() => this.#beside.delete(cells));
  }

  /** @param untilMs end of the lease, by monotonicMs(): one TTL after the renewal was sent */
  extend(untilMs: number): void {
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs ?? -Infinity, untilMs);
    this.#write();
  }

  halt(): void {
    this.#halted = true;
    this.#write();
  }

  lose(): void {
    this.#halted = true;
    this.#order = ORDER.LEASE_LOST;
    this.#write();
    for (const cells of this.#beside) cells.control[1] = this.#order;
  }

  /** Number of running handlers: in the batch that is in a thread, and in reported batches. */
  get running(): number {
    let running = this.#runningBeside;
    for (let i = 0; i < this.#events; i++) if (this.#cells?.states[i] === CELL.RUNNING) running++;
    return running;
  }

  #write(): void {
    if (this.#cells === null) return;
    this.#cells.control[0] = this.#untilMs;
    this.#cells.control[1] = this.#order;
  }
}
