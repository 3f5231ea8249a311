/** The entry for services: connect, publish, run a dispatcher inside the service's own process. */
import type { InspectOptions } from 'node:util';
import { pino, type Logger } from 'pino';
import { givenSettings, readEnvironment, type Environment } from './config.ts';
import { monotonicMs } from './core/clock.ts';
import type { ProducerGapError } from './core/errors/append-errors.ts';
import { ConfigError } from './core/errors/input-errors.ts';
import type { RedisReplyError } from './core/errors/server-errors.ts';
import { optionProblems } from './core/option-rule.ts';
import { INSPECT, shown } from './core/shown.ts';
import { openDeployment, shownDeployment, warnOfServer, type Deployment } from './deployment.ts';
import { withoutToldCauses, type Log } from './core/log.ts';
import { Dispatcher } from './dispatcher.ts';
import { EndedDispatchers } from './metrics/ended-dispatchers.ts';
import { DISPATCHER_OPTIONS, type DispatcherOptions } from './dispatcher/dispatcher-options.ts';
import { noteLoss } from './lag/losses.ts';
import { partOf } from './lag/rates.ts';
import type { ProcessMetrics, ProcessSources } from './metrics/process-metrics.ts';
import { TurnMeters } from './metrics/turn-meters.ts';
import type { RedisConnection } from './redis/contract.ts';
import { describeRefusal } from './redis/refused-writes.ts';
import { readTypeLimits } from './upkeep/type-limits.ts';
import type { Confirm } from './pipeline/append/confirm.ts';
import {
  DEFAULT_DURABILITY,
  DURABILITY_OPTIONS,
  type DurabilityOptions,
} from './pipeline/append/durability-options.ts';
import { PublishMeters } from './pipeline/append/publish-meters.ts';
import { View } from './views/view-query.ts';
import {
  DEFAULT_PUBLISHER,
  PUBLISHER_OPTIONS,
  type PublisherSettings,
} from './pipeline/append/publisher-options.ts';
import { Publisher } from './pipeline/append/publisher.ts';
import { DEFAULT_STORE, EventStore, type StoreSettings } from './store/event-store.ts';
import { STORE_OPTIONS } from './store/store-options.ts';

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

export interface PublisherOptions extends Partial<PublisherSettings>, DurabilityOptions {}

export interface StoreOptions extends Partial<StoreSettings>, DurabilityOptions {}

export class Millrace {
  readonly deployment: Deployment;
  /** Parts that are not closed. A long-lived service may open and close many. */
  readonly #parts = new Set<{ close(): Promise<void> }>();
  readonly #dispatchers = new Set<Dispatcher>();
  readonly #ended = new EndedDispatchers();
  /** Counts of its dispatchers and publishers, from which metrics are told. */
  readonly meters: ProcessSources;
  #metrics: Promise<ProcessMetrics> | null = null;
  #closing: Promise<void> | null = null;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
    this.meters = {
      deployment,
      turns: new TurnMeters(),
      publishing: new PublishMeters(),
      dispatchers: () => [...this.#ended.all, ...this.#dispatchers],
    };
  }

  /**
   * Opens a publisher on a connection of its own.
   * @throws ConfigError when the server cannot give the durability, or a setting is out of bounds
   */
  publisher(options: PublisherOptions = {}): Publisher {
    const { durability, settings } = split(options);
    const merged: PublisherSettings = { ...DEFAULT_PUBLISHER, ...settings };
    const problems = [
      ...optionProblems('publisher', PUBLISHER_OPTIONS, merged),
      ...optionProblems('publisher', DURABILITY_OPTIONS, durability),
    ];
    const confirm = this.#confirm(durability, problems);
    if (problems.length > 0) throw new ConfigError(problems);
    const { keys, catalog, schemas, partitions, tracing } = this.deployment;
    const connection = this.deployment.connect('publisher');
    const publisher: Publisher = new Publisher({
      connection,
      closed: () => this.#forget(publisher, connection),
      keys,
      catalog,
      schemas,
      partitions,
      confirm,
      tracing,
      settings: merged,
      maxBacklogs: async () => {
        const limits = await readTypeLimits(this.deployment);
        return new Map(
          [...limits].flatMap(([type, { maxBacklog }]) =>
            maxBacklog === undefined
              ? []
              : [[type, partOf({ max: maxBacklog, partitions })] as const],
          ),
        );
      },
      gap: (error, lastEntryId) => void this.#gap(error, lastEntryId),
      verify: () => this.deployment.settings.verify(),
      meters: this.meters.publishing,
      refused: this.#tellRefused(connection),
    });
    this.#parts.add(publisher);
    return publisher;
  }

