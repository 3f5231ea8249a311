/**
 * Says to the thread that runs a lane's batch how long it may start events, and that what runs is
 * of no interest any more: in shared memory, so that it counts at once, whatever thread or
 * dispatcher is busy with, and also when both were stopped and go on (clocks go on meanwhile).
 *
 * - The lease: nothing starts later than one TTL after the last renewal that succeeded was sent.
 *   Beyond that nobody knows whose the lane is. The turn then commits what is done, and Redis says
 *   whose it is.
 * - halt(): nothing starts any more. A drain, a lane that is given back.
 * - lose(): besides, the signals of running handlers abort, also of those that run beside the
 *   lane's turns.
 *
 * What was not started is left alone: it stays pending, or is parked without an attempt
 * (untouched.ts).
 */
import { monotonicMs } from '../../core/clock.ts';
import { CELL, ORDER, type ProgressCells } from '../../core/progress-cells.ts';
import type { RunControl } from './run-isolating.ts';

/**
 * A turn that has run so long starts nothing further, so that a kill costs little and long turns
 * get on.
 */
export const TURN_MS = 1000;

export class StartControl implements RunControl {
  readonly turnMs: number;
  /** By monotonicMs(); null: no lease is kept. */
  #leaseUntilMs: number | null = null;
  #halted = false;
  #order: number = ORDER.NONE;
  #cells: ProgressCells | null = null;
  #events = 0;
  /** Of batches that were reported, in which handlers run on. */
  readonly #beside = new Set<ProgressCells>();

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

  beside(cells: ProgressCells, ended: Promise<unknown>): void {
    this.#beside.add(cells);
    cells.control[1] = this.#order;
    void ended.then(() => this.#beside.delete(cells));
  }

  /** The lease lasts until then, by monotonicMs(): one TTL after the renewal was sent. */
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

  /** Handlers of the batch that is in a thread. */
  get running(): number {
    let running = 0;
    for (let i = 0; i < this.#events; i++) if (this.#cells?.states[i] === CELL.RUNNING) running++;
    return running;
  }

  #write(): void {
    if (this.#cells === null) return;
    this.#cells.control[0] = this.#untilMs;
    this.#cells.control[1] = this.#order;
  }
}
