/** The bed of a run: servers, producers, dispatchers, and the sink of their history. */
import { pino } from 'pino';
import { connect, type Millrace } from '../../src/millrace.ts';
import type { FunctionRules } from '../../src/torture/run-record.ts';
import { seededRandom, type Random } from '../../src/torture/random.ts';
import { PROTO_DIR } from '../lab/dispatcher-process.ts';
import { startCluster, type TestCluster } from '../lab/redis-cluster.ts';
import { startRedis, type TestRedis } from '../lab/redis-server.ts';
import { startProxy, type TcpProxy } from '../lab/tcp-proxy.ts';
import { isServerBug } from './bugs.ts';
import { startEmbedded } from './embedded-redis.ts';
import { Fleet } from './fleet.ts';
import { RULES_OF_FUNCTIONS } from './function-rules.ts';
import { Producer, type LoadOptions } from './load.ts';
import { LEASE_MS, type SeedOptions } from './seed-options.ts';
import { openServerClock, type ServerClock } from './server-clock.ts';
import { Sink } from './sink.ts';

export const PARTITIONS = 4;

export type Teardown = (fn: () => void | Promise<void>) => void;

interface Servers {
  readonly serverClock: ServerClock | null;
  /** The sink's server, which suffers no fault. */
  readonly sinkServer: TestRedis;
  readonly sink: Sink;
  /** The single server; null with a cluster. */
  readonly redis: TestRedis | null;
  readonly cluster: TestCluster | null;
  readonly proxy: TcpProxy | null;
}

export interface Bed extends Servers {
  /** Names of the function files that are left out. */
  readonly skip: readonly string[];
  readonly functions: readonly FunctionRules[];
  readonly random: Random;
  /** Service with a connection past the proxy. */
  readonly service: Millrace;
  readonly load: LoadOptions;
  readonly producers: readonly Producer[];
  readonly fleet: Fleet;
}

/**
 * Starts everything that a run needs.
 * @throws SkippedRun where the fault is impossible here
 */
export async function arrange(options: SeedOptions, teardown: Teardown): Promise<Bed> {
  const { fault, seed, bug } = options;
  const serverBug = bug !== undefined && isServerBug(bug);
  if (serverBug && fault.needs !== 'embedded server')
    throw new Error(`${fault.name} has no embedded server: "${bug}" changes nothing there`);
  const skip = [...(fault.skip ?? []), ...(options.skip ?? [])];
  const functions = RULES_OF_FUNCTIONS.filter((fn) => !skip.includes(fn.name));
  const random = seededRandom(`${fault.name}/${seed}`);
  const servers = await startServers(options, serverBug, teardown);
  const { cluster, proxy, redis, sink, sinkServer } = servers;
  const direct = cluster?.url ?? (redis as TestRedis).url;
  const url = proxy?.url ?? direct;

  const service = await open(direct, teardown);
  const load: LoadOptions = { ...fault.load?.(random), ...options.load };
  const publishing = proxy ? await open(url, teardown) : service;
  const producers = [0, 1].map(
    (i) =>
      new Producer(
        `p${i}`,
        publishing.publisher({
          flushEvents: 16,
          deadlineMs: 4000,
          ...(cluster ? { durability: 'replicated' as const, confirmMs: 1000 } : {}),
        }),
        seededRandom(`${fault.name}/${seed}/${i}`),
        load,
      ),
  );

  const fleet = new Fleet(
    { url, sink: sinkServer.socket },
    () => ({
      MILLRACE_LEASE_MS: String(LEASE_MS),
      CHAOS_SKIP: skip.map((name) => `${name}.js`).join(),
      ...fault.environment?.(random),
      ...(bug === undefined || serverBug ? {} : { CHAOS_BUG: bug }),
    }),
    (op) => sink.push(op),
  );
  teardown(() => fleet.kill());
  await fleet.start(options.dispatchers ?? 2);
  return { ...servers, skip, functions, random, service, load, producers, fleet };
}

async function startServers(
  { fault }: SeedOptions,
  serverBug: boolean,
  teardown: Teardown,
): Promise<Servers> {
  const scope = { teardown };
  const serverClock = fault.needs === 'server clock' ? await openServerClock(scope) : null;
  const sinkServer = await startRedis(scope, { args: ['--appendonly', 'no'] });
  const sink = new Sink(sinkServer.socket);
  teardown(() => sink.close());
  if (fault.needs === 'cluster') {
    const cluster = await startCluster(scope, { masters: 3, replicas: true });
    return { serverClock, sinkServer, sink, redis: null, cluster, proxy: null };
  }
  const redis =
    fault.needs === 'embedded server' && !serverBug
      ? await startEmbedded(scope)
      : await startRedis(scope, {
          appendfsync: fault.appendfsync ?? 'everysec',
          ...(serverClock ? { env: serverClock.env } : {}),
        });
  const proxy = fault.needs === 'proxy' ? await startProxy(scope, { socket: redis.socket }) : null;
  return { serverClock, sinkServer, sink, redis, cluster: null, proxy };
}

async function open(url: string, teardown: Teardown): Promise<Millrace> {
  const millrace = await connect({
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: PARTITIONS },
    protoDir: PROTO_DIR,
    logger: pino({ level: 'silent' }),
    name: 'chaos',
  });
  teardown(() => millrace.close());
  return millrace;
}
