/**
 * The parts of a dispatcher that work once its functions are registered: its lanes, and the
 * services beside them. Each part is built here, and given the other parts that it needs.
 */
import type { SettingsChangedError } from '../core/errors/server-errors.ts';
import { monotonicMs } from '../core/clock.ts';
import { OWNER, type FunctionSpec } from '../core/function-spec.ts';
import { packageVersion } from '../core/package-info.ts';
import type { Deployment } from '../deployment.ts';
import { Relay } from '../outbox/relay.ts';
import { PartitionCommits } from '../pipeline/commit/commit.ts';
import { PartitionTakes } from '../pipeline/read/partition-takes.ts';
import { FairShare } from '../pipeline/batch/fair-share.ts';
import { parkedForMs } from '../pipeline/lane/in-flight.ts';
import type { Lane } from '../pipeline/lane/lane.ts';
import {
  PRESENCE_LANES,
  PRESENCE_TYPES,
  versionsOf,
  type LaneWork,
  type Presence,
} from '../pipeline/ownership/presence.ts';
import { LaneKeeper } from '../pipeline/ownership/lane-keeper.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';
import type { SweptLane } from '../upkeep/parked-sweep.ts';
import { probeWrites } from '../redis/refused-writes.ts';
import { Scheduler } from '../upkeep/scheduler.ts';
import { Upkeep } from '../upkeep/upkeep.ts';
import { DeploymentWatch } from './deployment-watch.ts';
import { Doorbells } from './doorbells.ts';
import { createLane, type LaneFactoryParts } from './lane-factory.ts';
import { PresenceBeat } from './presence-beat.ts';

export interface Parts {
  /** The connection of the lanes. */
  readonly connection: RedisConnection;
  readonly keeper: LaneKeeper<Lane>;
  readonly doorbells: Doorbells;
  readonly relay: Relay;
  readonly upkeep: Upkeep;
  readonly scheduler: Scheduler;
  readonly watch: DeploymentWatch;
  readonly presence: PresenceBeat;
}

export interface PartsOptions extends Omit<
  LaneFactoryParts,
  'keys' | 'environment' | 'log' | 'tracing' | 'share' | 'takes' | 'commits' | 'doorbells' | 'relay'
> {
  readonly deployment: Deployment;
  readonly functions: readonly FunctionInfo[];
  /** Told that the settings have changed since the dispatcher's start. */
  readonly settingsChanged: (error: SettingsChangedError) => void;
}

/**
 * Most turns under way at once: enough that lanes with little to do read, run and commit together,
 * in few messages and system calls.
 */
const slotsFor = (threads: number): number => Math.max(32, threads * 4);

export function createParts(options: PartsOptions): Parts {
  const { connection, deployment } = options;
  const { keys, partitions, log } = deployment;
  const lanes = (): Lane[] => [...keeper.lanes.values()];
  const lanePartitions = (): number[] => lanes().map(({ partition }) => partition);
  const doorbells = new Doorbells({
    count: connection.isCluster ? partitions : 1,
    connect: () => deployment.connect('doorbell', { blocking: true }),
    log,
  });
  const relay = new Relay({
    connection,
    keys,
    log,
    partitionCount: partitions,
    partitions: lanePartitions,
    relieved: (partition) => {
      for (const lane of lanes()) if (lane.partition === partition) lane.ring();
    },
  });
  const keeper = createKeeper(options, doorbells, relay);
  return {
    connection,
    keeper,
    doorbells,
    relay,
    upkeep: createUpkeep(options, lanes),
    scheduler: new Scheduler({ connection, keys, log, partitions: lanePartitions }),
    watch: new DeploymentWatch({
      settings: deployment.settings,
      connection: deployment.connection,
      refused: () => keeper.refused,
      probe: () => probeWrites(deployment.connection, keys),
      changed: options.settingsChanged,
    }),
    presence: new PresenceBeat({
      connection,
      keys,
      presence: presenceOf(options, monotonicMs(), lanes),
    }),
  };
}

