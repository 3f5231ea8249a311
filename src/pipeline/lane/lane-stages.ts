/**
 * The stages of a lane's turns, and their putting together: each stage gets its share of the
 * process and of its lane here. A lane knows its stages only; so tests and injected faults can
 * stand between both.
 */
import type { SetupFailed } from '../../core/thread-protocol.ts';
import type { OutboxSize } from '../../core/emitted.ts';
import { laneName, type FunctionSpec } from '../../core/function-spec.ts';
import type { Log } from '../../core/log.ts';
import { KEEP_SETUP_FAILURE_MS, type SetupFailure } from '../../core/setup-failure.ts';
import { withRetry, type RedisConnection } from '../../redis/connection.ts';
import type { Keys } from '../../redis/keys.ts';
import type { Batch, RetryUnit } from '../batch/batch.ts';
import type { FairShare } from '../batch/fair-share.ts';
import {
  planCommit,
  sendCommit,
  type CommitContext,
  type CommitPlan,
  type CommitReply,
  type FailedAttempt,
} from '../commit/commit.ts';
import { lookUp, type Seen } from '../inbox/inbox.ts';
import { RowLoader } from '../load/load-rows.ts';
import { CrashSearch } from '../ownership/crash-search.ts';
import type { AcquiredLane } from '../ownership/lane-keeper.ts';
import { renewLeases, retireHelper } from '../ownership/leases.ts';
import { LaneReader } from '../read/lane-reader.ts';
import { fetchParked, listParked } from '../retry/parked-lists.ts';
import { setKeyAside, type ParkedPlace } from '../retry/set-aside.ts';
import { runIsolating, type BatchResult, type RunCall } from '../run/run-isolating.ts';
import type { WorkerPool } from '../run/worker-pool.ts';
import { releaseRunning, type SettledBatch } from './in-flight.ts';

/** Outcome of a committed turn, for metrics. */
export interface TurnDone {
  readonly fn: string;
  readonly partition: number;
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  readonly entries: number;
  /** Completed events by age at the commit: pairs of ms, count. */
  readonly ages: readonly number[];
  readonly busyMs: number;
}

/** Entries that should have been there. */
export interface LaneLoss {
  readonly kind: 'pending' | 'acknowledgement';
  /** In order. */
  readonly entryIds: readonly string[];
}

/** Circumstances of a batch's run. */
export interface RunWith {
  /** Subjects whose stream events wait behind parked ones. */
  readonly blocked: readonly string[];
  /** Null: no dispatcher has died of the batch's events. */
  readonly search: CrashSearch | null;
  readonly control: NonNullable<RunCall['control']>;
  /** The inbox's states: SKIP is not run. Null: all events are run. */
  readonly before: Uint8Array | null;
}

/** Neighbours of a lane: all that it tells or asks outside its own turns. */
export interface LaneNeighbours {
  /** Told, best effort, of entries that were found missing. */
  readonly lost: (loss: LaneLoss) => void;
  /**
   * Says that the partition's outbox is full: nothing more is to be emitted to other partitions.
   * The lane is rung once there is room.
   */
  readonly outboxFull: () => boolean;
  /** Told that events were emitted to other partitions. Null: the outbox's size is not known. */
  readonly relay: (size: OutboxSize | null) => void;
  /** Recreates a lost group. */
  readonly register: () => Promise<void>;
  readonly idle: () => void;
  readonly turnDone: (turn: TurnDone) => void;
  /**
   * Told of events that were done, and run again all the same: the lane was lost before their
   * commit, or Redis could not be asked.
   */
  readonly repeats: (events: number) => void;
  /** Told of attempts that failed, once their failure is committed. */
  readonly failed: (failures: readonly FailedAttempt[]) => void;
}

/** The stages and neighbours of one lane. */
export interface LaneStages extends LaneNeighbours {
  readonly reader: Pick<LaneReader, 'take' | 'reset' | 'pendingLeft' | 'drained'>;
  readonly share: Pick<FairShare, 'acquire'>;
  /** Reads the records of parked lists whose retry is due. */
  readonly fetchParked: (units: readonly string[]) => Promise<RetryUnit[]>;
  /** Counts the events of each parked list. */
  readonly listParked: () => Promise<ReadonlyMap<string, number>>;
  /** Adds the current rows to a view's batch. `anew`: Redis went back; ignore cached rows. */
  readonly load: (batch: Batch, anew: boolean) => Promise<Batch>;
  /** Asked once, before the first turn. */
  readonly beginSearch: () => Promise<CrashSearch | null | 'stale'>;
  /**
   * The inbox, of a function with `dedupe`. Without order, a copy of an event in `running` (ids)
   * waits behind that one.
   */
  readonly lookUp: (batch: Batch, running: readonly string[]) => Promise<Seen>;
  readonly run: (
    batch: Batch,
    how: RunWith,
  ) => Promise<BatchResult | SetupFailed | { kind: 'stopped' }>;
  readonly plan: (
    batch: Batch,
    result: SettledBatch,
    context: Pick<
      CommitContext,
      'leaseValue' | 'turnId' | 'nowMs' | 'parkedOf' | 'isLeft' | 'running' | 'inFlight'
    >,
  ) => CommitPlan;
  /** Sends until Redis has answered; rejects when the signal aborts. */
  readonly commit: (plan: CommitPlan, signal: AbortSignal) => Promise<CommitReply>;
  /** Makes due all that ran beside the turns of owners before this one. Null: the lease is lost. */
  readonly releaseRunning: () => Promise<number | null>;
  /**
   * Asks whether the lane is still held. Takes a lease again that has ended where nobody has had
   * the lane since.
   */
  readonly stillOurs: () => Promise<boolean>;
  /** Takes a helper's consumer away. @returns false: entries are pending for it */
  readonly retire: () => Promise<boolean>;
  /** Told, best effort, that the function's setup fails; null: it works again. */
  readonly setupFailing: (failure: SetupFailure | null) => void;
  readonly log: Log;
}

