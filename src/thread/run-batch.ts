/**
 * Runs one batch in a pool thread: checks the checksum, decodes the events, and calls the handlers.
 * Subjects run side by side, the events of one subject in order.
 *
 * Rules:
 * - Events of one subject run one after the other. After a failure, the later ones are BLOCKED and
 *   not run.
 * - A retried unit stops at its first failure. The records behind it stay in the parked list.
 * - An entry whose checksum or framing is wrong is dead as a whole. The other entries go on.
 * - Nothing starts when the turn is over or the dispatcher says so (control). An event that is not
 *   started stays TODO.
 * - Every event's state is in the shared cells before and after its handler, so that the state
 *   survives the thread.
 * - A batch of which only slow handlers are left is reported without them. The events behind them
 *   are BLOCKED. Each slow one is reported by itself when it has settled.
 *
 * Parts: batch-source.ts reads the events, subject-order.ts decides which event may run,
 * payload-decoder.ts decodes it. subject-chains.ts or batch-calls.ts call the handler,
 * running-handlers.ts watches the slow ones, outcomes.ts keeps the outcomes until the report.
 */
import type { Logger } from 'pino';
import type { BatchReport, BatchTask } from '../core/thread-protocol.ts';
import { monotonicMs } from '../core/clock.ts';
import { openCells, type ProgressCells } from '../core/progress-cells.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import type { Tracing } from '../core/tracing.ts';
import type { Catalog } from '../wire/catalog.ts';
import { BatchCalls } from './batch-calls.ts';
import { BatchTrace } from './batch-trace.ts';
import { BatchSource } from './batch-source.ts';
import { Emits } from './emits.ts';
import type { EntryChecks } from './entry-checks.ts';
import type { ContextShared } from './function-context.ts';
import type { LoadedFunction } from './load-functions.ts';
import { Outcomes } from './outcomes.ts';
import { PayloadDecoder } from './payload-decoder.ts';
import type { PayloadWays } from './payload-ways.ts';
import type { RunningEvent } from './running-event.ts';
import { RunningHandlers } from './running-handlers.ts';
import { StartGate } from './start-gate.ts';
import { SubjectChains, type CallParts } from './subject-chains.ts';
import { SubjectOrder } from './subject-order.ts';
import { ViewRun, type FoldWay } from './view-run.ts';

/** Parts that a thread has for all batches. */
export interface ThreadParts {
  readonly catalog: Catalog;
  readonly payloadWays: PayloadWays;
  readonly logger: Logger;
  /** Null: OpenTelemetry's API is not installed. */
  readonly tracing: Tracing | null;
  /** Number of partitions of the deployment. */
  readonly partitions: number;
  /** Schemas of the types, as the registry has them. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
  /** Checks of the message with which the batch came. */
  readonly checks: EntryChecks;
}

export interface RunOptions {
  /** Most events that run at the same time. */
  readonly concurrency: number;
  /**
   * Age of handlers, ms. When only older handlers are left, they go on after the report. Infinity:
   * never.
   */
  readonly detachMs: number;
  /** Length of a turn after which nothing further starts, ms. Infinity: no bound. */
  readonly turnMs: number;
  /** Returns the end of this turn, by monotonicMs(). */
  readonly endsMs: () => number;
  /** Receives the outcome of each handler that went on after the report, by its event's index. */
  readonly late: (index: number, report: BatchReport) => void;
}

/**
 * Runs one pass for a function. A view's first pass is hopeful. If that pass is in doubt, its
 * results are discarded, and a second pass runs the batch carefully, with a turn of its own.
 */
export async function runBatch(
  task: BatchTask,
  loaded: LoadedFunction,
  parts: ThreadParts,
  options: RunOptions,
): Promise<BatchReport> {
  const startedMs = monotonicMs();
  const { states } = openCells(task.cells);
  // Effects are in shared memory, so the report gets a copy.
  const before = loaded.definition.view ? Uint8Array.from(states) : states;
  let pass = new BatchPass({ task, loaded, parts, options, foldWay: 'hopeful' });
  if ((await pass.run()) === 'in doubt') {
    states.set(before);
    const again = { ...options, endsMs: () => monotonicMs() + options.turnMs };
    pass = new BatchPass({ task, loaded, parts, options: again, foldWay: 'careful' });
    await pass.run();
  }
  return pass.report(monotonicMs() - startedMs);
}

interface PassSetup {
  readonly task: BatchTask;
  readonly loaded: LoadedFunction;
  readonly parts: ThreadParts;
  readonly options: RunOptions;
  /** Way of folding, for a view. */
  readonly foldWay: FoldWay;
}

