/**
 * The wiring: builds the parts, hands them to each other, starts and stops them in order. No logic
 * of its own.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { InspectOptions } from 'node:util';
import { sharedAbort } from './core/shared-signal.ts';
import { sleep } from './core/clock.ts';
import {
  ClosedError,
  ConfigError,
  SettingsChangedError,
  type MillraceError,
  type RedisReplyError,
} from './core/errors.ts';
import type { UncaughtError } from './core/thread-protocol.ts';
import { OWNER, type FunctionFile, type FunctionSpec } from './core/function-spec.ts';
import { INSPECT, shown } from './core/shown.ts';
import { threadEnvironment } from './config.ts';
import {
  checkFunctions,
  findIn,
  THREAD_ENTRY,
  type FunctionInfo,
} from './pipeline/run/describe-functions.ts';
import { judgeHealth, type HealthReport } from './dispatcher/health.ts';
import { Registration } from './dispatcher/registration.ts';
import { warnOfServer, type Deployment } from './deployment.ts';
import { FairShare } from './pipeline/batch/fair-share.ts';
import { FailureLog } from './pipeline/lane/failure-log.ts';
import { Lane } from './pipeline/lane/lane.ts';
import { createStages, type LaneStages, type TurnDone } from './pipeline/lane/lane-stages.ts';
import { parkedForMs } from './pipeline/lane/in-flight.ts';
import { LaneKeeper, type AcquiredLane } from './pipeline/ownership/lane-keeper.ts';
import { Doorbell } from './pipeline/read/doorbell.ts';
import { WorkerPool } from './pipeline/run/worker-pool.ts';
import { WriterSchemas } from './registry/writer-schemas.ts';
import type { RedisConnection } from './redis/contract.ts';
import { describeRefusal, untilWritten } from './redis/refused-writes.ts';
import { Relay } from './outbox/relay.ts';
import { Scheduler } from './upkeep/scheduler.ts';
import { Upkeep } from './upkeep/upkeep.ts';
import { createViewFold } from './pipeline/lane/view-fold.ts';
import { registerGenerations } from './views/generations.ts';
import type { ViewFold } from './views/history-pass.ts';

export interface DispatcherOptions {
  readonly deployment: Deployment;
  /** Folder of the function files. */
  readonly functionsDir: string;
  /** Told of every turn that did something. */
  readonly onTurn?: (turn: TurnDone) => void;
  /** Function files to leave out, by name. */
  readonly skipFiles?: readonly string[];
  /** For fault injection: gets between a lane and its stages, once when the lane is opened. */
  readonly aroundStages?: (
    stages: LaneStages,
    lane: { readonly fn: string; readonly partition: number; readonly leaseValue: string },
  ) => LaneStages;
  /**
   * Before any lane is registered or started: what is to happen to views first. @throws what
   * start() then throws
   */
  readonly beforeLanes?: (views: readonly ViewFold[]) => Promise<void>;
  /**
   * Told, at once and every 30 s, what start() waits for: Redis takes no writes. Default: a warning
   * in the log.
   */
  readonly waiting?: (message: string) => void;
  /**
   * Functions to run, of those found; default all. Given what it found, returns what is to run.
   * @throws what start() then throws
   */
  readonly choose?: (found: readonly FunctionInfo[]) => readonly FunctionInfo[];
}

/**
 * Turns under way: enough that lanes with little to do read, run and commit together, in few
 * messages and system calls.
 */
const slotsFor = (threads: number): number => Math.max(32, threads * 4);
const DOORBELL_BLOCK_MS = 1000;
const POLL_MS = 5000;
const BATCH_MS = 100;
/** When a drain is over: to commit what is done. */
const COMMIT_MS = 2000;
const SETTINGS_MS = 1000;

