/**
 * Calls `handleBatch` with up to `batchSize` events; those of one subject are in order. The events
 * of a call that throws are halved and called again, until the event that causes the error is
 * alone.
 */
import { monotonicMs } from '../core/clock.ts';
import { CELL } from '../core/progress-cells.ts';
import type { BatchFailure, DefinedFunction } from '../define/define-function.ts';
import { errorOf } from './error-info.ts';
import { EventsContext } from './function-context.ts';
import type { RunningEvent } from './running-event.ts';
import type { CallParts } from './subject-chains.ts';

/**
 * A first call of some events, or a half of a call that threw. A search for the failing event goes
 * on until the event is found or another event is done. Otherwise the search would begin anew each
 * turn.
 */
type Purpose = 'first' | 'search';

export class BatchCalls {
  readonly #parts: CallParts;
  readonly #handleBatch: DefinedFunction['handleBatch'];
  /** Whether an event of the batch has an outcome. */
  #gotOn = false;

  constructor(parts: CallParts) {
    this.#parts = parts;
    this.#handleBatch = parts.definition.handleBatch;
  }

  async run(): Promise<void> {
    const { batchSize } = this.#parts.definition.spec;
    for (;;) {
      const part = await this.#nextPart(batchSize);
      await this.#call(part, 'first');
      if (part.length < batchSize) return;
    }
  }

  /** Takes the next events; fewer than `batchSize`: no further events are to run. */
  async #nextPart(batchSize: number): Promise<RunningEvent[]> {
    const { order, decoder } = this.#parts;
    const part: RunningEvent[] = [];
    const last = new Map<string, RunningEvent>();
    while (part.length < batchSize) {
      const event = order.next();
      if (event === null) break;
      let way = decoder.wayOf(event);
      if (way instanceof Promise) way = await way;
      if (!decoder.decode(event, way)) {
        order.stop(event);
        continue;
      }
      if (order.byKey) {
        const before = last.get(event.view.subject);
        if (before) before.next = event;
        last.set(event.view.subject, event);
      }
      part.push(event);
    }
    return part;
  }

  #mayStart(purpose: Purpose, now: number): boolean {
    const { gate } = this.#parts;
    if (gate.isOrderedShut(now)) return false;
    return (purpose === 'search' && !this.#gotOn) || !gate.closes(now);
  }

  async #call(part: readonly RunningEvent[], purpose: Purpose): Promise<void> {
    const now = monotonicMs();
    if (part.length === 0 || !this.#mayStart(purpose, now)) return;
    const { cells, emits, order, handlers, shared, trace } = this.#parts;
    if (emits.full) {
      for (const event of part) if (cells.states[event.index] === CELL.TODO) order.defer(event);
      return;
    }
    const context = new EventsContext(shared, part, now);
    this.#begin(part, now);
    const first = part[0] as RunningEvent;
    handlers.slots[0] = {
      event: first,
      expire: () => context.expire(first.view.id),
      abort: (reason) => context.abort(reason),
    };
    let named: readonly BatchFailure[];
    try {
      const views = part.map((e) => e.view);
      const answer = await (trace === null
        ? this.#handleBatch?.(views, context)
        : trace.callAll(part, () => this.#handleBatch?.(views, context)));
      context.close();
      named = checkAnswer(answer, part);
    } catch (error) {
      context.close();
      handlers.slots[0] = null;
      return this.#threw(part, error);
    }
    handlers.slots[0] = null;
    this.#gotOn = true;
    this.#settle(part, named);
  }

  #begin(part: readonly RunningEvent[], now: number): void {
    const { states, starts } = this.#parts.cells;
    const { trace } = this.#parts;
    for (const event of part) {
      if (trace !== null) trace.begin(event);
      event.startedMs = now;
      event.timedOut = false;
      starts[event.index] = now;
      states[event.index] = CELL.RUNNING;
    }
  }

  async #threw(part: readonly RunningEvent[], error: unknown): Promise<void> {
    const { cells, emits, outcomes, order, trace } = this.#parts;
    const { states } = cells;
    for (const event of part) emits.drop(event);
    if (trace !== null) for (const event of part) trace.end(event, errorOf(error));
    if (part.length === 1) {
      const event = part[0] as RunningEvent;
      this.#gotOn = true;
      outcomes.threw(event, error);
      order.stop(event);
      return;
    }
    for (const event of part) states[event.index] = CELL.TODO;
    const half = part.length >> 1;
    await this.#call(part.slice(0, half), 'search');
    // The first half may have blocked events of this half, by a failure of their subject.
    const rest = part.slice(half).filter((event) => states[event.index] === CELL.TODO);
    await this.#call(rest, 'search');
  }

  #settle(part: readonly RunningEvent[], named: readonly BatchFailure[]): void {
    const { cells, emits, outcomes, order, trace } = this.#parts;
    const { states } = cells;
    const endedMs = monotonicMs();
    const errors = new Map(named.map((f) => [f.id, f.error]));
    for (const event of part) {
      const { id } = event.view;
      if (trace !== null) trace.end(event, errors.has(id) ? errorOf(errors.get(id)) : undefined);
      // This event stands behind a failed event of its subject. It runs again after that event.
      if (states[event.index] === CELL.BLOCKED) {
        event.settled = true;
        emits.drop(event);
        continue;
      }
      if (errors.has(event.view.id)) {
        outcomes.threw(event, errors.get(event.view.id));
        order.stop(event);
        continue;
      }
      states[event.index] = emits.settle(event) ? CELL.CAUSED : CELL.DONE;
      outcomes.ages.add(event.timeMs, endedMs);
    }
  }
}

function checkAnswer(answer: unknown, part: readonly RunningEvent[]): readonly BatchFailure[] {
  if (answer === undefined || answer === null) return [];
  if (!Array.isArray(answer))
    throw new TypeError('handleBatch must return nothing or a list of { id, error }');
  const ids = new Set(part.map((e) => e.view.id));
  for (const failure of answer as unknown[]) {
    const id = (failure as { id?: unknown } | null)?.id;
    if (typeof id !== 'string' || !ids.has(id)) {
      throw new TypeError(
        `handleBatch returned a failure for an event that is not in the batch: ${String(id)}`,
      );
    }
  }
  return answer as BatchFailure[];
}
