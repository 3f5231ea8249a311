/**
 * Calls `handle`, or folds, event by event: those of one subject one after the other, subjects side
 * by side. A runner pulls the next subject's event; the next runner starts when one has to wait.
 */
import pLimit, { type LimitFunction } from 'p-limit';
import { monotonicMs } from '../core/clock.ts';
import { CELL, type CellState, type ProgressCells } from '../core/progress-cells.ts';
import type { DefinedFunction } from '../define/define-function.ts';
import type { Emits } from './emits.ts';
import { EventContext, type ContextShared } from './function-context.ts';
import type { Outcomes } from './outcomes.ts';
import type { PayloadDecoder } from './payload-decoder.ts';
import type { RunningEvent } from './running-event.ts';
import type { RunningHandlers } from './running-handlers.ts';
import type { StartGate } from './start-gate.ts';
import type { SubjectOrder } from './subject-order.ts';
import type { ViewRun } from './view-run.ts';

/** What runs of chains and of batch calls share. */
export interface CallParts {
  readonly definition: DefinedFunction;
  readonly cells: ProgressCells;
  readonly shared: ContextShared;
  readonly emits: Emits;
  readonly outcomes: Outcomes;
  readonly gate: StartGate;
  readonly decoder: PayloadDecoder;
  readonly order: SubjectOrder;
  readonly handlers: RunningHandlers;
}

export interface ChainsParts extends CallParts {
  /** Of a view: then there is no handler. */
  readonly view: ViewRun | null;
  /** Most runners. */
  readonly most: number;
  /** A runner has ended; the last event it had. */
  readonly onRunnerEnd: (last: RunningEvent) => void;
}

/**
 * Making one costs as much as running a few events. A function's batches share it: handlers that
 * still run behind the report of their batch count among its `concurrency`.
 */
const limiters = new Map<string, LimitFunction>();

function limiterOf(fn: string, concurrency: number): LimitFunction {
  let limiter = limiters.get(fn);
  if (!limiter) {
    limiter = pLimit(concurrency);
    limiters.set(fn, limiter);
  }
  return limiter;
}

export class SubjectChains {
  readonly #states: Uint8Array;
  readonly #starts: Float64Array;
  readonly #shared: ContextShared;
  readonly #handle: NonNullable<DefinedFunction['handle']>;
  readonly #view: ViewRun | null;
  /** State of an event that has emitted nothing. A view's effects are here until its report. */
  readonly #done: CellState;
  readonly #emits: Emits;
  readonly #outcomes: Outcomes;
  readonly #gate: StartGate;
  readonly #decoder: PayloadDecoder;
  readonly #order: SubjectOrder;
  readonly #handlers: RunningHandlers;
  readonly #most: number;
  readonly #onRunnerEnd: (last: RunningEvent) => void;
  readonly #limit: LimitFunction;
  readonly #runners: Promise<void>[] = [];
  /**
   * By subject whose runner waits: the last event in line. Other runners queue its later events
   * behind that one. A runner that has not had to wait is the only one that works, and its subject
   * is not in the map: an entry would cost every event of a handler that does not wait more than
   * reading it.
   */
  readonly #lastInLine = new Map<string, RunningEvent>();

  constructor(parts: ChainsParts) {
    const { definition } = parts;
    this.#states = parts.cells.states;
    this.#starts = parts.cells.starts;
    this.#shared = parts.shared;
    this.#handle = definition.handle as NonNullable<DefinedFunction['handle']>;
    this.#view = parts.view;
    this.#done = parts.view ? CELL.CAUSED : CELL.DONE;
    this.#emits = parts.emits;
    this.#outcomes = parts.outcomes;
    this.#gate = parts.gate;
    this.#decoder = parts.decoder;
    this.#order = parts.order;
    this.#handlers = parts.handlers;
    this.#most = parts.most;
    this.#onRunnerEnd = parts.onRunnerEnd;
    this.#limit = limiterOf(parts.shared.functionName, definition.spec.concurrency);
  }

  async run(): Promise<void> {
    this.#startRunner();
    // The list grows while it is gone through.
    for (const one of this.#runners) await one;
  }

  /** p-limit bounds how many work at once, without a queued promise per event. */
  #startRunner(): void {
    if (this.#runners.length >= this.#most) return;
    const one = this.#limit(this.#runner, this.#runners.length);
    one.catch(() => undefined);
    this.#runners.push(one);
  }

  /** The next event whose subject no other runner has. */
  #pull(): RunningEvent | null {
    const lastInLine = this.#lastInLine;
    for (;;) {
      const event = this.#order.next();
      if (event === null || lastInLine.size === 0) return event;
      const last = lastInLine.get(event.view.subject);
      if (last === undefined) return event;
      lastInLine.set(event.view.subject, event);
      last.next = event;
    }
  }

  /** A runner waits with `head`, the first of its subject in line: another one may go on. */
  #wait(head: RunningEvent): true {
    if (this.#order.byKey) this.#lastInLine.set(head.view.subject, head);
    this.#startRunner();
    return true;
  }

  /** One loop for all events of a runner: an async call per subject would cost each a promise. */
  readonly #runner = async (slot: number): Promise<void> => {
    const { slots } = this.#handlers;
    const handle = this.#handle;
    let ended: RunningEvent | null = null;
    let last: RunningEvent | null = null;
    this.#handlers.runners++;
    for (let first = this.#pull(); first !== null; first = this.#pull()) {
      let event: RunningEvent | null = first;
      let inLine = false;
      while (event !== null) {
        if (this.#emits.full) {
          this.#order.defer(event);
          break;
        }
        let way = this.#decoder.wayOf(event);
        if (way instanceof Promise) {
          inLine ||= this.#wait(event);
          way = await way;
        }
        const now = monotonicMs();
        if (this.#gate.closes(now)) break;
        event.startedMs = now;
        this.#starts[event.index] = now;
        this.#states[event.index] = CELL.RUNNING;
        // The clock is read once an event: this start is the end of the one before.
        if (ended !== null) this.#outcomes.ages.add(ended.timeMs, now);
        ended = null;
        if (!this.#decoder.decode(event, way)) {
          this.#order.stop(event);
          break;
        }
        try {
          if (this.#view) this.#view.fold(event);
          else {
            const context = new EventContext(this.#shared, event);
            const result = handle(event.view, context);
            if (isThenable(result)) {
              slots[slot] = context;
              inLine ||= this.#wait(event);
              await result;
            }
          }
          this.#states[event.index] = this.#emits.settle(event) ? CELL.CAUSED : this.#done;
          ended = event;
        } catch (error) {
          this.#outcomes.threw(event, error);
          this.#order.stop(event);
          break;
        } finally {
          slots[slot] = null;
          last = event;
        }
        event = event.next;
      }
      if (inLine) this.#lastInLine.delete(first.view.subject);
      if (this.#handlers.left) break;
    }
    if (ended !== null) this.#outcomes.ages.add(ended.timeMs, monotonicMs());
    this.#handlers.runners--;
    if (last !== null) this.#onRunnerEnd(last);
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}
