/**
 * Runs one batch in a pool thread: checksum, take apart, decode, subjects in order and side by side, outcomes out.
 *
 * Rules it keeps:
 * - events of one subject run one after the other; after a failure its later ones are BLOCKED, not run
 * - a retried unit stops at its first failure; what stands behind stays in its parked list
 * - an entry whose checksum or framing is wrong is dead as a whole, the other entries go on
 * - every event's state is in the shared cells before and after its handler, so that it survives the thread
 */
import pLimit from 'p-limit';
import type { Logger } from 'pino';
import type { BatchReport, BatchTask, DeadEntry, EventRef, Failure, FailureReason } from '../core/batch-task.ts';
import { monotonicMs, wallClockMs } from '../core/clock.ts';
import { CorruptDataError } from '../core/errors.ts';
import { CELL, openCells, type ProgressCells } from '../core/progress-cells.ts';
import type { BatchFailure } from '../define/define-function.ts';
import type { Catalog, EventType } from '../wire/catalog.ts';
import { checkBatch, readEvent, walkBatch, type EventHeader } from '../wire/event-batch.ts';
import { decodeParked } from '../wire/parked.ts';
import { errorInfo, isNonRetryable } from './error-info.ts';
import { EventContext, EventsContext, type ContextShared } from './function-context.ts';
import type { LoadedFunction } from './load-functions.ts';
import { EventView, refOf, type RunningEvent } from './running-event.ts';

export async function runBatch(
  task: BatchTask,
  loaded: LoadedFunction,
  catalog: Catalog,
  logger: Logger,
): Promise<BatchReport> {
  const run = new BatchRun(task, loaded, catalog, logger);
  await run.run();
  return run.report();
}

class BatchRun {
  readonly #task: BatchTask;
  readonly #loaded: LoadedFunction;
  readonly #catalog: Catalog;
  readonly #bytes: Buffer;
  readonly #cells: ProgressCells;
  readonly #shared: ContextShared;
  readonly #failures: Failure[] = [];
  readonly #blocked: EventRef[] = [];
  readonly #deadEntries: DeadEntry[] = [];
  readonly #ages = new Map<number, number>();
  /** Handlers called and not settled, with their contexts: what the sweep looks at. */
  readonly #running = new Map<RunningEvent, { expire(): void }>();

