/**
 * The dispatcher runs the functions of a folder. This file is wiring without logic of its own: it
 * builds the parts, and starts and stops them in order.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { InspectOptions } from 'node:util';
import { ANSWER_SECONDS, Distribution } from './core/distribution.ts';
import { ClosedError } from './core/errors/append-errors.ts';
import { FailureBursts } from './core/failure-bursts.ts';
import { ConfigError } from './core/errors/input-errors.ts';
import type { MillraceError } from './core/errors/millrace-error.ts';
import { sharedAbort } from './core/shared-signal.ts';
import { INSPECT, shown } from './core/shown.ts';
import type { ViewFold } from './core/view-fold.ts';
import { warnOfServer, type Deployment } from './deployment.ts';
import type { DispatcherOptions } from './dispatcher/dispatcher-options.ts';
import { Drain } from './dispatcher/drain.ts';
import { HealthLog } from './dispatcher/health-log.ts';
import { readHealth, type DispatcherPhase, type HealthReport } from './dispatcher/health.ts';
import { createParts, type Parts, type PartsOptions } from './dispatcher/parts.ts';
import { RedisTroubles } from './dispatcher/redis-troubles.ts';
import { Registration } from './dispatcher/registration.ts';
import { createViewFolds } from './dispatcher/view-folds.ts';
import { WriteWait } from './dispatcher/write-wait.ts';
import { FailureLog } from './pipeline/lane/failure-log.ts';
import type { Lane } from './pipeline/lane/lane.ts';
import { checkFunctions, findIn, type FunctionInfo } from './pipeline/run/describe-functions.ts';
import type { WorkerPool } from './pipeline/run/worker-pool.ts';
import type { RedisConnection } from './redis/contract.ts';

/** Longest time for the threads to end by themselves, ms. */
const CLOSE_POOL_MS = 5000;

