/** The entry for services: connect, publish, run a dispatcher inside the service's own process. */
import type { InspectOptions } from 'node:util';
import { pino, type Logger } from 'pino';
import { readEnvironment, type Environment } from './config.ts';
import { monotonicMs } from './core/clock.ts';
import { ConfigError, type ProducerGapError, type RedisReplyError } from './core/errors.ts';
import { INSPECT, shown } from './core/shown.ts';
import { openDeployment, shownDeployment, warnOfServer, type Deployment } from './deployment.ts';
import type { Log } from './core/log.ts';
import { Dispatcher, type DispatcherOptions } from './dispatcher.ts';
import { noteLoss } from './lag/losses.ts';
import type { RedisConnection } from './redis/contract.ts';
import { describeRefusal } from './redis/refused-writes.ts';
import { textProblem } from './core/well-formed.ts';
import { LIMITS } from './wire/event-attributes.ts';
import type { Upcast } from './define/upcast.ts';
import { readTypeLimits } from './upkeep/type-limits.ts';
import type { Confirm, Durability } from './pipeline/append/confirm.ts';
import { View } from './views/view-query.ts';
import { DEFAULT_PUBLISHER, type PublisherSettings } from './pipeline/append/publisher-parts.ts';
import { Publisher } from './pipeline/append/publisher.ts';
import { DEFAULT_STORE, EventStore, type StoreSettings } from './store/event-store.ts';

const REFUSED_REPEAT_MS = 30_000;

export interface MillraceOptions {
  /** Settings that replace those of the environment. */
  readonly environment?: Partial<Environment>;
  /** Folder of the .proto files that declare the event types. Null: no types. Default `proto`. */
  readonly protoDir?: string | null;
  /** Logger of the deployment. Default: a pino logger at LOG_LEVEL. */
  readonly logger?: Logger;
  /** Name of the connections in CLIENT LIST. Default `service`. */
  readonly name?: string;
}

export interface DurabilityOptions {
  /**
   * State of an event when its publish or append resolves.
   *
   * - `memory` (default): Redis has it in memory.
   * - `fsync`: it is on disk. This needs WAITAOF (Redis 7.2), or appendfsync always.
   * - `replicated`: `replicas` replicas have it (WAIT).
   */
  readonly durability?: Durability;
  /** With `replicated`: number of replicas. Default 1. */
  readonly replicas?: number;
  /** With `fsync` and `replicated`: longest wait for the confirmation, ms. Default 5,000. */
  readonly confirmMs?: number;
}

export interface PublisherOptions extends Partial<PublisherSettings>, DurabilityOptions {}

export interface StoreOptions extends Partial<StoreSettings>, DurabilityOptions {}

export class Millrace {
  readonly deployment: Deployment;
  readonly #parts: { close(): Promise<void> }[] = [];

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  /**
   * Opens a publisher on a connection of its own.
   * @throws ConfigError when the server cannot give the durability, or a setting is out of bounds
   */
  publisher(options: PublisherOptions = {}): Publisher {
    const { durability = 'memory', replicas = 1, confirmMs = 5000, ...settings } = options;
    const merged: PublisherSettings = { ...DEFAULT_PUBLISHER, ...settings };
    const problems = publisherProblems(merged);
    const confirm = this.#confirm(durability, replicas, confirmMs, problems);
    if (problems.length > 0) throw new ConfigError(problems);
    const { keys, catalog, schemas, partitions } = this.deployment;
    const connection = this.deployment.connect('publisher');
    const publisher = new Publisher({
      connection,
      keys,
      catalog,
      schemas,
      partitions,
      confirm,
      settings: merged,
      maxBacklogs: async () => {
        const limits = await readTypeLimits(this.deployment);
        return new Map(
          [...limits].flatMap(([type, { maxBacklog }]) =>
            maxBacklog === undefined ? [] : [[type, Math.ceil(maxBacklog / partitions)] as const],
          ),
        );
      },
      gap: (error, lastEntryId) => void this.#gap(connection, error, lastEntryId),
      verify: () => this.deployment.settings.verify(),
      refused: this.#tellRefused(connection),
    });
    this.#parts.push(publisher);
    return publisher;
  }