  constructor(task: BatchTask, loaded: LoadedFunction, catalog: Catalog, logger: Logger) {
    this.#task = task;
    this.#loaded = loaded;
    this.#catalog = catalog;
    this.#bytes = Buffer.from(task.buffer);
    this.#cells = openCells(task.cells, task.events);
    this.#shared = {
      functionName: task.fn,
      timeoutMs: loaded.definition.spec.timeoutMs,
      logger,
      resources: loaded.resources,
    };
  }

  report(): BatchReport {
    const ages: number[] = [];
    for (const [age, count] of this.#ages) ages.push(age, count);
    return { kind: 'report', failures: this.#failures, blocked: this.#blocked, deadEntries: this.#deadEntries, ages };
  }

  async run(): Promise<void> {
    const { spec } = this.#loaded.definition;
    const signOfLife = this.#task.events;
    this.#cells.starts[signOfLife] = monotonicMs();
    const sweep = setInterval(
      () => {
        const now = monotonicMs();
        this.#cells.starts[signOfLife] = now;
        for (const [event, context] of this.#running) {
          if (!event.timedOut && now - event.startedMs >= spec.timeoutMs) {
            event.timedOut = true;
            context.expire();
          }
        }
      },
      Math.min(250, Math.max(5, spec.timeoutMs / 4)),
    );
    try {
      const heads = this.#takeApart();
      if (spec.batch) await this.#runTogether(heads, spec.batchSize);
      else await this.#runChains(heads, spec.concurrency);
    } finally {
      clearInterval(sweep);
    }
  }

  /** Bytes to chains of events: one chain per retried unit and, with ordering 'key', per subject. */
  #takeApart(): RunningEvent[] {
    const heads: RunningEvent[] = [];
    const task = this.#task;
    const states = this.#cells.states;

    let index = 0;
    let unit = -1;
    let tail: RunningEvent | null = null;
    for (const item of task.retries) {
      const event = this.#openRetry(item.offset, item.length, index++);
      if (event === null) {
        // An unreadable record has been dead-lettered; what follows in its unit runs on.
        if (item.unit !== unit) tail = null;
        unit = item.unit;
        continue;
      }
      if (item.unit === unit && tail) tail.next = event;
      else heads.push(event);
      unit = item.unit;
      tail = event;
    }

    const events: RunningEvent[] = [];
    let group = 0;
    let groupMixed = false;
    for (let e = 0; e < task.entries.length; e++) {
      const entry = task.entries[e] as BatchTask['entries'][number];
      if (e > 0 && task.entries[e - 1]?.id !== entry.id) {
        if (groupMixed) sortTail(events, group);
        group = events.length;
        groupMixed = false;
      } else if (e > 0) groupMixed = true;
      this.#openEntry(e, events);
    }
    if (groupMixed) sortTail(events, group);

    const byKey = this.#loaded.definition.spec.ordering === 'key';
    const blocked = new Set(task.blocked);
    const tails = new Map<string, RunningEvent>();
    for (const event of events) {
      if (byKey && blocked.size > 0 && blocked.has(event.view.subject)) {
        if (states[event.index] === CELL.SKIP) continue;
        states[event.index] = CELL.BLOCKED;
        this.#blocked.push(refOf(event));
        continue;
      }
      if (states[event.index] === CELL.SKIP) continue;
      const before = byKey ? tails.get(event.view.subject) : undefined;
      if (before) before.next = event;
      else heads.push(event);
      if (byKey) tails.set(event.view.subject, event);
    }
    return heads;
  }

  #openRetry(offset: number, length: number, index: number): RunningEvent | null {
    const bytes = this.#bytes.subarray(offset, offset + length);
    const record = decodeParked(bytes);
    const event = record.event;
    const header = readEvent(event);
    // The event's bytes lie inside the record's: same memory, so the payload needs no second copy.
    const start = event.byteOffset - this.#bytes.byteOffset;
    const view = new EventView(
      header.id, record.type, header.subject, header.source, header.schema, header.extensions,
      header.timeMs, this.#task.partition, record.entryId, record.position,
    );
    return {
      view, index, timeMs: header.timeMs, entry: -1, indexInEntry: record.index, offset, length, position: record.position,
      dataStart: start + header.dataOffset, dataEnd: start + header.dataOffset + header.dataLength,
      attempt: record.attempts + 1, startedMs: 0, timedOut: false, next: null,
    };
  }

  #openEntry(e: number, into: RunningEvent[]): void {
    const entry = this.#task.entries[e] as BatchTask['entries'][number];
    const type = this.#task.types[entry.type] as string;
    const { partition } = this.#task;
    const bytes = this.#bytes.subarray(entry.offset, entry.offset + entry.length);
    const before = into.length;
    try {
      if (entry.length === 0) {
        throw new CorruptDataError('missing', 'the entry has no bytes: deleted or trimmed while it was pending, or added without a field "b"');
      }
      checkBatch(bytes, entry.crc);
      let inEntry = 0;
      walkBatch(bytes, (header: EventHeader) => {
        if (inEntry >= entry.count) throw new CorruptDataError('count', `more than the ${entry.count} events its "n" announces`);
        const view = new EventView(
          header.id, type, header.subject, header.source, header.schema, header.extensions,
          header.timeMs, partition, entry.id, header.position,
        );
        into.push({
          view, index: entry.first + inEntry, timeMs: header.timeMs, entry: e, indexInEntry: inEntry,
          offset: header.offset, length: header.length, position: header.position,
          dataStart: entry.offset + header.dataOffset, dataEnd: entry.offset + header.dataOffset + header.dataLength,
          attempt: 1, startedMs: 0, timedOut: false, next: null,
        });
        inEntry++;
      });
      if (inEntry !== entry.count) throw new CorruptDataError('count', `${inEntry} events where its "n" announces ${entry.count}`);
    } catch (error) {
      into.length = before;
      if (!(error instanceof CorruptDataError)) throw error;
      this.#deadEntries.push({ entry: e, reason: error.reason, message: error.message });
      this.#cells.states.fill(CELL.FAILED, entry.first, entry.first + entry.count);
    }
  }

  async #runChains(heads: RunningEvent[], concurrency: number): Promise<void> {
    // Runners pull the next chain: p-limit bounds how many work at once without a queued promise per subject.
    const limit = pLimit(concurrency);
    let next = 0;
    const runner = async (): Promise<void> => {
      while (next < heads.length) {
        let event: RunningEvent | null = heads[next++] as RunningEvent;
        while (event !== null) {
          const running: RunningEvent = event;
          const ok = this.#start(running);
          const failed = ok === true ? false : ok === false ? true : !(await ok);
          if (failed) this.#block(running);
          event = failed ? null : running.next;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, heads.length) }, () => limit(runner)));
  }

  /** Calls the handler. True or false at once where nothing has to be waited for. */
  #start(event: RunningEvent): boolean | Promise<boolean> {
    if (!this.#decode(event)) return false;
    const { states, starts } = this.#cells;
    const context = new EventContext(this.#shared, event);
    event.startedMs = monotonicMs();
    starts[event.index] = event.startedMs;
    states[event.index] = CELL.RUNNING;
    try {
      const result = this.#loaded.definition.handle?.(event.view, context);
      if (isThenable(result)) return this.#settle(event, context, result);
      this.#done(event);
      return true;
    } catch (error) {
      this.#failed(event, error);
      return false;
    }
  }

  async #settle(event: RunningEvent, context: EventContext, result: PromiseLike<unknown>): Promise<boolean> {
    this.#running.set(event, context);
    try {
      await result;
      this.#done(event);
      return true;
    } catch (error) {
      this.#failed(event, error);
      return false;
    } finally {
      this.#running.delete(event);
    }
  }

  #decode(event: RunningEvent): boolean {
    let type: EventType;
    try {
      type = this.#catalog.get(event.view.type);
      event.view.data = type.decode(this.#bytes.subarray(event.dataStart, event.dataEnd));
      return true;
    } catch (error) {
      this.#cells.states[event.index] = CELL.FAILED;
      this.#failures.push({ ref: refOf(event), error: errorInfo(error), retryable: false, reason: 'decode' });
      return false;
    }
  }

  #done(event: RunningEvent): void {
    this.#cells.states[event.index] = CELL.DONE;
    const age = coarse(Math.max(0, wallClockMs() - event.timeMs));
    this.#ages.set(age, (this.#ages.get(age) ?? 0) + 1);
  }

  #failed(event: RunningEvent, error: unknown): void {
    this.#cells.states[event.index] = CELL.FAILED;
    const final = isNonRetryable(error);
    const reason: FailureReason = final ? 'non-retryable' : event.timedOut ? 'timeout' : 'attempts';
    this.#failures.push({ ref: refOf(event), error: errorInfo(error), retryable: !final, reason });
  }

  /** The events behind a failed one. */
  #block(failed: RunningEvent): void {
    for (let event = failed.next; event !== null; event = event.next) {
      this.#cells.states[event.index] = CELL.BLOCKED;
      if (event.entry >= 0) this.#blocked.push(refOf(event));
    }
  }

  /** handleBatch: everything of a unit or subject in order, `batchSize` at a time. */
  async #runTogether(heads: RunningEvent[], batchSize: number): Promise<void> {
    // Round by round, so that a subject's later event never shares a call with one that may fail before it... they may
    // share a call (that is what a batch handler is for) but a failure blocks those behind in later calls.
    const queue: RunningEvent[] = [];
    for (const head of heads) for (let event: RunningEvent | null = head; event; event = event.next) queue.push(event);
    const headOf = new Map<RunningEvent, RunningEvent>();
    for (const head of heads) for (let event: RunningEvent | null = head; event; event = event.next) headOf.set(event, head);
    const stopped = new Set<RunningEvent>();
    for (let at = 0; at < queue.length; ) {
      const part: RunningEvent[] = [];
      for (; at < queue.length && part.length < batchSize; at++) {
        const event = queue[at] as RunningEvent;
        if (stopped.has(headOf.get(event) as RunningEvent)) continue;
        if (this.#decode(event)) part.push(event);
        else {
          this.#block(event);
          stopped.add(headOf.get(event) as RunningEvent);
        }
      }
      for (const failed of await this.#callBatch(part)) stopped.add(headOf.get(failed) as RunningEvent);
    }
  }

  /** @returns the events that failed */
  async #callBatch(part: RunningEvent[]): Promise<RunningEvent[]> {
    if (part.length === 0) return [];
    const { states, starts } = this.#cells;
    const now = monotonicMs();
    const context = new EventsContext(this.#shared, part, now);
    for (const event of part) {
      event.startedMs = now;
      event.timedOut = false;
      starts[event.index] = now;
      states[event.index] = CELL.RUNNING;
    }
    const first = part[0] as RunningEvent;
    this.#running.set(first, { expire: () => context.expire(first.view.id) });
    let named: readonly BatchFailure[];
    try {
      const answer = await this.#loaded.definition.handleBatch?.(part.map((e) => e.view), context);
      named = checkAnswer(answer, part);
    } catch (error) {
      if (part.length === 1) {
        first.timedOut = this.#running.has(first) && first.timedOut;
        this.#failed(first, error);
        this.#block(first);
        return [first];
      }
      // An opaque throw: halve until the event that does it stands alone.
      const half = part.length >> 1;
      const failedFirst = await this.#callBatch(part.slice(0, half));
      const behindFailed = new Set<RunningEvent>();
      for (const failed of failedFirst) for (let e = failed.next; e; e = e.next) behindFailed.add(e);
      const failedSecond = await this.#callBatch(part.slice(half).filter((e) => !behindFailed.has(e)));
      return [...failedFirst, ...failedSecond];
    } finally {
      this.#running.delete(first);
    }
    const errors = new Map(named.map((f) => [f.id, f.error]));
    const failed: RunningEvent[] = [];
    const behind = new Set<RunningEvent>();
    for (const event of part) {
      if (behind.has(event)) continue; // blocked by an earlier failure of its subject: it runs again after it
      if (!errors.has(event.view.id)) {
        this.#done(event);
        continue;
      }
      this.#failed(event, errors.get(event.view.id));
      this.#block(event);
      for (let e = event.next; e; e = e.next) behind.add(e);
      failed.push(event);
    }
    return failed;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** Entries with one id come from one flush: their events are in order by position across the types. */
function sortTail(events: RunningEvent[], from: number): void {
  const tail = events.splice(from).sort((a, b) => a.position - b.position);
  for (const event of tail) events.push(event);
}

/** Ages above a second keep ten significant bits, so that a batch has few different ones. */
function coarse(ms: number): number {
  if (ms < 1024) return Math.floor(ms);
  const step = 2 ** (Math.floor(Math.log2(ms)) - 9);
  return Math.floor(ms / step) * step;
}

function checkAnswer(answer: unknown, part: readonly RunningEvent[]): readonly BatchFailure[] {
  if (answer === undefined || answer === null) return [];
  if (!Array.isArray(answer)) throw new TypeError('handleBatch must return nothing or a list of { id, error }');
  const ids = new Set(part.map((e) => e.view.id));
  for (const failure of answer as unknown[]) {
    const id = (failure as { id?: unknown } | null)?.id;
    if (typeof id !== 'string' || !ids.has(id)) {
      throw new TypeError(`handleBatch returned a failure for an event that is not in the batch: ${String(id)}`);
    }
  }
  return answer as BatchFailure[];
}
