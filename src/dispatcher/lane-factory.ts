/** Puts a lane together: its stages, its settings, and its neighbours in the dispatcher. */
import type { Environment } from '../config.ts';
import type { Log } from '../core/log.ts';
import type { Tracing } from '../core/tracing.ts';
import type { FairShare } from '../pipeline/batch/fair-share.ts';
import type { FailureLog } from '../pipeline/lane/failure-log.ts';
import { FailureTraces } from '../pipeline/lane/failure-traces.ts';
import { Lane } from '../pipeline/lane/lane.ts';
import { createStages, type LaneStages, type TurnDone } from '../pipeline/lane/lane-stages.ts';
import type { PartitionCommits } from '../pipeline/commit/commit.ts';
import type { PartitionTakes } from '../pipeline/read/partition-takes.ts';
import type { AcquiredLane } from '../pipeline/ownership/lane-keeper.ts';
import type { FunctionInfo } from '../pipeline/run/describe-functions.ts';
import type { WorkerPool } from '../pipeline/run/worker-pool.ts';
import type { Relay } from '../outbox/relay.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import type { Doorbells } from './doorbells.ts';
import { traceCommits } from './trace-commits.ts';
import type { Registration } from './registration.ts';

/** Longest time between two looks of a lane for work, ms. */
const POLL_MS = 5000;
/** Time for which a batch should keep a thread, ms. */
const BATCH_MS = 100;

/** Gets between a lane and its stages, once when the lane is opened. */
export type AroundStages = (
  stages: LaneStages,
  lane: { readonly fn: string; readonly partition: number; readonly leaseValue: string },
) => LaneStages;

/** Parts of the dispatcher that its lanes share. */
export interface LaneFactoryParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly environment: Environment;
  /** Names the process in leases and dead letters. */
  readonly dispatcher: string;
  readonly pool: WorkerPool;
  readonly share: FairShare;
  /** By partition. */
  readonly takes: readonly PartitionTakes[];
  /** By partition. */
  readonly commits: readonly PartitionCommits[];
  readonly doorbells: Doorbells;
  readonly registration: Registration;
  readonly relay: Relay;
  readonly failures: FailureLog;
  /** Aborts when the dispatcher ends its threads. */
  readonly cancelRuns: AbortSignal;
  readonly turnDone: (turn: TurnDone) => void;
  /** Told the number of events that were done here and run again all the same. */
  readonly repeats: (events: number) => void;
  /** For fault injection. */
  readonly aroundStages: AroundStages;
  /** Null: OpenTelemetry's API is not installed. */
  readonly tracing: Tracing | null;
  readonly log: Log;
}

export function createLane(
  parts: LaneFactoryParts,
  info: FunctionInfo,
  acquired: AcquiredLane,
): Lane {
  const { connection, keys, environment, registration, relay, failures } = parts;
  const { fn, partition, leaseValue } = acquired;
  const { spec, version } = info;
  const doorbell = parts.doorbells.of(partition);
  const traces = new FailureTraces();
  const created = createStages(
    {
      connection,
      keys,
      pool: parts.pool,
      share: parts.share,
      takes: parts.takes[partition] as PartitionTakes,
      commits: parts.commits[partition] as PartitionCommits,
      dispatcher: parts.dispatcher,
      leaseTtlMs: environment.MILLRACE_LEASE_MS,
      schemaWaitMs: environment.MILLRACE_SCHEMA_WAIT_MS,
      cancelRuns: parts.cancelRuns,
      log: parts.log,
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
      turnDone: parts.turnDone,
      repeats: parts.repeats,
      failed: (failed) =>
        failures.failed(
          { fn, partition, attempts: spec.retry.attempts, traceOf: traces.of },
          failed,
        ),
      turnFailed: (turn) => failures.turnFailed(fn, partition, turn),
    },
  );
  const stages = traces.around(created);
  const { tracing, dispatcher } = parts;
  const traced = tracing
    ? traceCommits(stages, tracing, { fn, partition, types: spec.on, dispatcher })
    : stages;
  const lane: Lane = new Lane(
    {
      ...acquired,
      spec,
      streamKeys: spec.on.map((type) => keys.events(partition, type)),
      leaseTtlMs: environment.MILLRACE_LEASE_MS,
      batchBytes: environment.MILLRACE_BATCH_BYTES,
      batchEvents: environment.MILLRACE_BATCH_EVENTS,
      batchMs: BATCH_MS,
      pollMs: POLL_MS,
    },
    parts.aroundStages(traced, { fn, partition, leaseValue }),
  );
  return lane;
}