  /**
   * Opens an event store on a connection of its own. One store per process is enough: its appends
   * share round trips.
   * @throws ConfigError when the server cannot give the durability, or a setting is out of bounds
   */
  store(options: StoreOptions = {}): EventStore {
    const { durability = 'memory', replicas = 1, confirmMs = 5000, ...settings } = options;
    const merged: StoreSettings = { ...DEFAULT_STORE, ...settings };
    const problems = storeProblems(merged);
    const confirm = this.#confirm(durability, replicas, confirmMs, problems);
    if (problems.length > 0) throw new ConfigError(problems);
    const connection = this.deployment.connect('store');
    const store = new EventStore({
      deployment: this.deployment,
      connection,
      confirm,
      settings: merged,
      gap: (error) => void this.#gap(connection, error),
    });
    this.#parts.push(store);
    return store;
  }

  /** Creates a dispatcher over a folder of functions. Call its start(). */
  dispatcher(options: Omit<DispatcherOptions, 'deployment'>): Dispatcher {
    const dispatcher = new Dispatcher({ ...options, deployment: this.deployment });
    this.#parts.push({ close: () => dispatcher.stop() });
    return dispatcher;
  }

  /**
   * Returns the queries of a view, by its name. `Row` is the type that the view's evolve returns.
   */
  view<Row = Record<string, unknown>>(name: string): View<Row> {
    return new View<Row>(this.deployment, name);
  }

  /**
   * Flushes publishers, drains dispatchers and closes connections. Stops an embedded server that
   * this process owns.
   */
  async close(): Promise<void> {
    await Promise.all(this.#parts.splice(0).map((part) => part.close()));
    await this.deployment.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Returns the deployment's target and state for logs, without a password. */
  toJSON(): Record<string, unknown> {
    return shownDeployment(this.deployment);
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('Millrace', this.toJSON(), options, inspect);
  }

  /**
   * Returns a reporter of refused writes. It warns at once, then every 30 s while publishing waits.
   */
  #tellRefused(connection: RedisConnection): (error: RedisReplyError) => void {
    let toldMs = -Infinity;
    return (error) => {
      if (monotonicMs() - toldMs < REFUSED_REPEAT_MS) return;
      toldMs = monotonicMs();
      void describeRefusal(connection, error).then((why) =>
        this.deployment.log('warn', `publishing waits: ${why}`),
      );
    };
  }

  async #gap(connection: RedisConnection, error: ProducerGapError, to = ''): Promise<void> {
    const { keys, log, settings } = this.deployment;
    settings.doubt();
    log('error', 'LOSS: Redis has lost flushes it had acknowledged', { err: error });
    void this.deployment.checkSchemas();
    // The entry that Redis knows of the producer lies before the lost flushes.
    const known = (await connection
      .command('GET', keys.producer(error.partition, error.producer))
      .catch(() => null)) as string | null;
    await noteLoss(connection, keys, error.partition, {
      kind: 'sequence',
      from: known?.split(':')[1] ?? '',
      to,
      count: Math.max(0, error.actual - error.expected),
      message: `producer ${error.producer} sent flush ${error.actual}, Redis expected ${error.expected}`,
    });
  }

  #confirm(
    durability: Durability,
    replicas: number,
    timeoutMs: number,
    problems: string[],
  ): Confirm {
    const { server } = this.deployment;
    if (durability === 'replicated') {
      // An unknown number of replicas is no problem: WAIT tells it with each append.
      if (server.replicas !== null && server.replicas < replicas) {
        problems.push(
          `durability "replicated" asks for ${replicas} replicas, the server has ${server.replicas} connected`,
        );
      }
      return { kind: 'wait', replicas, timeoutMs };
    }
    if (durability === 'fsync') {
      if (server.appendonly === false)
        problems.push('durability "fsync" needs an append-only file: the server has appendonly no');
      else if (server.hasWaitAof) return { kind: 'waitaof', timeoutMs };
      else if (server.appendfsync !== 'always') {
        problems.push(
          `durability "fsync" needs WAITAOF (Redis 7.2) or appendfsync always; the server is ${server.version} with appendfsync ${server.appendfsync ?? 'unknown'}`,
        );
      }
    }
    return { kind: 'none' };
  }
}

