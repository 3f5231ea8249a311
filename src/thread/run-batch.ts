/**
 * Runs one batch in a pool thread: checksum, take apart, decode, subjects in order and side by
 * side, outcomes out.
 *
 * Rules it keeps:
 * - events of one subject run one after the other; after a failure its later ones are BLOCKED, not
 *   run
 * - a retried unit stops at its first failure; the records behind stay in its parked list
 * - an entry whose checksum or framing is wrong is dead as a whole, the other entries go on
 * - nothing starts when its turn is over or the dispatcher says so (control): an event that is not
 *   started stays TODO
 * - every event's state is in the shared cells before and after its handler, so that it survives
 *   the thread
 * - a batch of which only slow handlers are left is reported without them; the events behind them
 *   are BLOCKED, and each slow one is reported by itself when it has settled
 *
 * The parts: batch-source.ts reads the events, subject-order.ts says which one may run,
 * payload-decoder.ts decodes it, subject-chains.ts or batch-calls.ts call the handler,
 * running-handlers.ts looks after the slow ones, outcomes.ts keeps the outcomes until the report.
 */
import type { Logger } from 'pino';
import type { BatchReport, BatchTask } from '../core/thread-protocol.ts';
import { monotonicMs } from '../core/clock.ts';
import { openCells, type ProgressCells } from '../core/progress-cells.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import type { Catalog } from '../wire/catalog.ts';
import { BatchCalls } from './batch-calls.ts';
import { BatchSource } from './batch-source.ts';
import { Emits } from './emits.ts';
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

/** What a thread has for all batches. */
export interface ThreadParts {
  readonly catalog: Catalog;
  readonly payloadWays: PayloadWays;
  readonly logger: Logger;
  /** P of the deployment. */
  readonly partitions: number;
  /** The types' schemas, as the registry has them. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
}

export interface RunOptions {
  /** Most events at the same time. */
  readonly concurrency: number;
  /**
   * When only handlers of this age, in ms, are left, they go on behind the report. Infinity:
   * never.
   */
  readonly detachMs: number;
  /** A turn of this length, in ms, starts nothing further. Infinity: no bound. */
  readonly turnMs: number;
  /** End of this turn, by monotonicMs(). */
  readonly endsMs: () => number;
  /** Told the outcome of each handler that went on, by its event's index. */
  readonly late: (index: number, report: BatchReport) => void;
}

/**
 * One pass for a function. A view's first pass is hopeful; if it is in doubt, all of it is thrown
 * away, and a second pass runs the batch carefully, with a turn of its own.
 */
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
  /** Of a view. */
  readonly foldWay: FoldWay;
}

/** One pass over a batch's events. */
class BatchPass {
  readonly #setup: PassSetup;
  readonly #cells: ProgressCells;
  readonly #bytes: Buffer;
  readonly #source: BatchSource;
  readonly #emits: Emits;
  readonly #shared: ContextShared;
  readonly #outcomes: Outcomes;
  /** Null: the function is no view. */
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
    this.#source = new BatchSource(task, this.#bytes, this.#cells.states, catalog);
    this.#emits = emitsOf(task, parts);
    this.#shared = {
      functionName: task.fn,
      timeoutMs: definition.spec.timeoutMs,
      logger: parts.logger,
      resources: loaded.resources,
      emits: this.#emits,
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
   * Resolves when all is done, or may be reported while handlers still run. In doubt: nothing of a
   * view's pass may be used.
   */
  async run(): Promise<'usable' | 'in doubt'> {
    const all = this.#all();
    if (this.#setup.options.detachMs === Infinity) await all;
    else {
      await Promise.race([all, this.#handlers.whenLeft()]);
      // It can only fail before: nothing is started any more.
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
      outcomes: this.#outcomes,
      gate: this.#gate,
      decoder: this.#decoder,
      order: this.#order,
      handlers: this.#handlers,
    };
    const calls = spec.batch
      ? new BatchCalls(call)
      : new SubjectChains({
          ...call,
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

  /** Where the batch has been reported already, the outcome of the last handler is told now. */
  readonly #runnerEnded = (last: RunningEvent): void => {
    if (this.#handlers.left) this.#setup.options.late(last.index, this.#outcomes.take());
  };

  report(busyMs: number): BatchReport {
    const running = this.#handlers.left?.map((event) => event.ref());
    return {
      ...this.#outcomes.take(),
      deadEntries: this.#source.deadEntries,
      effects: this.#view?.pack() ?? null,
      busyMs,
      ...(running ? { running } : {}),
    };
  }
}

function emitsOf({ fn, partition }: BatchTask, parts: ThreadParts): Emits {
  const { catalog, partitions, schemas } = parts;
  return new Emits({ fn, partition, partitions, catalog, schemas });
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
