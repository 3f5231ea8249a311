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
import type { Catalog } from '../wire/catalog.ts';
import { checkBatch, readEvent, walkBatch, type EventHeader } from '../wire/event-batch.ts';
import { decodeParked } from '../wire/parked.ts';
import { errorInfo, isNonRetryable } from './error-info.ts';
import { EventContext, EventsContext, type ContextShared } from './function-context.ts';
import type { LoadedFunction } from './load-functions.ts';
import { EventView, RunningEvent } from './running-event.ts';

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
  #lastAge = -1;
  #ageCount = 0;
  /** Wall clock minus monotonic clock: events are stamped with the former. */
  readonly #wallAheadMs = wallClockMs() - monotonicMs();
  /** Per runner, what it waits for: what the sweep looks at. */
  readonly #running: (Expiring | null)[] = [];

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
    this.#countAge();
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
        for (const running of this.#running) {
          if (!running || running.event.timedOut || now - running.event.startedMs < spec.timeoutMs) continue;
          running.event.timedOut = true;
          running.expire();
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
        this.#blocked.push(event.ref());
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
    return new RunningEvent(view, header, start, index, -1, record.index, record.attempts + 1, null);
  }

  #openEntry(e: number, into: RunningEvent[]): void {
    const entry = this.#task.entries[e] as BatchTask['entries'][number];
    const type = this.#task.types[entry.type] as string;
    const { partition } = this.#task;
    const declared = this.#catalog.types.get(type) ?? null;
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
        into.push(new RunningEvent(view, header, entry.offset, entry.first + inEntry, e, inEntry, 1, declared));
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
    const { states, starts } = this.#cells;
    const handle = this.#loaded.definition.handle as NonNullable<LoadedFunction['definition']['handle']>;
    let next = 0;
    const runner = async (_: unknown, slot: number): Promise<void> => {
      let ended: RunningEvent | null = null;
      while (next < heads.length) {
        let event: RunningEvent | null = heads[next++] as RunningEvent;
        while (event !== null) {
          const now = monotonicMs();
          event.startedMs = now;
          starts[event.index] = now;
          states[event.index] = CELL.RUNNING;
          // The clock is read once an event: this start is the end of the one before.
          if (ended !== null) this.#age(ended, now);
          ended = null;
          if (!this.#decode(event)) {
            this.#block(event);
            break;
          }
          const context = new EventContext(this.#shared, event);
          try {
            const result = handle(event.view, context);
            if (isThenable(result)) {
              this.#running[slot] = context;
              await result;
            }
            states[event.index] = CELL.DONE;
            ended = event;
          } catch (error) {
            this.#failed(event, error);
            this.#block(event);
            break;
          } finally {
            this.#running[slot] = null;
          }
          event = event.next;
        }
      }
      if (ended !== null) this.#age(ended, monotonicMs());
    };
    const slots = Array.from({ length: Math.min(concurrency, heads.length) }, (_, slot) => slot);
    await Promise.all(slots.map((slot) => limit(runner, null, slot)));
  }

  #decode(event: RunningEvent): boolean {
    try {
      const type = event.type ?? this.#catalog.get(event.view.type);
      const start = event.base + event.header.dataOffset;
      event.view.data = type.decodeAt(this.#bytes, start, start + event.header.dataLength);
      return true;
    } catch (error) {
      this.#cells.states[event.index] = CELL.FAILED;
      this.#failures.push({ ref: event.ref(), error: errorInfo(error), retryable: false, reason: 'decode' });
      return false;
    }
  }

  /** @param endedMs monotonic */
  #age(event: RunningEvent, endedMs: number): void {
    const age = coarse(endedMs + this.#wallAheadMs - event.header.timeMs);
    // Neighbours tend to be of one age: counted before they go to the map.
    if (age === this.#lastAge) this.#ageCount++;
    else {
      this.#countAge();
      this.#lastAge = age;
      this.#ageCount = 1;
    }
  }

  #countAge(): void {
    if (this.#ageCount > 0) this.#ages.set(this.#lastAge, (this.#ages.get(this.#lastAge) ?? 0) + this.#ageCount);
    this.#ageCount = 0;
  }

  #failed(event: RunningEvent, error: unknown): void {
    this.#cells.states[event.index] = CELL.FAILED;
    const final = isNonRetryable(error);
    const reason: FailureReason = final ? 'non-retryable' : event.timedOut ? 'timeout' : 'attempts';
    this.#failures.push({ ref: event.ref(), error: errorInfo(error), retryable: !final, reason });
  }

  /** The events behind a failed one. */
  #block(failed: RunningEvent): void {
    for (let event = failed.next; event !== null; event = event.next) {
      this.#cells.states[event.index] = CELL.BLOCKED;
      if (event.entry >= 0) this.#blocked.push(event.ref());
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
    this.#running[0] = { event: first, expire: () => context.expire(first.view.id) };
    let named: readonly BatchFailure[];
    try {
      const answer = await this.#loaded.definition.handleBatch?.(part.map((e) => e.view), context);
      named = checkAnswer(answer, part);
    } catch (error) {
      if (part.length === 1) {
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
      this.#running[0] = null;
    }
    const endedMs = monotonicMs();
    const errors = new Map(named.map((f) => [f.id, f.error]));
    const failed: RunningEvent[] = [];
    const behind = new Set<RunningEvent>();
    for (const event of part) {
      if (behind.has(event)) continue; // blocked by an earlier failure of its subject: it runs again after it
      if (!errors.has(event.view.id)) {
        states[event.index] = CELL.DONE;
        this.#age(event, endedMs);
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

/** A handler that has been called and has not settled. */
interface Expiring {
  readonly event: RunningEvent;
  expire(): void;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/** Entries with one id come from one flush: their events are in order by position across the types. */
function sortTail(events: RunningEvent[], from: number): void {
  const tail = events.splice(from).sort((a, b) => a.header.position - b.header.position);
  for (const event of tail) events.push(event);
}

/** Ages above a second keep ten significant bits, so that a batch has few different ones. */
function coarse(ms: number): number {
  if (ms < 1024) return ms > 0 ? Math.floor(ms) : 0;
  const dropped = Math.max(0, 22 - Math.clz32(ms));
  return dropped > 20 ? 2 ** 31 : (ms >>> dropped) << dropped;
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