/**
 * Opens a deployment: the server in REDIS_URL, or the embedded server of this folder. The schemas
 * under the proto folder are compared with the registry. New compatible schemas are registered in
 * development; see MILLRACE_MODE.
 *
 * @throws ConfigError with every problem found
 * @throws SchemaNotRegisteredError naming every schema that is incompatible, or not registered in
 *   production mode
 */
export async function connect(options: MillraceOptions = {}): Promise<Millrace> {
  const environment: Environment = { ...readEnvironment(), ...options.environment };
  const logger = options.logger ?? pino({ level: environment.LOG_LEVEL });
  const deployment = await openDeployment({
    environment,
    protoDir: options.protoDir === undefined ? 'proto' : options.protoDir,
    log: logWith(logger),
    name: options.name ?? 'service',
    settleSchemas: true,
  });
  warnOfServer(deployment);
  return new Millrace(deployment);
}

export function logWith(logger: Logger): Log {
  return (level, message, fields) => logger[level](fields ?? {}, message);
}

function publisherProblems(settings: PublisherSettings): string[] {
  const problems = settingProblems('publisher', settings, DEFAULT_PUBLISHER, [
    ['bufferBytes', 65_536, 1_073_741_824],
    ['flushEvents', 1, 65_536],
    ['flushBytes', 1024, 64 * 1024 * 1024],
    ['lingerMs', 0, 1000],
    ['maxFlushes', 1, 1024],
    ['deadlineMs', 100, 3_600_000],
  ]);
  problems.push(...sourceProblems('publisher', settings.source));
  if (settings.whenFull !== 'wait' && settings.whenFull !== 'reject')
    problems.push(
      `publisher option whenFull must be "wait" or "reject", got ${String(settings.whenFull)}`,
    );
  if (settings.whenRefused !== 'wait' && settings.whenRefused !== 'reject')
    problems.push(
      `publisher option whenRefused must be "wait" or "reject", got ${String(settings.whenRefused)}`,
    );
  return problems;
}

function storeProblems(settings: StoreSettings): string[] {
  const problems = settingProblems('store', settings, DEFAULT_STORE, [
    ['maxEvents', 1, 10_000_000],
    ['bufferBytes', 65_536, 1_073_741_824],
    ['deadlineMs', 100, 3_600_000],
  ]);
  problems.push(...sourceProblems('store', settings.source));
  if (
    !Array.isArray(settings.upcasts) ||
    !settings.upcasts.every((one: Partial<Upcast> | null) => one?.kind === 'millrace.upcast')
  ) {
    problems.push('store option upcasts must be a list of what upcast() returns');
  }
  return problems;
}

/** Returns the problems of a source. Each batch holds the source, so its size is bounded. */
function sourceProblems(of: string, source: unknown): string[] {
  const problem = textProblem(source);
  if (problem !== null) return [`${of} option source ${problem}`];
  const bytes = Buffer.byteLength(source as string);
  return bytes > LIMITS.source
    ? [`${of} option source has ${bytes} bytes, the limit is ${LIMITS.source}`]
    : [];
}

/** Returns the problems of settings: numbers out of bounds, and unknown options. */
function settingProblems<S extends object>(
  of: string,
  settings: S,
  known: S,
  bounds: readonly (readonly [name: keyof S & string, min: number, max: number])[],
): string[] {
  const problems: string[] = [];
  for (const [name, min, max] of bounds) {
    const value = settings[name] as number;
    if (!Number.isInteger(value) || value < min || value > max)
      problems.push(
        `${of} option ${name} must be a whole number from ${min} to ${max}, got ${String(value)}`,
      );
  }
  for (const name of Object.keys(settings))
    if (!(name in known)) problems.push(`${of} option ${name} is unknown`);
  return problems;
}