/** One pass over a batch's events. */
class BatchPass {
  readonly #setup: PassSetup;
  readonly #cells: ProgressCells;
  readonly #bytes: Buffer;
  readonly #source: BatchSource;
  readonly #emits: Emits;
  /** Spans of the pass. Null: no SDK is registered in the thread. */
  readonly #trace: BatchTrace | null;
  readonly #shared: ContextShared;
  readonly #outcomes: Outcomes;
  /** Fold of a view; null: the function is no view. */
  readonly #view: ViewRun | null;
  readonly #gate: StartGate;
  readonly #decoder: PayloadDecoder;
  readonly #order: SubjectOrder;
  readonly #handlers: RunningHandlers;

  constructor(setup: PassSetup) {
    const { task, loaded, parts, options } = setup;
    const { catalog, payloadWays } = parts;
    const { definition } = loaded;
    this.#setup = setup;
    this.#cells = openCells(task.cells);
    this.#bytes = Buffer.from(task.buffer);
    this.#source = new BatchSource(task, this.#bytes, this.#cells.states, parts);
    const tracer = parts.tracing && parts.tracing.tracer();
    this.#trace = tracer && new BatchTrace(tracer, task);
    this.#emits = emitsOf(task, parts, this.#trace);
    this.#shared = {
      functionName: task.fn,
      timeoutMs: definition.spec.timeoutMs,
      logger: parts.logger,
      resources: loaded.resources,
      emits: this.#emits,
      trace: this.#trace,
    };
    this.#outcomes = new Outcomes(this.#cells.states, this.#emits);
    this.#view = viewRunOf(setup, this.#bytes);
    this.#gate = new StartGate(this.#cells.control, options.endsMs());
    this.#decoder = new PayloadDecoder({
      catalog,
      payloadWays,
      reader: definition,
      bytes: this.#bytes,
      outcomes: this.#outcomes,
    });
    this.#order = new SubjectOrder({
      task,
      spec: definition.spec,
      source: this.#source,
      gate: this.#gate,
      emits: this.#emits,
      outcomes: this.#outcomes,
      decoder: this.#decoder,
      view: this.#view,
    });
    this.#handlers = new RunningHandlers({
      partition: task.partition,
      shared: this.#shared,
      cells: this.#cells,
      gate: this.#gate,
      order: this.#order,
      detachMs: options.detachMs,
    });
  }

  /**
   * Resolves when all events are done, or when the batch may be reported while handlers still run.
   * 'In doubt': no result of a view's pass may be used.
   */
  async run(): Promise<'usable' | 'in doubt'> {
    const all = this.#all();
    if (this.#setup.options.detachMs === Infinity) await all;
    else {
      await Promise.race([all, this.#handlers.whenLeft()]);
      // Runners can only fail before that: nothing is started any more.
      if (this.#handlers.left) all.catch(() => undefined);
    }
    return this.#view === null || this.#view.finish() ? 'usable' : 'in doubt';
  }

  async #all(): Promise<void> {
    const { task, loaded, options } = this.#setup;
    const { definition } = loaded;
    const { spec } = definition;
    const call: CallParts = {
      definition,
      cells: this.#cells,
      shared: this.#shared,
      emits: this.#emits,
      trace: this.#trace,
      outcomes: this.#outcomes,
      gate: this.#gate,
      decoder: this.#decoder,
      order: this.#order,
      handlers: this.#handlers,
    };
    const calls = spec.batch
      ? new BatchCalls(call)
      : new SubjectChains(call, {
          view: this.#view,
          most: Math.min(spec.concurrency, options.concurrency, task.events),
          onRunnerEnd: this.#runnerEnded,
        });
    try {
      await this.#handlers.watch(() => calls.run());
    } finally {
      this.#emits.close();
    }
  }

  /** Where the batch has been reported already, the outcome of the last handler is reported now. */
  readonly #runnerEnded = (last: RunningEvent): void => {
    if (this.#handlers.left) this.#setup.options.late(last.index, this.#outcomes.take());
  };

  report(busyMs: number): BatchReport {
    const running = this.#handlers.left?.map((event) => event.ref());
    const { failures, blocked, ages, emitted } = this.#outcomes.take();
    const traces = this.#trace?.report() ?? undefined;
    return {
      kind: 'report',
      failures,
      blocked,
      deadEntries: this.#source.deadEntries,
      effects: this.#view?.pack() ?? null,
      ages,
      busyMs,
      emitted,
      running,
      traces,
    };
  }
}

function emitsOf(
  { fn, partition }: BatchTask,
  { catalog, partitions, schemas }: ThreadParts,
  trace: BatchTrace | null,
): Emits {
  return new Emits({ fn, partition, partitions, catalog, schemas, trace });
}

function viewRunOf({ task, loaded, foldWay }: PassSetup, bytes: Buffer): ViewRun | null {
  const code = loaded.definition.view;
  const { rows } = task;
  if (!code || !rows) return null;
  return new ViewRun(task.fn, code, foldWay, {
    stored: bytes.subarray(rows.offset, rows.offset + rows.length),
    added: rows.added,
    caused: task.caused,
  });
}
