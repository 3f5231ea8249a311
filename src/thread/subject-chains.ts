/**
 * Calls `handle` or folds, event by event. Events of one subject run one after the other; subjects
 * run side by side. A runner takes the next event of any subject. The next runner starts when a
 * runner has to wait.
 */
import pLimit, { type LimitFunction } from 'p-limit';
import { monotonicMs } from '../core/clock.ts';
import { CELL, type CellState, type ProgressCells } from '../core/progress-cells.ts';
import type { DefinedFunction } from '../define/define-function.ts';
import type { BatchTrace } from './batch-trace.ts';
import type { Emits } from './emits.ts';
import { errorOf } from './error-info.ts';
import { EventContext, type ContextShared } from './function-context.ts';
import type { Outcomes } from './outcomes.ts';
import type { PayloadDecoder } from './payload-decoder.ts';
import type { RunningEvent } from './running-event.ts';
import type { RunningHandlers } from './running-handlers.ts';
import type { StartGate } from './start-gate.ts';
import type { SubjectOrder } from './subject-order.ts';
import type { ViewRun } from './view-run.ts';

/** Parts that runs of chains and of batch calls share. */
export interface CallParts {
  readonly definition: DefinedFunction;
  readonly cells: ProgressCells;
  readonly shared: ContextShared;
  readonly emits: Emits;
  /** Spans of the batch. Null: no SDK is registered in the thread. */
  readonly trace: BatchTrace | null;
  readonly outcomes: Outcomes;
  readonly gate: StartGate;
  readonly decoder: PayloadDecoder;
  readonly order: SubjectOrder;
  readonly handlers: RunningHandlers;
}

export interface ChainsParts {
  /** Fold of a view; null: the function has a handler. */
  readonly view: ViewRun | null;
  /** Most runners at the same time. */
  readonly most: number;
  /** Called when a runner has ended, with its last event. */
  readonly onRunnerEnd: (last: RunningEvent) => void;
}

/**
 * Limiter of a function, shared by its batches. Creating one costs as much as running a few events.
 * Handlers that still run after the report of their batch count against the function's
 * `concurrency`.
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
  /**
   * State of a completed event that has emitted nothing. A view's effects are in this thread until
   * its report.
   */
  readonly #done: CellState;
  readonly #emits: Emits;
  readonly #trace: BatchTrace | null;
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
   * Last event in line, by subject whose runner waits. Other runners queue later events of the
   * subject behind it. A runner that has not had to wait is the only one that works, so its subject
   * is not in the map. For a handler that does not wait, a map entry would cost more than reading
   * the event.
   */
  readonly #lastInLine = new Map<string, RunningEvent>();

  constructor(parts: CallParts, { view, most, onRunnerEnd }: ChainsParts) {
    const { definition } = parts;
    this.#states = parts.cells.states;
    this.#starts = parts.cells.starts;
    this.#shared = parts.shared;
    this.#handle = definition.handle as NonNullable<DefinedFunction['handle']>;
    this.#view = view;
    this.#done = view ? CELL.CAUSED : CELL.DONE;
    this.#emits = parts.emits;
    this.#trace = parts.trace;
    this.#outcomes = parts.outcomes;
    this.#gate = parts.gate;
    this.#decoder = parts.decoder;
    this.#order = parts.order;
    this.#handlers = parts.handlers;
    this.#most = most;
    this.#onRunnerEnd = onRunnerEnd;
    this.#limit = limiterOf(parts.shared.functionName, definition.spec.concurrency);
  }

  async run(): Promise<void> {
    this.#startRunner();
    // The list grows while the loop goes through it.
    for (const one of this.#runners) await one;
  }

  /** p-limit bounds the number of working runners, without a queued promise per event. */
  #startRunner(): void {
    if (this.#runners.length >= this.#most) return;
    const one = this.#limit(this.#runner, this.#runners.length);
    one.catch(() => undefined);
    this.#runners.push(one);
  }

  /** Returns the next event whose subject no other runner has. */
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

  /**
   * Notes that a runner waits with `head`, the first event of its subject in line. Another runner
   * may go on.
   */
  #wait(head: RunningEvent): true {
    if (this.#order.byKey) this.#lastInLine.set(head.view.subject, head);
    this.#startRunner();
    return true;
  }

  /**
   * Runs all events of a runner in one loop: an async call per subject would cost a promise each.
   */
  readonly #runner = async (slot: number): Promise<void> => {
    const { slots } = this.#handlers;
    const handle = this.#handle;
    const trace = this.#trace;
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
        // The clock is read once per event: an event starts at the end of the one before.
        if (ended !== null) this.#outcomes.ages.add(ended.timeMs, now);
        ended = null;
        if (!this.#decoder.decode(event, way)) {
          this.#order.stop(event);
          break;
        }
        if (trace !== null) trace.begin(event);
        try {
          if (this.#view) this.#view.fold(event);
          else {
            const context = new EventContext(this.#shared, event);
            const result =
              trace === null ? handle(event.view, context) : trace.call(event, handle, context);
            if (isThenable(result)) {
              slots[slot] = context;
              inLine ||= this.#wait(event);
              await result;
            }
          }
          this.#states[event.index] = this.#emits.settle(event) ? CELL.CAUSED : this.#done;
          ended = event;
          if (trace !== null) trace.end(event);
        } catch (error) {
          if (trace !== null) trace.end(event, errorOf(error));
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