export class Dispatcher {
  /** Names this process in leases and dead letters. */
  readonly id = `${hostname().replaceAll(':', '_').slice(0, 60)}-${process.pid}-${randomBytes(4).toString('hex')}`;
  readonly #options: DispatcherOptions;
  readonly #deployment: Deployment;
  readonly #stopping = sharedAbort();
  readonly #cancelRuns = sharedAbort();
  readonly #failures: FailureLog;
  #functions: FunctionInfo[] = [];
  #pool: WorkerPool | null = null;
  #share: FairShare | null = null;
  /** One for all partitions; in a Cluster one each, because a blocking read stays in one slot. */
  #doorbells: Doorbell[] = [];
  #connection: RedisConnection | null = null;
  #registration: Registration | null = null;
  #keeper: LaneKeeper<Lane> | null = null;
  #upkeep: Upkeep | null = null;
  #scheduler: Scheduler | null = null;
  #relay: Relay | null = null;
  #uncaught = 0;
  #started = false;
  #repeats = 0;
  #cutOff = 0;
  #timers: NodeJS.Timeout[] = [];
  #stopped: Promise<void> | null = null;
  #waitingFor: string | null = null;
  #watch: Promise<void> | null = null;
  /** What the keeper was refused, told whole. */
  #refusal: { readonly error: RedisReplyError; readonly text: string } | null = null;
  #failure: MillraceError | null = null;
  #fail!: (error: MillraceError) => void;
  /**
   * Resolves when it has stopped itself, with why: the deployment is not the one any more that it
   * was started for.
   */
  readonly failed: Promise<MillraceError> = new Promise((resolve) => (this.#fail = resolve));

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#deployment = options.deployment;
    this.#failures = new FailureLog({ log: options.deployment.log });
  }

  get functions(): readonly FunctionInfo[] {
    return this.#functions;
  }
  get lanesOwned(): number {
    return this.#keeper?.lanes.size ?? 0;
  }
  /** Lanes that are its share and that others hold yet: they give them back as their turns end. */
  get lanesToCome(): number {
    return this.#keeper?.share.missing ?? 0;
  }
  get threadDeaths(): number {
    return this.#pool?.deaths ?? 0;
  }
  /** Errors that nobody handled, and calls of process.exit, in its threads: each has ended one. */
  get uncaughtErrors(): number {
    return this.#uncaught;
  }
  /** Lanes that were taken away while they ran: this process stalled, or was cut off. */
  get leaseLosses(): number {
    return this.#keeper?.losses ?? 0;
  }
  /**
   * Events that were done here and run again all the same: their lane was lost, or they could not
   * be committed.
   */
  get repeats(): number {
    return this.#repeats;
  }
  /** Handlers that were cut off by the end of a drain: their events run again. */
  get cutOff(): number {
    return this.#cutOff;
  }
  /** Batches that wait for a thread. */
  get queuedBatches(): number {
    return this.#pool?.queued ?? 0;
  }

  /** For logs. */
  toJSON(): Record<string, unknown> {
    return {
      id: this.id,
      functions: this.#functions.map(({ spec }) => spec.name),
      lanes: this.lanesOwned,
    };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('Dispatcher', this.toJSON(), options, inspect);
  }

  /** Its views, to be folded in its pool without their lanes. Once start() has loaded them. */
  get viewFolds(): ViewFold[] {
    const { keys, environment, log } = this.#deployment;
    const connection = this.#connection as RedisConnection;
    const pool = this.#pool as WorkerPool;
    return this.#functions
      .filter(({ spec }) => spec.view)
      .map((info) =>
        createViewFold({
          keys,
          log,
          limits: {
            leaseTtlMs: environment.MILLRACE_LEASE_MS,
            maxEvents: environment.MILLRACE_BATCH_EVENTS,
            maxBytes: environment.MILLRACE_BATCH_BYTES,
            threads: environment.WORKERS,
            schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
          },
          connection,
          pool,
          info,
          owner: this.id,
          cancel: this.#cancelRuns.signal,
        }),
      );
  }

  /**
   * Loads the functions, registers them, starts the lanes. Resolves when the lanes that are its
   * share and that nobody holds are running; others follow as they are given back.
   *
   * @throws ConfigError naming every problem: files that do not compile or export no function,
   *   unknown types in `on`, duplicate names
   */
  async start(): Promise<void> {
    const { environment, catalog, log } = this.#deployment;
    const { files, problems } = await findIn(this.#options.functionsDir, this.#options.skipFiles);
    if (files.length === 0) throw new ConfigError(problems);
    const pool = this.#createPool(files);
    this.#pool = pool;
    try {
      const described = await pool.describe(environment.MILLRACE_LOAD_MS);
      const found = checkFunctions(problems, described, catalog);
      this.#functions = [...(this.#options.choose?.(found) ?? found)];
      this.#throwIfStopping();
      const connection = this.#deployment.connect('dispatcher');
      this.#connection = connection;
      await this.#registerAll(connection);
      this.#throwIfStopping();
      await this.#openLanes(connection);
      // Else the services would start behind the stop, which has stopped all that was there.
      this.#throwIfStopping();
      this.#startServices(connection);
      this.#watch = this.#watchSettings();
      this.#started = true;
    } catch (error) {
      await this.stop(0);
      throw error;
    }
    warnOfServer(this.#deployment);
    log('info', 'dispatcher started', {
      dispatcher: this.id,
      workers: environment.WORKERS,
      partitions: this.#deployment.partitions,
      lanes: this.lanesOwned,
      functions: this.#functions.map((f) => f.spec.name),
    });
  }

  #createPool(files: readonly FunctionFile[]): WorkerPool {
    const { environment, catalog, registry, schemas, changedSchemas, log } = this.#deployment;
    const writers = new WriterSchemas({
      registry,
      schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
      log,
    });
    return new WorkerPool({
      entry: THREAD_ENTRY,
      threads: environment.WORKERS,
      heapMb: environment.MILLRACE_THREAD_HEAP_MB ?? null,
      env: threadEnvironment(this.#deployment.url),
      answer: writers.find,
      changedSchemas,
      uncaught: (error) => this.#sayUncaught(error),
      data: {
        files,
        schemas,
        protoSources: catalog.sources,
        logLevel: environment.LOG_LEVEL,
        partitions: this.#deployment.partitions,
        channel: `millrace-${this.id}`,
      },
    });
  }

  /** Makes the views and functions known in every partition. */
  async #registerAll(connection: RedisConnection): Promise<void> {
    const { keys, partitions, log } = this.#deployment;
    const specs = this.#functions.map(({ spec }) => spec);
    const { signal: stopping } = this.#stopping;
    const registration = new Registration({ connection, keys, partitions, stopping, log });
    this.#registration = registration;
    await this.#written('to register views', () => registerGenerations(this.#deployment, specs));
    await this.#options.beforeLanes?.(this.viewFolds);
    for (const spec of specs) {
      for (let partition = 0; partition < partitions; partition++) {
        this.#throwIfStopping();
        await this.#written('to register functions', () => registration.register(spec, partition));
      }
    }
  }

  /** @throws ClosedError */
  #throwIfStopping(): void {
    if (this.#stopping.signal.aborted) throw new ClosedError('the dispatcher');
  }

  /** Resolves when the lanes that are its share and that nobody holds run. */
  async #openLanes(connection: RedisConnection): Promise<void> {
    const { environment, partitions, log } = this.#deployment;
    const share = new FairShare({
      slots: slotsFor(environment.WORKERS),
      slowLimit: Math.max(1, environment.WORKERS - 1),
    });
    for (const { spec } of this.#functions) share.register(spec.name);
    this.#share = share;
    this.#doorbells = Array.from(
      { length: connection.isCluster ? partitions : 1 },
      () =>
        new Doorbell({
          connection: this.#deployment.connect('doorbell', { blocking: true }),
          blockMs: DOORBELL_BLOCK_MS,
          failed: (error) => log('warn', 'doorbell failed, trying again', { err: error }),
        }),
    );
    this.#relay = this.#createRelay(connection);
    const keeper = this.#createKeeper(connection);
    this.#keeper = keeper;
    await this.#written('to take the lanes', () => keeper.start());
  }

  /** Starts everything beside the lanes. */
  #startServices(connection: RedisConnection): void {
    const { keys, log } = this.#deployment;
    for (const doorbell of this.#doorbells) doorbell.start();
    this.#upkeep = this.#createUpkeep(connection);
    this.#upkeep.start();
    const partitions = (): number[] => this.#lanes.map((lane) => lane.partition);
    this.#scheduler = new Scheduler({ connection, keys, log, partitions });
    this.#scheduler.start();
    this.#relay?.start();
  }

  /** A step of the start: waits, and says so, while Redis takes no writes. */
  async #written<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const { connection, log } = this.#deployment;
    const waiting = (message: string): void => {
      this.#waitingFor = message;
      (this.#options.waiting ?? ((text: string) => log('warn', text)))(message);
    };
    try {
      return await untilWritten(what, connection, attempt, {
        signal: this.#stopping.signal,
        waiting,
      });
    } finally {
      this.#waitingFor = null;
    }
  }

  /**
   * Once a second: is this still the deployment that it was started for; and what has Redis against
   * our writes, if so.
   */
  async #watchSettings(): Promise<void> {
    const { settings, connection, log } = this.#deployment;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await sleep(SETTINGS_MS, signal);
      if (signal.aborted) return;
      settings.doubt();
      try {
        await settings.verify();
      } catch (error) {
        if (error instanceof SettingsChangedError) {
          this.#failure = error;
          log('error', 'SETTINGS CHANGED: this dispatcher reads nothing more', { err: error });
          void this.stop().then(() => this.#fail(error));
          return;
        }
        // Redis does not say: the lanes tell of that, and it is asked again.
      }
      const refused = this.#keeper?.refused ?? null;
      if (refused === null) this.#refusal = null;
      else if (refused.message !== this.#refusal?.error.message) {
        this.#refusal = { error: refused, text: await describeRefusal(connection, refused) };
      }
    }
  }