  /**
   * Opens an event store on a connection of its own. One store per process is enough: its appends
   * share round trips.
   * @throws ConfigError when the server cannot give the durability, or a setting is out of bounds
   */
  store(options: StoreOptions = {}): EventStore {
    const { durability, settings } = split(options);
    const merged: StoreSettings = { ...DEFAULT_STORE, ...settings };
    const problems = [
      ...optionProblems('store', STORE_OPTIONS, merged),
      ...optionProblems('store', DURABILITY_OPTIONS, durability),
    ];
    const confirm = this.#confirm(durability, problems);
    if (problems.length > 0) throw new ConfigError(problems);
    const connection = this.deployment.connect('store');
    const { keys, partitions, catalog, schemas, registry, environment, log, tracing } =
      this.deployment;
    const store: EventStore = new EventStore({
      connection,
      closed: () => this.#forget(store, connection),
      keys,
      partitions,
      catalog,
      schemas,
      registry,
      schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
      log,
      tracing,
      confirm,
      settings: merged,
      gap: (error) => void this.#gap(error),
      verify: () => this.deployment.settings.verify(),
    });
    this.#parts.add(store);
    return store;
  }

  /**
   * Creates a dispatcher over a folder of functions. Call its start().
   * @throws ConfigError for an option of the wrong kind, or one that does not exist
   */
  dispatcher(options: Omit<DispatcherOptions, 'deployment'>): Dispatcher {
    const problems = optionProblems('dispatcher', DISPATCHER_OPTIONS, options);
    if (problems.length > 0) throw new ConfigError(problems);
    const { turns } = this.meters;
    const { onTurn } = options;
    const dispatcher = new Dispatcher({
      ...options,
      deployment: this.deployment,
      onTurn(turn) {
        turns.turn(turn);
        onTurn?.(turn);
      },
    });
    const part = { close: () => dispatcher.stop() };
    this.#dispatchers.add(dispatcher);
    this.#parts.add(part);
    void dispatcher.ended.then(() => {
      this.#parts.delete(part);
      this.#dispatchers.delete(dispatcher);
      this.#ended.add(dispatcher);
    });
    return dispatcher;
  }

  /**
   * Returns the queries of a view, by its name. `Row` is the type that the view's evolve returns.
   */
  view<Row = Record<string, unknown>>(name: string): View<Row> {
    return new View<Row>(this.deployment, name);
  }

  /**
   * Returns the metrics of this process in Prometheus' text format: those of its dispatchers, its
   * publishers and its connections, and Node's own. A service serves them, with its own metrics.
   */
  async metrics(): Promise<string> {
    // Loaded here: a process that is not scraped needs no formatter.
    this.#metrics ??= import('./metrics/process-metrics.ts').then(
      (loaded) => new loaded.ProcessMetrics(this.meters),
    );
    return (await this.#metrics).text();
  }

  /**
   * Flushes publishers, drains dispatchers and closes connections. Stops an embedded server that
   * this process owns. Each call waits for the one end.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#parts].map((part) => part.close()));
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

  async #forget(part: { close(): Promise<void> }, connection: RedisConnection): Promise<void> {
    this.#parts.delete(part);
    await connection.close();
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

  async #gap(error: ProducerGapError, to = ''): Promise<void> {
    // The publisher's own connection ends with the publisher, and the ledger must have the loss.
    const { connection, keys, log, settings } = this.deployment;
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
    { durability, replicas, confirmMs: timeoutMs }: Required<DurabilityOptions>,
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
  const environment: Environment = { ...readEnvironment(), ...givenSettings(options.environment) };
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
  return (level, message, fields = {}) => {
    const err = withoutToldCauses(fields['err']);
    logger[level](err === fields['err'] ? fields : { ...fields, err }, message);
  };
}

/** Parts the options on durability from the others. */
function split<O extends DurabilityOptions>(
  options: O,
): {
  readonly durability: Required<DurabilityOptions>;
  readonly settings: Omit<O, keyof DurabilityOptions>;
} {
  const {
    durability = DEFAULT_DURABILITY.durability,
    replicas = DEFAULT_DURABILITY.replicas,
    confirmMs = DEFAULT_DURABILITY.confirmMs,
    ...settings
  } = options;
  return { durability: { durability, replicas, confirmMs }, settings };
}
