/**
 * Runs one batch in a pool thread: checksum, take apart, decode, subjects in order and side by
 * side, outcomes out.
 *
 * Rules it keeps:
 * - events of one subject run one after the other; after a failure its later ones are BLOCKED, not
 *   run
 * - a retried unit stops at its first failure; what stands behind stays in its parked list
 * - an entry whose checksum or framing is wrong is dead as a whole, the other entries go on
 * - nothing starts when its turn is over or the dispatcher says so (control): what is not started
 *   stays TODO
 * - every event's state is in the shared cells before and after its handler, so that it survives
 *   the thread
 * - a batch of which only slow handlers are left is reported without them; what stands behind them
 *   is BLOCKED, and each of them is reported by itself when it has settled
 */
import pLimit, { type LimitFunction } from 'p-limit';
import type { Logger } from 'pino';
import type {
  BatchReport,
  BatchTask,
  EventRef,
  Failure,
  FailureReason,
} from '../core/thread-protocol.ts';
import { monotonicMs, wallClockMs } from '../core/clock.ts';
import {
  CorruptDataError,
  EmitLoopError,
  LeaseLostError,
  type EnvelopeError,
} from '../core/errors.ts';
import { CELL, openCells, ORDER, type ProgressCells } from '../core/progress-cells.ts';
import { END_OF_TIME_MS } from '../core/rfc3339.ts';
import type { BatchFailure } from '../define/define-function.ts';
import type { Catalog } from '../wire/catalog.ts';
import { BatchSource } from './batch-source.ts';
import { Emits } from './emits.ts';
import { errorInfo, isInstance, isNonRetryable } from './error-info.ts';
import { EventContext, EventsContext, type ContextShared } from './function-context.ts';
import type { LoadedFunction } from './load-functions.ts';
import type { RunningEvent } from './running-event.ts';
import { ViewRun } from './view-run.ts';
import type { Way, WriterSchemas } from './writer-schemas.ts';

/** What a thread has for all batches. */
export interface ThreadParts {
  readonly catalog: Catalog;
  readonly schemas: WriterSchemas;
  readonly logger: Logger;
  /** P of the deployment. */
  readonly partitions: number;
  /** Ids of the types' schemas in the registry. */
  readonly schemaIds: ReadonlyMap<string, { readonly id: number }>;
}

export interface RunOptions {
  /** Most events at the same time. */
  readonly concurrency: number;
  /**
   * When nothing but handlers that have run so long is left, they go on behind the report.
   * Infinity: never.
   */
  readonly detachMs: number;
  /** A turn of this length starts nothing further. Infinity: no bound. */
  readonly turnMs: number;
  /** When this one's is over, by monotonicMs(). */
  readonly endsMs: () => number;
  /** Told what became of each of those, by its index. */
  readonly late: (index: number, report: BatchReport) => void;
}