  /**
   * Drains: starts no further event, commits what is done. What runs has time until the deadline;
   * then it is cut off with its thread, has no outcome and stays in Redis, and what is done is
   * committed all the same. Gives the leases back. Idempotent.
   */
  stop(deadlineMs: number = this.#deployment.environment.MILLRACE_DRAIN_MS): Promise<void> {
    this.#stopped ??= this.#stop(deadlineMs);
    return this.#stopped;
  }

  /**
   * Ends a drain at once: what runs is cut off, and what is done is committed where that takes no
   * time.
   */
  abort(): void {
    const lanes = this.#lanes;
    if (!this.#cancelRuns.signal.aborted) for (const lane of lanes) this.#cutOff += lane.handlers;
    this.#cancelRuns.abort();
    this.#timers.push(
      setTimeout(() => {
        for (const lane of lanes) lane.abandon();
      }, COMMIT_MS),
    );
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#stopping.abort();
    this.#started = false;
    const upkeep = Promise.all([this.#upkeep?.stop(), this.#scheduler?.stop()]);
    // Lanes halt before anything is waited for.
    const stopped = this.#keeper?.stop();
    this.#timers.push(setTimeout(() => this.abort(), deadlineMs));
    await stopped;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#failures.close();
    await Promise.all([upkeep, this.#watch]);
    // After the lanes: what their last turns emitted to other partitions may still leave.
    await this.#relay?.stop();
    await Promise.all(this.#doorbells.map((doorbell) => doorbell.stop()));
    await this.#pool?.close(this.#cancelRuns.signal.aborted ? 0 : Math.min(5000, deadlineMs));
  }

  #sayUncaught({ origin, error, functions, certain, events }: UncaughtError): void {
    this.#uncaught++;
    const whose =
      functions.length === 0
        ? 'before any function ran'
        : certain
          ? `of function "${functions.join('", "')}"`
          : `of one of the functions that ran last: ${functions.join(', ')}`;
    const cure =
      origin === 'exit'
        ? 'Throw instead: a thread is shared by all functions'
        : 'Await every promise before the handler returns, and handle the errors of work that goes on after it: .catch(), on("error")';
    const what =
      origin === 'exit'
        ? 'process.exit'
        : origin === 'rejection'
          ? 'a rejection that nobody handled'
          : 'an error that nobody caught';
    this.#deployment.log('error', `a thread was ended by ${what}, ${whose}. ${cure}`, {
      functions,
      lastEvents: events,
      error: error.message,
      errorName: error.name,
      ...(error.cause ? { cause: error.cause } : {}),
      stack: error.stack,
    });
  }

  #doorbellOf(partition: number): Doorbell {
    return this.#doorbells[partition % this.#doorbells.length] as Doorbell;
  }

  /** See judgeHealth(). */
  health(): HealthReport {
    const { connection, environment, partitions } = this.#deployment;
    const stallMs = environment.MILLRACE_STALL_MS;
    return judgeHealth({
      stallMs,
      partitions,
      started: this.#started,
      connection: connection.status,
      lanes: this.#lanes,
      specs: this.#functions.map(({ spec }) => spec),
      share: this.#keeper?.share ?? null,
      stalledOutboxes: this.#relay?.stalled(stallMs) ?? [],
      refused: this.#refused,
      failure: this.#failure?.message ?? null,
      unserved: this.#upkeep?.unserved ?? [],
      waitingFor: this.#waitingFor,
    });
  }

  get #lanes(): Lane[] {
    return [...(this.#keeper?.lanes.values() ?? [])];
  }

  /** Writes that Redis refuses, told whole where that is known. */
  get #refused(): string | null {
    const refused = this.#keeper?.refused ?? null;
    if (refused === null) return null;
    return this.#refusal?.error.message === refused.message ? this.#refusal.text : refused.message;
  }

  #createKeeper(connection: RedisConnection): LaneKeeper<Lane> {
    const { keys, partitions, environment, log } = this.#deployment;
    const byName = new Map(this.#functions.map((info) => [info.spec.name, info]));
    return new LaneKeeper({
      connection,
      keys,
      partitions,
      log,
      dispatcher: this.id,
      functions: [...byName.keys()],
      leaseTtlMs: environment.MILLRACE_LEASE_MS,
      competing: (fn) => byName.get(fn)?.spec.ordering === 'none',
      createLane: (acquired) => this.#createLane(byName.get(acquired.fn) as FunctionInfo, acquired),
      opened: (lane) => this.#doorbellOf(lane.partition).add(lane),
      closed: (lane) => this.#doorbellOf(lane.partition).remove(lane),
    });
  }

  #createUpkeep(connection: RedisConnection): Upkeep {
    const { keys, partitions, environment, log } = this.#deployment;
    const specs = new Map(this.#functions.map(({ spec }) => [spec.name, spec]));
    return new Upkeep({
      connection,
      keys,
      partitions,
      log,
      everyMs: environment.MILLRACE_UPKEEP_MS,
      lanes: () =>
        this.#lanes
          .filter((lane) => !lane.lost && lane.consumer === OWNER)
          .map(({ fn, partition }) => ({
            fn,
            partition,
            types: specs.get(fn)?.on ?? [],
            maxDelayMs: longestDelayMs(specs.get(fn)),
          })),
    });
  }

  #createRelay(connection: RedisConnection): Relay {
    const { keys, log } = this.#deployment;
    return new Relay({
      connection,
      keys,
      log,
      partitionCount: this.#deployment.partitions,
      partitions: () => this.#lanes.map((lane) => lane.partition),
      relieved: (partition) =>
        this.#lanes.forEach((lane) => lane.partition === partition && lane.ring()),
    });
  }

