/**
 * One deployment as a process sees it: the server (given or embedded), its settings, the declared
 * event types. The dispatcher, the publisher and every command open it first.
 */
import type { Log } from './core/log.ts';
import { rootMessage } from './core/health-reason.ts';
import { showAs } from './core/shown.ts';
import { accessSync, constants, existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Environment } from './config.ts';
import { ConfigError } from './core/errors/input-errors.ts';
import {
  ConnectionSetupError,
  ServerUnreachableError,
  UnknownOutcomeError,
} from './core/errors/server-errors.ts';
import {
  inspectServer,
  serverProblems,
  serverWarnings,
  type ServerInfo,
} from './redis/capability.ts';
import type { FailFast, RedisConnection, TlsFiles } from './redis/contract.ts';
import { Connections } from './redis/connections.ts';
import { connectOrStart } from './redis/embedded-server.ts';
import { createKeys, type Keys } from './redis/keys.ts';
import { describeUnwritten, untilWritten, type WaitForWrites } from './redis/refused-writes.ts';
import { RoundTrips } from './redis/round-trips.ts';
import { MIN_SERVER_VERSION } from './redis/server-binary.ts';
import { settleLocalSchemas, type LocalSchemas } from './registry/local-schemas.ts';
import { registeredBy } from './registry/registered-by.ts';
import { SchemaRegistry } from './registry/registry.ts';
import { SchemaWatch } from './registry/schema-watch.ts';
import { RegistryStore } from './registry/registry-store.ts';
import {
  DEFAULT_PARTITIONS,
  readSettings,
  SettingsGuard,
  settleSettings,
} from './redis/settings.ts';
import type { Tracing } from './core/tracing.ts';
import { loadTracing } from './tracing/open-telemetry.ts';
import { createCatalog, type Catalog } from './wire/catalog.ts';
import { loadProtoFolder } from './wire/proto-folder.ts';

const CONNECT_MS = 5000;

export interface DeploymentOptions {
  readonly environment: Environment;
  /** Folder of the .proto files, default `proto`. Null: no types are needed. */
  readonly protoDir: string | null;
  readonly log: Log;
  /** Shown in CLIENT LIST. */
  readonly name: string;
  /**
   * Whether to compare the schemas under proto/ with the registry, as each publisher and consumer
   * must. MILLRACE_MODE decides about new schemas. Also fixes the deployment's settings where
   * nobody has yet. Default false: the command only looks, and opening writes nothing.
   */
  readonly settleSchemas?: boolean;
  /**
   * Behaviour where Redis refuses a necessary write: wait until it is taken. Default: reject with
   * WritesRefusedError.
   */
  readonly whenRefused?: WaitForWrites;
  /**
   * Told of each problem that refuses a deployment. The deployment is then opened all the same, for
   * a look at it. Default: reject with ConfigError.
   */
  readonly unfit?: (problem: UnfitProblem) => void;
  /** Default `none`: the server has some seconds to come. */
  readonly failFast?: FailFast;
}

/** Problem for which a deployment is refused. */
export interface UnfitProblem {
  /** `proto`: of the event types. `partitions`: another number than the deployment's. */
  readonly kind: 'server' | 'proto' | 'partitions';
  readonly problem: string;
}

export interface Deployment {
  readonly environment: Environment;
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
  /**
   * Whether the settings are in Redis. False: nobody has started or published here yet, and
   * `partitions` is a guess.
   */
  readonly settled: boolean;
  /** Compares the settings of this process with those in Redis. */
  readonly settings: SettingsGuard;
  readonly catalog: Catalog;
  readonly registry: SchemaRegistry;
  /**
   * Id and version of each event type's schema. Empty unless the deployment was opened with
   * settleSchemas.
   */
  readonly schemas: LocalSchemas;
  /** Those of `schemas` that have changed since the start, because the registry had lost them. */
  readonly changedSchemas: LocalSchemas;
  /** Registers again the schemas of this process that the registry has lost. Never rejects. */
  checkSchemas(): Promise<void>;
  readonly server: ServerInfo;
  /** Times of the server's replies, on all connections but blocking ones. */
  readonly roundTrips: RoundTrips;
  /** Whether this process runs the embedded server. */
  readonly ownsServer: boolean;
  readonly url: string;
  /** Null: OpenTelemetry's API is not installed. */
  readonly tracing: Tracing | null;
  readonly log: Log;
  /** A further connection to the same server. */
  connect(name: string, options?: { readonly blocking?: boolean }): RedisConnection;
  /** Each call waits for the one end. */
  close(): Promise<void>;
}

/**
 * @throws ConfigError with every problem found: server too old, eviction policy, another number of
 *   partitions, proto files
 * @throws SchemaNotRegisteredError with settleSchemas: a schema under proto/ is incompatible, or
 *   new in production mode
 * @throws RedisServerNotFoundError, ServerUnreachableError, ConnectionSetupError
 */