export async function runBatch(
  task: BatchTask,
  loaded: LoadedFunction,
  parts: ThreadParts,
  options: RunOptions,
): Promise<BatchReport> {
  const startedMs = monotonicMs();
  const { states } = openCells(task.cells);
  // Shared memory: a copy of its own.
  const before = loaded.definition.view ? Uint8Array.from(states) : states;
  let run = new BatchRun(task, loaded, parts, options, false);
  await run.run();
  if (!run.finish()) {
    states.set(before);
    run = new BatchRun(
      task,
      loaded,
      parts,
      { ...options, endsMs: () => monotonicMs() + options.turnMs },
      true,
    );
    await run.run();
  }
  return run.report(monotonicMs() - startedMs);
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

/** Time limits, and handlers that are slow, are looked for so often. */
const SWEEP_MS = 100;

class BatchRun {
  readonly #task: BatchTask;
  readonly #loaded: LoadedFunction;
  readonly #catalog: Catalog;
  readonly #schemas: WriterSchemas;
  readonly #source: BatchSource;
  readonly #byKey: boolean;
  /** A dead event holds its subject. */
  readonly #holds: boolean;
  /** Subjects with a parked list. */
  readonly #parked: ReadonlySet<string>;
  /** Subjects of which an event failed in this batch. */
  readonly #stopped = new Set<string>();
  readonly #bytes: Buffer;
  readonly #cells: ProgressCells;
  readonly #shared: ContextShared;
  /** Of a view. */
  readonly #view: ViewRun | null;
  readonly #emits: Emits;
  readonly #options: RunOptions;
  readonly #endsMs: number;
  /** Nothing more is started. */
  #halted = false;
  /** handleBatch: something of it has an outcome. */
  #gotOn = false;
  #failures: Failure[] = [];
  #blocked: EventRef[] = [];
  readonly #ages = new Map<number, number>();
  #lastAge = -1;
  #ageCount = 0;
  /** Wall clock minus monotonic clock: events are stamped with the former. */
  readonly #wallAheadMs = wallClockMs() - monotonicMs();
  /** Per runner, what it waits for: what the sweep looks at. */
  readonly #running: (Expiring | null)[] = [];
  /** Runners that have begun and not ended. */
  #runners = 0;
  /** The source has nothing left. */
  #exhausted = false;
  /** Handlers that ran when the batch was reported; null before. */
  #detached: readonly RunningEvent[] | null = null;
  #detach: () => void = () => undefined;

  /**
   * How the last event's payload was read, mostly as the next one's is; and what the batch has
   * found not to be registered.
   */
  #lastSchema = 0;
  #lastType = '';
  #lastWay: Way | null = null;
  readonly #unknown = new Set<number>();

  /** @param careful of a view: after a first run that is in doubt */
  constructor(
    task: BatchTask,
    loaded: LoadedFunction,
    { catalog, schemas, logger, partitions, schemaIds }: ThreadParts,
    options: RunOptions,
    careful: boolean,
  ) {
    this.#task = task;
    this.#loaded = loaded;
    this.#options = options;
    this.#endsMs = options.endsMs();
    this.#catalog = catalog;
    this.#schemas = schemas;
    this.#bytes = Buffer.from(task.buffer);
    this.#cells = openCells(task.cells);
    this.#source = new BatchSource(task, this.#bytes, this.#cells.states, catalog);
    this.#byKey = loaded.definition.spec.ordering === 'key';
    this.#holds = loaded.definition.spec.onDead === 'hold';
    this.#parked = new Set(task.blocked);
    this.#emits = new Emits({
      fn: task.fn,
      partition: task.partition,
      partitions,
      catalog,
      schemas: schemaIds,
    });
    const code = loaded.definition.view;
    const rows = task.rows;
    this.#view =
      code && rows
        ? new ViewRun(
            task.fn,
            code,
            careful,
            this.#bytes.subarray(rows.offset, rows.offset + rows.length),
            rows.added,
            task.caused,
          )
        : null;
    this.#shared = {
      functionName: task.fn,
      timeoutMs: loaded.definition.spec.timeoutMs,
      logger,
      resources: loaded.resources,
      emits: this.#emits,
    };
  }

  /** When it has run. @returns false: nothing of it may be used (a view's run in doubt) */
  finish(): boolean {
    return this.#view === null || this.#view.finish();
  }

  report(busyMs: number): BatchReport {
    const running = this.#detached?.map((event) => event.ref());
    return {
      ...this.#unreported(),
      deadEntries: this.#source.deadEntries,
      effects: this.#view?.pack() ?? null,
      busyMs,
      ...(running ? { running } : {}),
    };
  }

  /** What has come about since it was last asked. */
  #unreported(): BatchReport {
    this.#countAge();
    this.#lastAge = -1;
    const ages: number[] = [];
    for (const [age, count] of this.#ages) ages.push(age, count);
    this.#ages.clear();
    const emitted = this.#emits.report();
    const report: BatchReport = {
      kind: 'report',
      failures: this.#failures,
      blocked: this.#blocked,
      deadEntries: [],
      effects: null,
      ages,
      busyMs: 0,
      ...(emitted ? { emitted } : {}),
    };
    this.#failures = [];
    this.#blocked = [];
    return report;
  }

  /** Resolves when all is done, or may be reported while handlers still run. */
  async run(): Promise<void> {
    const all = this.#all();
    if (this.#options.detachMs === Infinity) return all;
    const detached = new Promise<void>((resolve) => (this.#detach = resolve));
    await Promise.race([all, detached]);
    // It can only fail before: nothing is started any more.
    if (this.#detached) all.catch(() => undefined);
  }

  async #all(): Promise<void> {
    const { spec } = this.#loaded.definition;
    const signOfLife = this.#cells.capacity;
    let sweptMs = monotonicMs();
    this.#cells.starts[signOfLife] = sweptMs;
    const everyMs = Math.min(SWEEP_MS, Math.max(5, spec.timeoutMs / 4));
    const sweep = setInterval(() => {
      const now = monotonicMs();
      this.#cells.starts[signOfLife] = now;
      const late = now - sweptMs - everyMs;
      sweptMs = now;
      this.#obey();
      for (const running of this.#running) {
        // The process was stopped, or another handler had the thread: this one could not go on
        // meanwhile.
        if (running && late > STOOD_STILL_MS) running.event.startedMs += late;
        if (!running || running.event.timedOut || now - running.event.startedMs < spec.timeoutMs)
          continue;
        running.event.timedOut = true;
        running.expire();
      }
      this.#halts(now);
      this.#leaveRunning(now);
    }, everyMs);
    try {
      if (spec.batch) await this.#runTogether(spec.batchSize);
      else await this.#runChains(Math.min(spec.concurrency, this.#options.concurrency));
    } finally {
      clearInterval(sweep);
      this.#emits.close();
    }
  }

  /** The lane is somebody else's: what runs is told. */
  #obey(): void {
    if (this.#cells.control[1] !== ORDER.LEASE_LOST || this.#shared.ended) return;
    this.#shared.ended = new LeaseLostError(this.#task.fn, this.#task.partition);
    for (const running of this.#running) running?.abort(this.#shared.ended);
  }

  /** Whether no further event is to start: the turn is over, or the dispatcher says so. */
  #halts(now: number): boolean {
    if (now > this.#endsMs || this.#isHalted(now)) this.#halted = true;
    return this.#halted;
  }

  #isHalted(now: number): boolean {
    return now > (this.#cells.control[0] as number);
  }

  /**
   * Where nothing but slow handlers is left: they are left to themselves, and what stands behind
   * them is held.
   */
  #leaveRunning(now: number): void {
    if (
      this.#detached ||
      !(this.#exhausted || this.#halted) ||
      this.#runners === 0 ||
      this.#loaded.definition.spec.batch
    )
      return;
    const running: RunningEvent[] = [];
    for (const one of this.#running) if (one) running.push(one.event);
    // A runner without a handler waits for a schema, or is about to go on.
    if (
      running.length < this.#runners ||
      running.some((event) => now - event.startedMs < this.#options.detachMs)
    )
      return;
    this.#detached = running;
    for (const event of running) {
      for (let behind = event.next; behind !== null; behind = behind.next) this.#hold(behind);
      event.next = null;
    }
    this.#detach();
  }

  /** A handler has settled: what it came to is told where its batch has been reported already. */
  #settled(event: RunningEvent): void {
    if (!this.#detached) return;
    this.#options.late(event.index, this.#unreported());
  }

  /** The next event that may run: not behind a failed or parked one. */
  #next(): RunningEvent | null {
    for (;;) {
      if (this.#halted || this.#view?.doubtful) return null;
      const event = this.#source.next();
      if (event === null) {
        this.#exhausted = true;
        return null;
      }
      // Never to be run, it stands in no line. Only where it will hold its subject does it keep its
      // place there.
      if (event.envelope !== null && (!this.#holds || event.view.subject === '')) {
        this.#refuse(event, event.envelope);
        continue;
      }
      if (this.#emits.full) {
        this.#defer(event);
        continue;
      }
      if (!this.#byKey) return event;
      const { subject } = event.view;
      // Retried records of a parked subject run; what its streams bring waits behind them.
      // Mostly there are none: the subject need not be hashed then.
      const stopped = this.#stopped.size > 0 && this.#stopped.has(subject);
      if (!stopped && (event.entry < 0 || this.#parked.size === 0 || !this.#parked.has(subject)))
        return event;
      this.#hold(event);
    }
  }

  /** Not run: it stays behind the earlier event of its subject. */
  #hold(event: RunningEvent): void {
    this.#cells.states[event.index] = CELL.BLOCKED;
    if (event.entry >= 0) this.#blocked.push(event.ref());
  }

  /**
   * The turn emits as much as it may: the event, and what is in line behind it, is for the next
   * one. No attempt was made.
   */
  #defer(event: RunningEvent): void {
    this.#hold(event);
    this.#stop(event);
  }

  /** An event failed: its subject goes no further in this batch. */
  #stop(event: RunningEvent): void {
    if (!this.#byKey) return;
    this.#stopped.add(event.view.subject);
    for (let behind = event.next; behind !== null; behind = behind.next) this.#hold(behind);
    if (event.entry < 0) this.#source.holdUnit(event.index);
  }

  async #runChains(concurrency: number): Promise<void> {
    const limit = limiterOf(this.#task.fn, this.#loaded.definition.spec.concurrency);
    const { states, starts } = this.#cells;
    const fold = this.#view;
    const handle = this.#loaded.definition.handle as NonNullable<
      LoadedFunction['definition']['handle']
    >;
    // What a view makes of an event is here until it is reported.
    const settled = fold ? CELL.CAUSED : CELL.DONE;
    // Last event in line of each subject whose runner waits: what others pull for it waits there. A
    // runner that has not had to wait is the only one that works, and its subject is not among
    // them: keeping it here would cost every event of a handler that does not wait more than
    // reading it.
    const busy = new Map<string, RunningEvent>();
    const pull = (): RunningEvent | null => {
      for (;;) {
        const event = this.#next();
        if (event === null || busy.size === 0) return event;
        const last = busy.get(event.view.subject);
        if (last === undefined) return event;
        busy.set(event.view.subject, event);
        last.next = event;
      }
    };
    // Runners pull the next subject: p-limit bounds how many work at once without a queued promise
    // per event. The next one starts when a handler has to be waited for: handlers that do not wait
    // need one runner.
    const runners: Promise<void>[] = [];
    const most = Math.min(concurrency, this.#task.events);
    const startRunner = (): void => {
      if (runners.length >= most) return;
      const one = limit(runner, null, runners.length);
      one.catch(() => undefined);
      runners.push(one);
    };
    /** This runner waits with `head`, the first of its subject here. */
    const wait = (head: RunningEvent): true => {
      if (this.#byKey) busy.set(head.view.subject, head);
      startRunner();
      return true;
    };
    const runner = async (_: unknown, slot: number): Promise<void> => {
      let ended: RunningEvent | null = null;
      let last: RunningEvent | null = null;
      this.#runners++;
      for (let first = pull(); first !== null; first = pull()) {
        let event: RunningEvent | null = first;
        let inLine = false;
        while (event !== null) {
          if (this.#emits.full) {
            this.#defer(event);
            break;
          }
          let way = this.#wayOf(event);
          if (way instanceof Promise) {
            inLine ||= wait(event);
            way = await way;
          }
          const now = monotonicMs();
          if (this.#halts(now)) break;
          event.startedMs = now;
          starts[event.index] = now;
          states[event.index] = CELL.RUNNING;
          // The clock is read once an event: this start is the end of the one before.
          if (ended !== null) this.#age(ended, now);
          ended = null;
          if (!this.#decode(event, way)) {
            this.#stop(event);
            break;
          }
          try {
            if (fold) fold.fold(event);
            else {
              const context = new EventContext(this.#shared, event);
              const result = handle(event.view, context);
              if (isThenable(result)) {
                this.#running[slot] = context;
                inLine ||= wait(event);
                await result;
              }
            }
            states[event.index] = this.#emits.settle(event) ? CELL.CAUSED : settled;
            ended = event;
          } catch (error) {
            this.#failed(event, error);
            this.#stop(event);
            break;
          } finally {
            this.#running[slot] = null;
            last = event;
          }
          event = event.next;
        }
        if (inLine) busy.delete(first.view.subject);
        if (this.#detached) break;
      }
      if (ended !== null) this.#age(ended, monotonicMs());
      this.#runners--;
      if (last !== null) this.#settled(last);
    };
    startRunner();
    // The list grows while it is gone through.
    for (const one of runners) await one;
  }

  /**
   * How its payload is to be read. Null: with the function's own schema; nothing is awaited then,
   * as for all but the first event of a schema.
   */
  #wayOf(event: RunningEvent): Way | null | Promise<Way | null> {
    const { schema, type } = event.view;
    if (schema === 0) return null;
    if (schema === this.#lastSchema && type === this.#lastType) return this.#lastWay;
    const found = this.#unknown.has(schema)
      ? UNKNOWN
      : this.#schemas.wayOf(this.#loaded.definition, type, schema);
    return found instanceof Promise
      ? found.then((way) => this.#remember(type, schema, way))
      : this.#remember(type, schema, found);
  }

  #remember(type: string, schema: number, way: Way): Way | null {
    if (way.kind === 'unknown') this.#unknown.add(schema);
    this.#lastSchema = schema;
    this.#lastType = type;
    this.#lastWay = way.kind === 'read' ? null : way;
    return this.#lastWay;
  }

  #decode(event: RunningEvent, way: Way | null): boolean {
    if (event.envelope !== null) return this.#refuse(event, event.envelope);
    try {
      if (event.timeMs >= END_OF_TIME_MS)
        throw new CorruptDataError(
          'decode',
          `its time, ${event.timeMs} ms since 1970, is beyond the year 9999`,
        );
      const { dataStart, dataEnd } = event;
      if (way === null)
        event.view.data = (event.type ?? this.#catalog.get(event.view.type)).decodeAt(
          this.#bytes,
          dataStart,
          dataEnd,
        );
      else if (way.kind === 'upcast')
        event.view.data = way.convert(this.#bytes, dataStart, dataEnd);
      else if (way.kind !== 'read') return this.#unreadable(event, way);
      return true;
    } catch (error) {
      this.#cells.states[event.index] = CELL.FAILED;
      this.#failures.push({
        ref: event.ref(),
        error: errorInfo(error),
        retryable: false,
        reason: way === null ? 'decode' : 'schema',
      });
      return false;
    }
  }

  /** Its handler is not called: its attributes are none, and it is dead. */
  #refuse(event: RunningEvent, { name, message, reason }: EnvelopeError): false {
    this.#cells.states[event.index] = CELL.FAILED;
    this.#failures.push({
      ref: event.ref(),
      error: { name, message, stack: '' },
      retryable: false,
      reason,
    });
    return false;
  }

  /** Its handler is not called: it waits for its schema, or is dead. */
  #unreadable(event: RunningEvent, way: Way): false {
    const { type, schema } = event.view;
    const message =
      way.kind === 'refused'
        ? way.why
        : `schema id ${schema} of "${type}" is not in the registry: register the schema it was written with (millrace schema register), then dlq replay`;
    this.#cells.states[event.index] = CELL.FAILED;
    const waits = way.kind === 'unknown';
    this.#failures.push({
      ref: event.ref(),
      error: { name: waits ? 'UnknownSchemaError' : 'SchemaMismatchError', message, stack: '' },
      retryable: waits,
      reason: 'schema',
      waits,
    });
    return false;
  }

  /** @param endedMs monotonic */
  #age(event: RunningEvent, endedMs: number): void {
    const age = coarse(endedMs + this.#wallAheadMs - event.timeMs);
    // Neighbours tend to be of one age: counted before they go to the map.
    if (age === this.#lastAge) this.#ageCount++;
    else {
      this.#countAge();
      this.#lastAge = age;
      this.#ageCount = 1;
    }
  }

  #countAge(): void {
    if (this.#ageCount > 0)
      this.#ages.set(this.#lastAge, (this.#ages.get(this.#lastAge) ?? 0) + this.#ageCount);
    this.#ageCount = 0;
  }

  #failed(event: RunningEvent, error: unknown): void {
    event.settled = true;
    this.#emits.drop(event);
    this.#cells.states[event.index] = CELL.FAILED;
    const final = isNonRetryable(error);
    const reason: FailureReason = isInstance(error, EmitLoopError)
      ? 'emit-loop'
      : final
        ? 'non-retryable'
        : event.timedOut
          ? 'timeout'
          : 'attempts';
    this.#failures.push({ ref: event.ref(), error: errorInfo(error), retryable: !final, reason });
  }

  /** handleBatch: `batchSize` events at a time, those of one subject in order. */
  async #runTogether(batchSize: number): Promise<void> {
    for (;;) {
      const part: RunningEvent[] = [];
      const last = new Map<string, RunningEvent>();
      let more = true;
      while (part.length < batchSize) {
        const event = this.#next();
        if (event === null) {
          more = false;
          break;
        }
        let way = this.#wayOf(event);
        if (way instanceof Promise) way = await way;
        if (!this.#decode(event, way)) {
          this.#stop(event);
          continue;
        }
        if (this.#byKey) {
          const before = last.get(event.view.subject);
          if (before) before.next = event;
          last.set(event.view.subject, event);
        }
        part.push(event);
      }
      await this.#callBatch(part);
      if (!more) return;
    }
  }

  async #callBatch(part: readonly RunningEvent[], searching = false): Promise<void> {
    // Once begun, a search for the event that throws must find it, or get another one done: else it
    // would begin anew each turn.
    const now = monotonicMs();
    if (
      part.length === 0 ||
      this.#isHalted(now) ||
      ((!searching || this.#gotOn) && this.#halts(now))
    )
      return;
    const { states, starts } = this.#cells;
    if (this.#emits.full) {
      for (const event of part) if (states[event.index] === CELL.TODO) this.#defer(event);
      return;
    }
    const context = new EventsContext(this.#shared, part, now);
    for (const event of part) {
      event.startedMs = now;
      event.timedOut = false;
      starts[event.index] = now;
      states[event.index] = CELL.RUNNING;
    }
    const first = part[0] as RunningEvent;
    this.#running[0] = {
      event: first,
      expire: () => context.expire(first.view.id),
      abort: (reason) => context.abort(reason),
    };
    let named: readonly BatchFailure[];
    try {
      const answer = await this.#loaded.definition.handleBatch?.(
        part.map((e) => e.view),
        context,
      );
      context.close();
      named = checkAnswer(answer, part);
    } catch (error) {
      context.close();
      this.#running[0] = null;
      for (const event of part) this.#emits.drop(event);
      if (part.length === 1) {
        this.#gotOn = true;
        this.#failed(first, error);
        this.#stop(first);
        return;
      }
      // An opaque throw: halve until the event that does it stands alone. What stands behind one
      // that failed is held.
      for (const event of part) states[event.index] = CELL.TODO;
      const half = part.length >> 1;
      await this.#callBatch(part.slice(0, half), true);
      await this.#callBatch(
        part.slice(half).filter((event) => states[event.index] === CELL.TODO),
        true,
      );
      return;
    }
    this.#running[0] = null;
    this.#gotOn = true;
    const endedMs = monotonicMs();
    const errors = new Map(named.map((f) => [f.id, f.error]));
    for (const event of part) {
      // Behind a failed one of its subject: it runs again after it.
      if (states[event.index] === CELL.BLOCKED) {
        event.settled = true;
        this.#emits.drop(event);
        continue;
      }
      if (errors.has(event.view.id)) {
        this.#failed(event, errors.get(event.view.id));
        this.#stop(event);
        continue;
      }
      states[event.index] = this.#emits.settle(event) ? CELL.CAUSED : CELL.DONE;
      this.#age(event, endedMs);
    }
  }
}

/** A sweep that comes later than this was held up. */
const STOOD_STILL_MS = 1000;

const UNKNOWN: Way = { kind: 'unknown' };

/** A handler that has been called and has not settled. */
interface Expiring {
  readonly event: RunningEvent;
  /** Its time is over. */
  expire(): void;
  /** What becomes of it is of no interest any more. */
  abort(reason: Error): void;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/** Ages above a second keep ten significant bits, so that a batch has few different ones. */
function coarse(ms: number): number {
  if (ms < 1024) return ms > 0 ? Math.floor(ms) : 0;
  const dropped = Math.max(0, 22 - Math.clz32(ms));
  return dropped > 20 ? 2 ** 31 : (ms >>> dropped) << dropped;
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