function presenceOf(
  { pool, dispatcher, functions, deployment }: PartsOptions,
  startedMs: number,
  lanes: () => readonly Lane[],
): () => Presence {
  const version = packageVersion();
  const types = [...new Set(functions.flatMap(({ spec }) => spec.on))].slice(0, PRESENCE_TYPES);
  // Ids change where the registry had lost the schemas.
  const schemas = (): Record<string, number> =>
    Object.fromEntries(
      types.flatMap((type) => {
        const schema = deployment.schemas.get(type);
        return schema ? [[type, schema.id]] : [];
      }),
    );
  const versions = versionsOf(functions);
  return () => ({
    dispatcher,
    version,
    upMs: Math.round(monotonicMs() - startedMs),
    threads: pool.threads,
    busy: pool.busy,
    queued: pool.queued,
    lanes: lanes().length,
    rssBytes: process.memoryUsage.rss(),
    threadDeaths: pool.deaths,
    schemas: schemas(),
    functions: versions,
    work: workOf(lanes()),
  });
}

/** Returns the lanes that are not idle, those that got nothing done for longest in front. */
function workOf(lanes: readonly Lane[]): LaneWork[] {
  const now = monotonicMs();
  return lanes
    .filter(({ progress }) => progress.doing !== 'idle')
    .map(({ fn, partition, progress }) => ({
      function: fn,
      partition,
      doing: progress.doing,
      quietMs: Math.round(now - progress.last()),
    }))
    .sort((a, b) => b.quietMs - a.quietMs)
    .slice(0, PRESENCE_LANES);
}

function createKeeper(options: PartsOptions, doorbells: Doorbells, relay: Relay): LaneKeeper<Lane> {
  const { connection, deployment, functions, dispatcher } = options;
  const { keys, partitions, environment, log, tracing } = deployment;
  const byName = new Map(functions.map((info) => [info.spec.name, info]));
  const { MILLRACE_LEASE_MS: leaseTtlMs } = environment;
  const takes = Array.from(
    { length: partitions },
    () => new PartitionTakes(connection, leaseTtlMs),
  );
  const commits = takes.map(() => new PartitionCommits(connection));
  const share = shareOf(options);
  const own = { keys, environment, log, tracing, doorbells, relay, share, takes, commits };
  const parts = { ...options, ...own };
  return new LaneKeeper({
    connection,
    keys,
    partitions,
    dispatcher,
    log,
    functions: [...byName.keys()],
    leaseTtlMs,
    competing: (fn) => byName.get(fn)?.spec.ordering === 'none',
    createLane: (acquired) => createLane(parts, byName.get(acquired.fn) as FunctionInfo, acquired),
    opened: (lane) => doorbells.of(lane.partition).add(lane),
    closed: (lane) => doorbells.of(lane.partition).remove(lane),
  });
}

function shareOf({ deployment, functions }: PartsOptions): FairShare {
  const { WORKERS: threads } = deployment.environment;
  const share = new FairShare({ slots: slotsFor(threads), slowLimit: Math.max(1, threads - 1) });
  for (const { spec } of functions) share.register(spec.name);
  return share;
}

function createUpkeep(
  { connection, deployment, functions }: PartsOptions,
  lanes: () => readonly Lane[],
): Upkeep {
  const { keys, partitions, environment, log } = deployment;
  const specs = new Map(functions.map(({ spec }) => [spec.name, spec]));
  const swept = ({ fn, partition }: Lane): SweptLane => {
    const spec = specs.get(fn);
    return { fn, partition, types: spec?.on ?? [], maxDelayMs: longestDelayMs(spec) };
  };
  return new Upkeep({
    connection,
    keys,
    partitions,
    log,
    everyMs: environment.MILLRACE_UPKEEP_MS,
    lanes: () =>
      lanes()
        .filter((lane) => !lane.lost && lane.consumer === OWNER)
        .map(swept),
  });
}

/** Longest delay of a parked event, ms: until its next attempt, or because its handler runs. */
function longestDelayMs(spec: FunctionSpec | undefined): number {
  return spec ? Math.max(spec.retry.maxDelayMs, parkedForMs(spec.timeoutMs)) : 0;
}
