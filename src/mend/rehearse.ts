/**
 * Rehearsals: the event of a dead letter runs through the function as it is in the functions folder
 * now, in a thread of its own. Nothing is written to Redis. Writes of views, emitted events, logs
 * and prints are caught and returned.
 *
 * A rehearsal cannot catch what a handler does by itself. A request that it sends, or a row that it
 * writes into another database, has happened. Only the fold of a view has no such effects.
 */
import { randomBytes } from 'node:crypto';
import { threadEnvironment } from '../config.ts';
import { groupKeyOf } from '../core/letter-fingerprint.ts';
import { CELL } from '../core/progress-cells.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { ErrorInfo, Failure, OutputPiece } from '../core/thread-protocol.ts';
import type { Deployment } from '../deployment.ts';
import { createBatch, type Batch } from '../pipeline/batch/batch.ts';
import type { DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { parkedRecordOf } from '../pipeline/dead/replay.ts';
import { RowLoader } from '../pipeline/load/load-rows.ts';
import type { BatchResult } from '../pipeline/run/batch-result.ts';
import {
  checkFunctions,
  findIn,
  THREAD_ENTRY,
  type FunctionInfo,
} from '../pipeline/run/describe-functions.ts';
import { runIsolating } from '../pipeline/run/run-isolating.ts';
import type { WorkerPool } from '../pipeline/run/worker-pool.ts';
import { WriterSchemas } from '../registry/writer-schemas.ts';
import { encodeParked } from '../wire/parked.ts';
import { plainJson } from '../wire/payload-json.ts';
import { schemaOfEvent } from '../wire/schema-of-event.ts';
import {
  rehearsedEmits,
  rehearsedRows,
  type RehearsedEmit,
  type RehearsedRow,
} from './rehearsed-effects.ts';

/**
 * - `done`: a replay would settle the event, as far as the caught effects tell
 * - `failed`: the handler failed, or its thread died
 * - `waits`: the registry does not know the event's schema
 * - `not-run`: the event cannot run at all, see `problem`
 */
export type RehearsalOutcome = 'done' | 'failed' | 'waits' | 'not-run';

export interface Rehearsal {
  /** Id of the letter. */
  readonly letter: string;
  readonly eventId: string;
  readonly type: string;
  readonly subject: string;
  /** Name and code version of the function that ran; null: none ran. */
  readonly function: string | null;
  readonly version: string | null;
  readonly outcome: RehearsalOutcome;
  /** Reason for which the event did not run. Null: it ran. */
  readonly problem: string | null;
  /** The failure. Null: there was none. */
  readonly failure: RehearsalFailure | null;
  /** Time in the thread, ms. */
  readonly durationMs: number;
  /** Rows that the view would have written. Null: the function is no view. */
  readonly rows: readonly RehearsedRow[] | null;
  /** Events that would have been emitted, at most 1,000. */
  readonly emitted: readonly RehearsedEmit[];
  /** Logs and prints of the function. */
  readonly output: readonly OutputPiece[];
  /** Pieces of output that were left out. */
  readonly outputLeftOut: number;
  /**
   * Effects of the handler outside Millrace: `happened` where it made any. They were not caught.
   * `none`: the function is a view, or did not run.
   */
  readonly externalEffects: 'happened' | 'none';
}

export interface RehearsalFailure {
  readonly reason: Failure['reason'];
  /** Whether a dispatcher would try again. */
  readonly retryable: boolean;
  readonly error: ErrorInfo;
  /** Whether the fault is that of the letter, by the fingerprint. Null: the letter has none. */
  readonly asBefore: boolean | null;
}

export interface RehearsalOptions {
  /** Opened with the event types. */
  readonly deployment: Deployment;
  readonly functionsDir: string;
  /** Names of function files to leave out. */
  readonly skipFiles?: readonly string[] | undefined;
  /** Ends the run that is under way. */
  readonly signal: AbortSignal;
}

/** Pieces of output kept of one run. */
const MOST_OUTPUT = 200;
/** Time in which a thread hands over its output, ms. */
const FLUSH_MS = 1000;
/** Time for the functions' teardown(), ms. */
const TEARDOWN_MS = 2000;

export class Rehearsals {
  readonly #options: RehearsalOptions;
  readonly #pool: WorkerPool;
  readonly #functions: readonly FunctionInfo[];
  readonly #output: OutputKept;
  /** Settles with the last run. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    options: RehearsalOptions,
    pool: WorkerPool,
    functions: readonly FunctionInfo[],
    output: OutputKept,
  ) {
    this.#options = options;
    this.#pool = pool;
    this.#functions = functions;
    this.#output = output;
  }

  /**
   * Loads the functions of the folder into a thread.
   * @throws ConfigError naming every problem of the folder, as the start of a dispatcher does
   */
  static async open(options: RehearsalOptions): Promise<Rehearsals> {
    const { deployment, functionsDir, skipFiles } = options;
    const { environment, catalog, registry, log } = deployment;
    const found = await findIn(functionsDir, skipFiles);
    if (found.files.length === 0) throw new ConfigError(found.problems);
    const schemas = await registeredSchemas(deployment);
    const writers = new WriterSchemas({
      registry,
      schemas,
      schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
      log,
    });
    const output = new OutputKept();
    // Loaded here: a command line that rehearses nothing needs no pool.
    const { WorkerPool: Pool } = await import('../pipeline/run/worker-pool.ts');
    const pool = new Pool({
      entry: THREAD_ENTRY,
      threads: 1,
      heapMb: environment.MILLRACE_THREAD_HEAP_MB ?? null,
      env: threadEnvironment(deployment.url),
      answer: writers.find,
      output: output.add,
      changedSchemas: new Map(),
      data: {
        files: found.files,
        schemas,
        protoSources: catalog.sources,
        logLevel: 'debug',
        partitions: deployment.partitions,
        channel: `millrace-rehearse-${randomBytes(8).toString('hex')}`,
        captures: true,
      },
    });
    try {
      const described = await pool.describe(environment.MILLRACE_LOAD_MS);
      return new Rehearsals(
        options,
        pool,
        checkFunctions(found.problems, described, catalog),
        output,
      );
    } catch (error) {
      await pool.close(0);
      throw error;
    }
  }

  /**
   * Runs the event of a letter, behind the runs under way. Writes nothing to Redis.
   * @throws RedisReplyError, UnknownOutcomeError: the rows of the view cannot be read
   */
  run(letter: DeadLetter): Promise<Rehearsal> {
    const run = this.#last.then(() => this.#run(letter));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #run(letter: DeadLetter): Promise<Rehearsal> {
    const info = this.#functionOf(letter);
    const problem = problemOfRun(letter, info);
    if (problem !== null || !info) return notRun(letter, problem ?? '');
    const { connection, keys } = this.#options.deployment;
    const { spec } = info;
    const unit = spec.ordering === 'none' ? letter.eventId : letter.subject;
    // The event runs as after a replay: without attempts, and by itself.
    const record = encodeParked({ ...parkedRecordOf(letter), isolate: true });
    const read = createBatch(
      spec.name,
      letter.partition,
      spec.on,
      [{ unit, records: [record], isolate: true }],
      [],
    );
    const batch = spec.view
      ? await new RowLoader(connection, keys, letter.partition, spec.name, spec.view).load(
          read,
          true,
        )
      : read;
    this.#output.clear();
    const ran = await runIsolating({
      pool: this.#pool,
      batch,
      spec,
      cancel: this.#options.signal,
    });
    await this.#pool.flushOutput(FLUSH_MS);
    if (ran.kind === 'stopped') return notRun(letter, 'the rehearsal was stopped', info);
    if (ran.kind === 'setup-failed')
      return {
        ...notRun(letter, `the function cannot be set up: ${ran.error.message}`, info),
        ...this.#output.kept,
      };
    return { ...this.#report(letter, info, batch, ran), ...this.#output.kept };
  }

  /** Runs the functions' teardown(), and ends the thread. */
  close(): Promise<void> {
    return this.#pool.close(TEARDOWN_MS);
  }

  /** Returns the letter's function, or the present version of its view. */
  #functionOf({ function: fn }: DeadLetter): FunctionInfo | undefined {
    const [view] = fn.split('@', 1);
    return (
      this.#functions.find(({ spec }) => spec.name === fn) ??
      (fn.includes('@') ? this.#functions.find(({ spec }) => spec.view?.view === view) : undefined)
    );
  }

  #report(
    letter: DeadLetter,
    { spec, version }: FunctionInfo,
    batch: Batch,
    { states, failures, effects, emitted, busyMs }: BatchResult,
  ): Omit<Rehearsal, 'output' | 'outputLeftOut'> {
    const [failure] = failures;
    const done = states[0] === CELL.DONE;
    const { catalog } = this.#options.deployment;
    return {
      ...eventOf(letter),
      function: spec.name,
      version,
      outcome: done ? 'done' : failure?.waits ? 'waits' : 'failed',
      problem: null,
      failure: failure ? failureOf(letter, spec.name, failure) : null,
      durationMs: busyMs,
      rows: spec.view ? (done ? rehearsedRows(batch, effects) : []) : null,
      emitted: rehearsedEmits(emitted, letter.partition, (type, bytes, header) => {
        const { dataOffset: at, dataLength } = header;
        return plainJson(catalog.get(type).decodeAt(bytes, at, at + dataLength));
      }),
      externalEffects: spec.view ? 'none' : 'happened',
    };
  }
}

/** The schemas under proto/, where the registry has them. Registers none. */
async function registeredSchemas({
  catalog,
  registry,
}: Deployment): Promise<ReadonlyMap<string, LocalSchema>> {
  const out = new Map<string, LocalSchema>();
  await Promise.all(
    [...catalog.types.keys()].map(async (subject) => {
      const found = await registry.find({ subject, files: catalog.filesOf(subject) });
      if (found) out.set(subject, { id: found.id, version: found.version });
    }),
  );
  return out;
}

/** Returns the reason for which the event cannot run. Null: it can. */
function problemOfRun(letter: DeadLetter, info: FunctionInfo | undefined): string | null {
  if (letter.kind !== 'event')
    return `it holds ${letter.kind === 'entry' ? 'an entry' : 'a record'} that could not be read: there is no event to run`;
  if (!info) return `no file of the functions folder defines the function "${letter.function}"`;
  if (!info.spec.on.includes(letter.type))
    return `the function "${info.spec.name}" no longer consumes "${letter.type}"`;
  return null;
}

function eventOf(letter: DeadLetter): Pick<Rehearsal, 'letter' | 'eventId' | 'type' | 'subject'> {
  const { id, eventId, type, subject } = letter;
  return { letter: id, eventId, type, subject };
}

function notRun(letter: DeadLetter, problem: string, info?: FunctionInfo): Rehearsal {
  return {
    ...eventOf(letter),
    function: info?.spec.name ?? null,
    version: info?.version ?? null,
    outcome: 'not-run',
    problem,
    failure: null,
    durationMs: 0,
    rows: null,
    emitted: [],
    output: [],
    outputLeftOut: 0,
    // A function that was being loaded, or was stopped, may have made some.
    externalEffects: info && !info.spec.view ? 'happened' : 'none',
  };
}

function failureOf(
  { type, bytes, fingerprint, function: fn }: DeadLetter,
  name: string,
  { reason, retryable, error }: Failure,
): RehearsalFailure {
  // A view of another version has another name, and the same fault.
  const schema = schemaOfEvent(bytes);
  const now = [fn, name].map((one) => groupKeyOf({ fn: one, type, schema, error }).fingerprint);
  return {
    reason,
    retryable,
    error,
    asBefore: fingerprint === '' ? null : now.includes(fingerprint),
  };
}

/** Output of the run under way. */
class OutputKept {
  #pieces: OutputPiece[] = [];
  #leftOut = 0;

  readonly add = (piece: OutputPiece): void => {
    if (this.#pieces.length < MOST_OUTPUT) this.#pieces.push(piece);
    else this.#leftOut++;
  };

  clear(): void {
    this.#pieces = [];
    this.#leftOut = 0;
  }

  get kept(): Pick<Rehearsal, 'output' | 'outputLeftOut'> {
    return { output: this.#pieces, outputLeftOut: this.#leftOut };
  }
}