export class Dispatcher {
  /** Names this process in leases and dead letters. */
  readonly id = `${hostname().replaceAll(':', '_').slice(0, 60)}-${process.pid}-${randomBytes(4).toString('hex')}`;
  readonly #options: DispatcherOptions;
  readonly #deployment: Deployment;
  readonly #stopping = sharedAbort();
  readonly #drain = new Drain(() => this.#lanes);
  readonly #bursts: FailureBursts;
  readonly #failures: FailureLog;
  /** Seconds that its threads have waited for schemas. */
  readonly schemaWaits = new Distribution(ANSWER_SECONDS);
  readonly #writes: WriteWait;
  readonly #troubles = new RedisTroubles();
  readonly #healthLog: HealthLog;
  #phase: DispatcherPhase = 'starting';
  #functions: readonly FunctionInfo[] = [];
  #pool: WorkerPool | null = null;
  #viewFolds: readonly ViewFold[] = [];
  #parts: Parts | null = null;
  #connection: RedisConnection | null = null;
  #uncaught = 0;
  #repeats = 0;
  #stopped: Promise<void> | null = null;
  #failure: MillraceError | null = null;
  #fail!: (error: MillraceError) => void;
  /**
   * Resolves when the dispatcher has stopped itself, with the reason: the deployment's settings
   * have changed since the start.
   */
  readonly failed: Promise<MillraceError> = new Promise((resolve) => (this.#fail = resolve));
  #end!: () => void;
  /** Resolves when the dispatcher has stopped. */
  readonly ended: Promise<void> = new Promise((resolve) => (this.#end = resolve));

  constructor(options: DispatcherOptions) {
    const { deployment } = options;
    const { connection, log } = deployment;
    this.#options = options;
    this.#deployment = deployment;
    this.#bursts = new FailureBursts({ log });
    this.#failures = new FailureLog(log, this.#bursts);
    this.#healthLog = new HealthLog({ health: () => this.health(), log });
    this.#writes = new WriteWait({
      connection,
      signal: this.#stopping.signal,
      waiting: options.waiting ?? ((message) => log('warn', message)),
    });
  }

  get functions(): readonly FunctionInfo[] {
    return this.#functions;
  }
  /** Its views, to be folded in its pool without their lanes. Empty until they are loaded. */
  get viewFolds(): readonly ViewFold[] {
    return this.#viewFolds;
  }
  get lanesOwned(): number {
    return this.#lanes.length;
  }
  /** Lanes of its share that others still hold: they give them back as their turns end. */
  get lanesToCome(): number {
    return this.#parts?.keeper.reportShare().missing ?? 0;
  }
  /** Whether it has stopped itself. */
  get isFailed(): boolean {
    return this.#failure !== null;
  }
  get threadDeaths(): number {
    return this.#pool?.deaths ?? 0;
  }
  /** Uncaught errors, and calls of process.exit, in its threads. Each has ended a thread. */
  get uncaughtErrors(): number {
    return this.#uncaught;
  }
  /** Leases lost while their lanes ran: this process stalled, or was cut off from Redis. */
  get leaseLosses(): number {
    return this.#parts?.keeper.losses ?? 0;
  }
  /**
   * Events that were done here and run again all the same. Their lane was lost, or their commit
   * failed.
   */
  get repeats(): number {
    return this.#repeats;
  }
  /** Handlers that were cut off by the end of a drain: their events run again. */
  get cutOff(): number {
    return this.#drain.handlersCut;
  }
  /** Threads of its pool. */
  get threads(): number {
    return this.#pool?.threads ?? 0;
  }
  /** Threads that have a batch. */
  get busyThreads(): number {
    return this.#pool?.busy ?? 0;
  }
  /** Batches that wait for a thread. */
  get queuedBatches(): number {
    return this.#pool?.queued ?? 0;
  }

  /** For logs. */
  toJSON(): Record<string, unknown> {
    return { id: this.id, functions: this.#names, lanes: this.lanesOwned };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('Dispatcher', this.toJSON(), options, inspect);
  }

  /**
   * Loads the functions, registers them, starts the lanes. Resolves when all free lanes of its
   * share run. Lanes of its share that others hold follow as they are given back.
   *
   * @throws ConfigError naming every problem: files that do not compile or export no function,
   *   unknown types in `on`, duplicate names; ClosedError when it is stopped meanwhile
   */
  async start(): Promise<void> {
    const { environment, keys, partitions, log } = this.#deployment;
    const { functionsDir, skipFiles, beforeLanes } = this.#options;
    const { files, problems } = await findIn(functionsDir, skipFiles);
    if (files.length === 0) throw new ConfigError(problems);
    // Loaded here: a process that only publishes needs no threads.
    const { createPool } = await import('./dispatcher/create-pool.ts');
    // A stop() until now found no pool to close.
    this.#throwIfStopping();
    const pool = createPool({
      deployment: this.#deployment,
      files,
      dispatcher: this.id,
      bursts: this.#bursts,
      uncaught: () => this.#uncaught++,
      schemaWaits: this.schemaWaits,
    });
    this.#pool = pool;
    try {
      await this.#describe(pool, problems);
      this.#throwIfStopping();
      const connection = this.#deployment.connect('dispatcher');
      this.#connection = connection;
      this.#viewFolds = this.#createViewFolds({ connection, pool });
      const registration = new Registration({
        connection,
        keys,
        partitions,
        writes: this.#writes,
        stopping: this.#stopping.signal,
        log,
      });
      const specs = this.#functions.map(({ spec }) => spec);
      await registration.registerAll(specs, async () => beforeLanes?.(this.#viewFolds));
      this.#throwIfStopping();
      const parts = this.#createParts({ connection, pool, registration });
      this.#parts = parts;
      await this.#writes.step('to take the lanes', () => parts.keeper.start());
      this.#throwIfStopping();
      parts.doorbells.start();
      parts.upkeep.start();
      parts.scheduler.start();
      parts.relay.start();
      parts.watch.start();
      parts.presence.start();
      this.#phase = 'running';
      this.#healthLog.start();
    } catch (error) {
      await this.stop(0);
      throw error;
    }
    warnOfServer(this.#deployment);
    log('info', 'dispatcher started', {
      dispatcher: this.id,
      workers: environment.WORKERS,
      partitions,
      lanes: this.lanesOwned,
      functions: this.#names,
    });
  }

  /**
   * Drains: starts no further event, commits what is done, gives the leases back. Handlers that run
   * have time until the deadline; see Drain. Idempotent.
   *
   * @param deadlineMs default: MILLRACE_DRAIN_MS
   */
  stop(deadlineMs: number = this.#deployment.environment.MILLRACE_DRAIN_MS): Promise<void> {
    this.#stopped ??= this.#stop(deadlineMs);
    return this.#stopped;
  }

  /** Ends a drain at once. See Drain. */
  abort(): void {
    this.#drain.cutOff();
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#stopping.abort();
    this.#phase = 'stopping';
    const parts = this.#parts;
    const services = [
      this.#healthLog.stop(),
      parts?.upkeep.stop(),
      parts?.scheduler.stop(),
      parts?.watch.stop(),
      parts?.presence.stop(),
    ];
    // Lanes halt before anything is waited for.
    const lanes = parts?.keeper.stop();
    this.#drain.cutOffIn(deadlineMs);
    await lanes;
    this.#drain.over();
    await Promise.all(services);
    // The relay ends after the lanes, so that the events that their last turns emitted to other
    // partitions may still leave.
    await parts?.relay.stop();
    await parts?.doorbells.stop();
    await this.#pool?.close(this.#drain.signal.aborted ? 0 : Math.min(CLOSE_POOL_MS, deadlineMs));
    this.#bursts.close();
    await this.#connection?.close();
    this.#end();
  }

  /** @throws ClosedError */
  #throwIfStopping(): void {
    if (this.#stopping.signal.aborted) throw new ClosedError('the dispatcher');
  }

  /** See readHealth(). */
  health(): HealthReport {
    return readHealth({
      deployment: this.#deployment,
      functions: this.#functions,
      parts: this.#parts,
      phase: this.#phase,
      failure: this.#failure,
      waitsFor: this.#writes.reason,
      troubles: this.#troubles,
    });
  }

  get #lanes(): Lane[] {
    return [...(this.#parts?.keeper.lanes.values() ?? [])];
  }

  get #names(): string[] {
    return this.#functions.map(({ spec }) => spec.name);
  }

  /** Asks the threads for the functions. @throws ConfigError */
  async #describe(pool: WorkerPool, problems: readonly string[]): Promise<void> {
    const { environment, catalog } = this.#deployment;
    const described = await pool.describe(environment.MILLRACE_LOAD_MS);
    const found = checkFunctions(problems, described, catalog);
    this.#functions = [...(this.#options.choose?.(found) ?? found)];
  }

  #createViewFolds(opened: Pick<PartsOptions, 'connection' | 'pool'>): ViewFold[] {
    return createViewFolds({
      ...opened,
      deployment: this.#deployment,
      functions: this.#functions,
      owner: this.id,
      cancel: this.#drain.signal,
    });
  }

  #createParts(opened: Pick<PartsOptions, 'connection' | 'pool' | 'registration'>): Parts {
    const { onTurn, aroundStages = (stages) => stages } = this.#options;
    return createParts({
      ...opened,
      deployment: this.#deployment,
      functions: this.#functions,
      dispatcher: this.id,
      failures: this.#failures,
      cancelRuns: this.#drain.signal,
      turnDone: (turn) => onTurn?.(turn),
      repeats: (events) => (this.#repeats += events),
      aroundStages,
      settingsChanged: (error) => this.#settingsChanged(error),
    });
  }

  /** Stops the dispatcher: the settings have changed since its start. */
  #settingsChanged(error: MillraceError): void {
    this.#failure = error;
    this.#deployment.log('error', 'SETTINGS CHANGED: this dispatcher reads nothing more', {
      err: error,
    });
    void this.stop().then(() => this.#fail(error));
  }
}
