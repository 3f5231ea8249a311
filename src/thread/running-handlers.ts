/**
 * Handlers that have been called and have not settled. A timer watches them for time limits, for a
 * lost lease, and for the moment when only slow handlers are left.
 */
import { monotonicMs } from '../core/clock.ts';
import { LeaseLostError } from '../core/errors/handler-errors.ts';
import { ORDER, type ProgressCells } from '../core/progress-cells.ts';
import type { ContextShared } from './function-context.ts';
import type { RunningEvent } from './running-event.ts';
import type { StartGate } from './start-gate.ts';
import type { SubjectOrder } from './subject-order.ts';

/** A handler that has been called and has not settled. */
export interface RunningHandler {
  /** Event of the handler; of a batch call, its first event. */
  readonly event: RunningEvent;
  /** Tells the handler that its time is over. */
  expire(): void;
  /** Tells the handler that its outcome is discarded. */
  abort(reason: Error): void;
}

/** Longest pause between two looks, ms. */
const SWEEP_MS = 100;
/** Delay of a look from which on the process counts as held up, ms. */
const STOOD_STILL_MS = 1000;

export interface HandlersParts {
  readonly partition: number;
  readonly shared: ContextShared;
  readonly cells: ProgressCells;
  readonly gate: StartGate;
  readonly order: SubjectOrder;
  /** Age of handlers that are left running, ms. Infinity: none is. */
  readonly detachMs: number;
}

export class RunningHandlers {
  /** Handler that each runner awaits. */
  readonly slots: (RunningHandler | null)[] = [];
  /** Number of runners that have begun and not ended. */
  runners = 0;
  readonly #parts: HandlersParts;
  #left: readonly RunningEvent[] | null = null;
  #tellLeft: () => void = () => undefined;

  constructor(parts: HandlersParts) {
    this.#parts = parts;
  }

  /** Events whose handlers still ran when the batch was reported; null: none. */
  get left(): readonly RunningEvent[] | null {
    return this.#left;
  }

  /** Resolves when only slow handlers are left. */
  whenLeft(): Promise<void> {
    return new Promise((resolve) => (this.#tellLeft = resolve));
  }

  /** Watches the handlers while `work` goes on. */
  async watch(work: () => Promise<void>): Promise<void> {
    const { cells, gate, shared } = this.#parts;
    const signOfLife = cells.capacity;
    let sweptMs = monotonicMs();
    cells.starts[signOfLife] = sweptMs;
    const everyMs = Math.min(SWEEP_MS, Math.max(5, shared.timeoutMs / 4));
    const sweep = setInterval(() => {
      const now = monotonicMs();
      cells.starts[signOfLife] = now;
      const late = now - sweptMs - everyMs;
      sweptMs = now;
      this.#obey();
      this.#expire(now, late > STOOD_STILL_MS ? late : 0);
      gate.closes(now);
      this.#leave(now);
    }, everyMs);
    try {
      await work();
    } finally {
      clearInterval(sweep);
    }
  }

  /** Another dispatcher owns the lane: running handlers are told. */
  #obey(): void {
    const { cells, shared, partition } = this.#parts;
    if (cells.control[1] !== ORDER.LEASE_LOST || shared.ended) return;
    shared.ended = new LeaseLostError(shared.functionName, partition);
    for (const running of this.slots) running?.abort(shared.ended);
  }

  /**
   * @param stillMs time for which the process was stopped, or another handler held the thread: no
   *   handler could go on meanwhile
   */
  #expire(now: number, stillMs: number): void {
    const { timeoutMs } = this.#parts.shared;
    for (const running of this.slots) {
      if (!running) continue;
      running.event.startedMs += stillMs;
      if (running.event.timedOut || now - running.event.startedMs < timeoutMs) continue;
      running.event.timedOut = true;
      running.expire();
    }
  }

  /**
   * Once only slow handlers are left, they run on by themselves and block the events behind them.
   */
  #leave(now: number): void {
    const { order, gate, detachMs } = this.#parts;
    if (detachMs === Infinity || this.#left || this.runners === 0) return;
    if (!order.exhausted && !gate.closed) return;
    const running: RunningEvent[] = [];
    for (const one of this.slots) if (one) running.push(one.event);
    // A runner without a handler waits for a schema, or is about to go on.
    if (running.length < this.runners) return;
    if (running.some((event) => now - event.startedMs < detachMs)) return;
    this.#left = running;
    for (const event of running) {
      order.blockBehind(event);
      event.next = null;
    }
    this.#tellLeft();
  }
}