export async function openDeployment(options: DeploymentOptions): Promise<Deployment> {
  const { environment, log } = options;
  const { catalog, problems } = readProtoFolder(options.protoDir);
  const tls = tlsFiles(environment);
  const embedded = await startEmbedded(environment, log);
  const url = environment.REDIS_URL ?? (embedded as { url: string }).url;
  const roundTrips = new RoundTrips();
  const { failFast = 'none' } = options;
  const connections = new Connections({ url, log, tls, roundTrips, failFast });
  let watch: SchemaWatch | null = null;
  const close = onlyOnce(async () => {
    await watch?.stop();
    const { first } = connections;
    const unwritten =
      embedded?.owned && first?.status === 'up' ? await describeUnwritten(first) : null;
    if (unwritten !== null) log('error', `LOSS: ${unwritten}`);
    await connections.close();
    await embedded?.stop();
  });

  try {
    const { connection, server } = await reachServer(connections, options.name, url);
    const settles = options.settleSchemas ?? false;
    refuse(options, [
      ...problems.map((problem) => ({ kind: 'proto', problem }) as const),
      ...serverProblems(server, { minVersion: MIN_SERVER_VERSION, replica: !settles }).map(
        (problem) => ({ kind: 'server', problem }) as const,
      ),
    ]);
    const write: Write = (what, attempt) =>
      untilWritten(what, connection, attempt, options.whenRefused);
    const keys = createKeys(environment.MILLRACE_NAMESPACE);
    const settings = await openSettings(connection, keys, options, write);
    const registry = new SchemaRegistry(new RegistryStore(connection, keys));
    const schemas = await openSchemas(registry, catalog, options, write);
    const by = schemas.registeredBy;
    watch = new SchemaWatch({
      registry,
      connection,
      catalog,
      schemas: schemas.local,
      registeredBy: by,
      log,
    });
    watch.start();
    const tracing = await openTracing(log);
    const deployment: Deployment = {
      environment,
      connection,
      keys,
      ...settings,
      catalog,
      registry,
      schemas: schemas.local,
      changedSchemas: watch.changed,
      checkSchemas: () => watch?.check() ?? Promise.resolve(),
      server,
      roundTrips,
      url,
      tracing,
      log,
      connect: (name, more) => connections.open(name, more),
      close,
      ownsServer: embedded?.owned ?? false,
    };
    // The URL, and the environment with it, may hold a password.
    return showAs(deployment, 'Deployment', () => shownDeployment(deployment));
  } catch (error) {
    await close();
    throw error;
  }
}

/** Every call gets the promise of the first one. */
function onlyOnce(end: () => Promise<void>): () => Promise<void> {
  let ending: Promise<void> | null = null;
  return () => (ending ??= end());
}

function openTracing(log: Log): Promise<Tracing | null> {
  return loadTracing((err) =>
    log('warn', 'OpenTelemetry failed: spans of this process may be missing', { err }),
  );
}

/**
 * Makes a write, and waits until Redis takes writes.
 * @param what the purpose, as an infinitive
 */
type Write = <T>(what: string, attempt: () => Promise<T>) => Promise<T>;

/** @throws ConfigError, unless the caller wants to be told of the problems */
function refuse({ unfit }: DeploymentOptions, problems: readonly UnfitProblem[]): void {
  if (unfit) problems.forEach(unfit);
  else if (problems.length > 0) throw new ConfigError(problems.map(({ problem }) => problem));
}

/** Starts the embedded server, or joins it. Null: REDIS_URL names another server. */
async function startEmbedded(
  environment: Environment,
  log: Log,
): Promise<Awaited<ReturnType<typeof connectOrStart>> | null> {
  if (environment.REDIS_URL) return null;
  const { MILLRACE_REDIS_SERVER: serverPath } = environment;
  return connectOrStart({
    dir: resolve(environment.MILLRACE_DIR),
    appendfsync: environment.MILLRACE_APPENDFSYNC,
    ...(serverPath === undefined ? {} : { serverPath }),
    log,
  });
}

/** Opens the first connection. One address may stand for all nodes of a Cluster. */
async function reachServer(
  connections: Connections,
  name: string,
  url: string,
): Promise<{ readonly connection: RedisConnection; readonly server: ServerInfo }> {
  const connection = connections.open(name);
  const server = await reach(connection);
  if (server.mode !== 'cluster' || server.followsRedirections || url.startsWith('unix:'))
    return { connection, server };
  // A configuration endpoint, or a node that knows the others.
  connections.followRedirections();
  const followed = connections.open(name);
  return { connection: followed, server: await reach(followed) };
}