  #createLane(info: FunctionInfo, acquired: AcquiredLane): Lane {
    const { fn, partition, leaseValue } = acquired;
    const { spec, version } = info;
    const { keys, environment, log } = this.#deployment;
    const connection = this.#connection as RedisConnection;
    const registration = this.#registration as Registration;
    const relay = this.#relay as Relay;
    const doorbell = this.#doorbellOf(partition);
    const leaseTtlMs = environment.MILLRACE_LEASE_MS;
    const stages = createStages(
      {
        connection,
        keys,
        pool: this.#pool as WorkerPool,
        share: this.#share as FairShare,
        dispatcher: this.id,
        leaseTtlMs,
        schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
        cancelRuns: this.#cancelRuns.signal,
        log,
      },
      {
        spec,
        version,
        lane: acquired,
        observed: (key, id) => doorbell.observe(key, id, lane),
      },
      {
        lost: (loss) => registration.lost(fn, partition, loss),
        outboxFull: () => relay.isFull(partition),
        relay: (size) => relay.ring(partition, size),
        register: () => registration.registerAgain(spec, partition),
        idle: () => doorbell.nudge(),
        turnDone: (turn) => this.#options.onTurn?.(turn),
        repeats: (events) => (this.#repeats += events),
        failed: (failures) => this.#failures.failed(fn, partition, spec.retry.attempts, failures),
      },
    );
    const around = this.#options.aroundStages ?? ((unchanged: LaneStages) => unchanged);
    const lane: Lane = new Lane(
      {
        ...acquired,
        spec,
        streamKeys: spec.on.map((type) => keys.events(partition, type)),
        leaseTtlMs,
        batchBytes: environment.MILLRACE_BATCH_BYTES,
        batchEvents: environment.MILLRACE_BATCH_EVENTS,
        batchMs: BATCH_MS,
        pollMs: POLL_MS,
      },
      around(stages, { fn, partition, leaseValue }),
    );
    return lane;
  }
}

/** A parked event may be due so much later: for its next attempt, or because its handler runs. */
function longestDelayMs(spec: FunctionSpec | undefined): number {
  return spec ? Math.max(spec.retry.maxDelayMs, parkedForMs(spec.timeoutMs)) : 0;
}