/** Parts of the process that all its lanes share. */
export interface LaneParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly pool: WorkerPool;
  readonly share: FairShare;
  /** This process, in leases and dead letters. */
  readonly dispatcher: string;
  readonly leaseTtlMs: number;
  readonly schemaWaitMs: number;
  /** Aborts when the dispatcher ends its threads. */
  readonly cancelRuns: AbortSignal;
  readonly log: Log;
}

/** The lane that the stages are put together for. */
export interface LaneFacts {
  readonly spec: FunctionSpec;
  /** Of the function's code, for dead letters. */
  readonly version: string;
  readonly lane: AcquiredLane;
  /** Told how far a stream was read. */
  readonly observed: (streamKey: string, lastId: string) => void;
}

export function createStages(
  parts: LaneParts,
  facts: LaneFacts,
  neighbours: LaneNeighbours,
): LaneStages {
  const { connection, keys, share, leaseTtlMs, log } = parts;
  const { spec, lane } = facts;
  const { fn, partition } = lane;
  const { ordering } = spec;
  const place = parkedPlaceOf(parts, facts);
  const rows = spec.view && new RowLoader(connection, keys, partition, fn, spec.view);
  return {
    ...neighbours,
    reader: createReader(parts, facts),
    share,
    fetchParked: (units) => fetchParked(place, units),
    listParked: () => listParked(connection, keys, partition, fn),
    load: (batch, anew) => rows?.load(batch, anew) ?? Promise.resolve(batch),
    beginSearch: () => CrashSearch.begin({ ...lane, connection, keys, types: spec.on, leaseTtlMs }),
    lookUp: (batch, running) =>
      lookUp(batch, { connection, keys, fn, partition, ordering, running }),
    run: (batch, { blocked, ...how }) =>
      runIsolating({
        ...how,
        pool: parts.pool,
        batch,
        spec,
        blockedSubjects: blocked,
        cancel: parts.cancelRuns,
        detach: true,
      }),
    plan: (batch, result, context) =>
      planCommit(batch, result, {
        ...context,
        consumer: lane.consumer,
        keys,
        spec,
        partition,
        leaseTtlMs,
        dispatcher: parts.dispatcher,
        version: facts.version,
        schemaWaitMs: parts.schemaWaitMs,
      }),
    commit: (plan, signal) =>
      withRetry(() => sendCommit(connection, plan, (unit) => setKeyAside(place, unit)), {
        signal,
        deadlineMs: Infinity,
        minDelayMs: 20,
        maxDelayMs: 1000,
        refusedWrites: 'retry',
      }),
    releaseRunning: () => releaseRunning({ ...lane, connection, keys, leaseTtlMs }),
    async stillOurs() {
      const { lanes } = await renewLeases(connection, keys, partition, [lane], leaseTtlMs);
      return lanes[0]?.held ?? false;
    },
    retire: () =>
      withRetry(() => retireHelper(connection, keys, lane, spec.on), { deadlineMs: leaseTtlMs }),
    setupFailing: (failure) => noteSetupFailure(parts, lane, failure),
    log,
  };
}

function createReader(
  { connection, keys, leaseTtlMs }: LaneParts,
  { spec, lane, observed }: LaneFacts,
): LaneReader {
  const { fn, partition, consumer, heir } = lane;
  return new LaneReader({
    connection,
    fn,
    consumer,
    pendingOnly: heir,
    leaseTtlMs,
    streamKeys: spec.on.map((type) => keys.events(partition, type)),
    leaseKey: keys.lease(partition, laneName(fn, consumer)),
    dueKey: keys.due(partition, fn),
    observed,
  });
}

function parkedPlaceOf(
  { connection, keys, dispatcher, log }: LaneParts,
  { spec, version, lane: { fn, partition, leaseValue } }: LaneFacts,
): ParkedPlace {
  return {
    connection,
    keys,
    partition,
    leaseValue,
    version,
    log,
    fn,
    types: spec.on,
    ordering: spec.ordering,
    holds: spec.onDead === 'hold',
    dispatcher,
  };
}

/** Writes down why nothing of a function runs, for whoever asks. Best effort. */
function noteSetupFailure(
  { connection, keys }: LaneParts,
  { fn, partition }: AcquiredLane,
  failure: SetupFailure | null,
): void {
  const key = keys.setupFailure(partition, fn);
  const said = failure
    ? connection.command('SET', key, JSON.stringify(failure), 'PX', KEEP_SETUP_FAILURE_MS)
    : connection.command('DEL', key);
  said.catch(() => undefined);
}