/** @throws ConfigError for another number of partitions than the deployment's */
async function openSettings(
  connection: RedisConnection,
  keys: Keys,
  options: DeploymentOptions,
  write: Write,
): Promise<Pick<Deployment, 'partitions' | 'settings' | 'settled'>> {
  const { environment, settleSchemas = false } = options;
  const wanted = environment.MILLRACE_PARTITIONS;
  const stored = settleSchemas
    ? await write('to fix the number of partitions', () =>
        settleSettings(connection, keys, wanted ?? DEFAULT_PARTITIONS),
      )
    : await readSettings(connection, keys);
  if (stored && wanted !== undefined && wanted !== stored.partitions)
    refuse(options, [
      { kind: 'partitions', problem: otherPartitions(keys, wanted, stored.partitions) },
    ]);
  const partitions = stored?.partitions ?? wanted ?? DEFAULT_PARTITIONS;
  const settings = new SettingsGuard(connection, keys, {
    partitions,
    created: stored?.created ?? '',
  });
  return { partitions, settings, settled: stored !== null };
}

/** @throws SchemaNotRegisteredError */
async function openSchemas(
  registry: SchemaRegistry,
  catalog: Catalog,
  { environment, protoDir, settleSchemas = false, log }: DeploymentOptions,
  write: Write,
): Promise<{
  readonly local: Awaited<ReturnType<typeof settleLocalSchemas>>;
  readonly registeredBy: () => ReturnType<typeof registeredBy>;
}> {
  const by = (): ReturnType<typeof registeredBy> => registeredBy(resolve(protoDir ?? '.'));
  if (!settleSchemas) return { local: new Map<string, never>(), registeredBy: by };
  const mode = environment.MILLRACE_MODE;
  const local = await write('to register schemas', () =>
    settleLocalSchemas({ registry, catalog, log, mode, registeredBy: by }),
  );
  return { local, registeredBy: by };
}

/** Logs what somebody else's server would lose if it ended. */
export function warnOfServer({ ownsServer, server, log }: Deployment): void {
  if (!ownsServer) for (const warning of serverWarnings(server)) log('warn', warning);
}

/** Returns the fields that a log may show. */
export function shownDeployment({
  connection,
  environment,
  partitions,
  catalog,
  server,
  ownsServer,
}: Deployment): Record<string, unknown> {
  return {
    target: connection.target,
    connection: connection.status,
    server: server.version,
    ownsServer,
    namespace: environment.MILLRACE_NAMESPACE,
    partitions,
    types: [...catalog.types.keys()],
  };
}

/**
 * Reads the declared types, and the problems of the folder. Without a folder there are no types.
 */
export function readProtoFolder(protoDir: string | null): { catalog: Catalog; problems: string[] } {
  const none = createCatalog([]);
  if (protoDir === null) return { catalog: none, problems: [] };
  const dir = resolve(protoDir);
  if (!existsSync(dir))
    return { catalog: none, problems: [`proto folder ${protoDir} does not exist`] };
  try {
    return { catalog: createCatalog(loadProtoFolder(dir)), problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { catalog: none, problems: [...error.problems] };
  }
}

/**
 * Connects and looks at the server. Nothing is written.
 * @throws ServerUnreachableError, ConnectionSetupError where the server refuses the connection for
 *   good
 */
async function reach(connection: RedisConnection): Promise<ServerInfo> {
  const { target } = connection;
  try {
    await connection.ready(CONNECT_MS);
    return await inspectServer(connection);
  } catch (error) {
    if (error instanceof ConnectionSetupError || !(error instanceof UnknownOutcomeError))
      throw error;
    throw new ServerUnreachableError(target, rootMessage(error), { cause: error });
  }
}

/** @throws ConfigError */
function tlsFiles(environment: Environment): TlsFiles {
  const files = {
    MILLRACE_REDIS_CA: environment.MILLRACE_REDIS_CA,
    MILLRACE_REDIS_CERT: environment.MILLRACE_REDIS_CERT,
    MILLRACE_REDIS_KEY: environment.MILLRACE_REDIS_KEY,
  };
  const problems: string[] = [];
  for (const [name, path] of Object.entries(files)) {
    if (path === undefined) continue;
    if (!/^rediss:/i.test(environment.REDIS_URL?.trim() ?? ''))
      problems.push(`${name} is set, but REDIS_URL does not begin with rediss://`);
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      problems.push(
        `${name}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
      );
    }
  }
  const { MILLRACE_REDIS_CA: ca, MILLRACE_REDIS_CERT: cert, MILLRACE_REDIS_KEY: key } = files;
  if ((cert === undefined) !== (key === undefined))
    problems.push(
      'MILLRACE_REDIS_CERT and MILLRACE_REDIS_KEY belong together: set both, or neither',
    );
  if (problems.length > 0) throw new ConfigError(problems);
  return { ca, cert, key, keyPassphrase: environment.MILLRACE_REDIS_KEY_PASSPHRASE };
}

function otherPartitions(keys: Keys, wanted: number, stored: number): string {
  return (
    `MILLRACE_PARTITIONS is ${wanted}, but this deployment (namespace "${keys.namespace}") was started with ${stored}. ` +
    `The number cannot be changed: subjects would move to other partitions and lose their order. Set it to ${stored}, or use another MILLRACE_NAMESPACE`
  );
}
