/**
 * The stages of a lane's turns. They are put together here: each stage gets the parts of the
 * process and of the lane that it needs.
 *
 * A lane knows its stages only. So tests and injected faults can stand between a lane and its
 * stages.
 */
import type { SetupFailed } from '../../core/thread-protocol.ts';
import type { OutboxSize } from '../../core/emitted.ts';
import { laneName, type FunctionSpec } from '../../core/function-spec.ts';
import type { Log } from '../../core/log.ts';
import { KEEP_SETUP_FAILURE_MS, type SetupFailure } from '../../core/setup-failure.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry } from '../../redis/retry.ts';
import type { Keys } from '../../redis/keys.ts';
import type { Batch, RetryUnit } from '../batch/batch.ts';
import type { FairShare } from '../batch/fair-share.ts';
import { planCommit } from '../commit/plan-commit.ts';
import type { CommitReply, PartitionCommits } from '../commit/commit.ts';
import type { CommitContext, CommitPlan, FailedAttempt } from '../commit/commit-plan.ts';
import { lookUp, type Seen } from '../inbox/inbox.ts';
import { RowLoader } from '../load/load-rows.ts';
import { CrashSearch } from '../ownership/crash-search.ts';
import type { AcquiredLane } from '../ownership/lane-keeper.ts';
import { renewLeases, retireHelper } from '../ownership/leases.ts';
import { LaneReader } from '../read/lane-reader.ts';
import type { PartitionTakes } from '../read/partition-takes.ts';
import { fetchParked, listParked } from '../retry/parked-lists.ts';
import { setKeyAside, type ParkedPlace } from '../retry/set-aside.ts';
import { runIsolating, type RunCall } from '../run/run-isolating.ts';
import type { BatchResult } from '../run/batch-result.ts';
import type { WorkerPool } from '../run/worker-pool.ts';
import type { FailedTurn } from './failure-log.ts';
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
  /** Events of the batch. */
  readonly events: number;
  readonly bytes: number;
  /** Time of the commit, with its attempts, ms. */
  readonly commitMs: number;
  /** Time that the batch waited for a thread, ms. Null: its handlers ran beside the turns. */
  readonly waitMs: number | null;
  /**
   * Events by the time that they were in their stream before the turn took them: pairs of ms,
   * count. A batch with many entries is told by some of them.
   */
  readonly queued: readonly number[];
}

/** A loss that a lane has found. */
export interface LaneLoss {
  /**
   * `pending` and `acknowledgement`: the step in which entries were missing. `commit`: the lane's
   * last commit or one of its records is gone.
   */
  readonly kind: 'pending' | 'acknowledgement' | 'commit';
  /** Entry ids, in order. None with `commit`. */
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

/** Neighbours of a lane: the parts that it tells or asks outside its own turns. */
export interface LaneNeighbours {
  /** Told, best effort, of losses. */
  readonly lost: (loss: LaneLoss) => void;
  /**
   * Says whether the partition's outbox is full, so that no event may be emitted to other
   * partitions. The lane is rung once the outbox has room.
   */
  readonly outboxFull: () => boolean;
  /** Told that events were emitted to other partitions. Null: the outbox's size is not known. */
  readonly relay: (size: OutboxSize | null) => void;
  /** Recreates a lost consumer group. */
  readonly register: () => Promise<void>;
  /** Told that the lane waits for work. */
  readonly idle: () => void;
  readonly turnDone: (turn: TurnDone) => void;
  /**
   * Told the number of events that were done and run again all the same. Their lane was lost before
   * the commit, or the commit's outcome is not known.
   */
  readonly repeats: (events: number) => void;
  /** Told of failed attempts, once their failure is committed. */
  readonly failed: (failures: readonly FailedAttempt[]) => void;
  /** Told of a turn that failed and is tried again. */
  readonly turnFailed: (turn: FailedTurn) => void;
}

/** The stages and neighbours of one lane. */
export interface LaneStages extends LaneNeighbours {
  readonly reader: Pick<LaneReader, 'take' | 'reset' | 'pendingLeft' | 'drained'>;
  readonly share: Pick<FairShare, 'acquire'>;
  /** Reads the records of parked lists whose retry is due. */
  readonly fetchParked: (units: readonly string[]) => Promise<RetryUnit[]>;
  /** Counts the events of each parked list. */
  readonly listParked: () => Promise<ReadonlyMap<string, number>>;
  /** Adds the current rows to a view's batch. `anew`: Redis went back in time; ignore the cache. */
  readonly load: (batch: Batch, anew: boolean) => Promise<Batch>;
  /** Begins the search for an event that kills dispatchers. Asked once, before the first turn. */
  readonly beginSearch: () => Promise<CrashSearch | null | 'stale'>;
  /**
   * Asks the inbox of a function with `dedupe`. With ordering 'none' a copy of an event in
   * `running` (ids) waits behind that event.
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
  /** Sends the commit until Redis has answered. Rejects when the signal aborts. */
  readonly commit: (plan: CommitPlan, signal: AbortSignal) => Promise<CommitReply>;
  /** Makes the slow events of earlier owners due. Null: the lease is lost. */
  readonly releaseRunning: () => Promise<number | null>;
  /**
   * Asks whether the lane is still held. Takes a lease that has ended again, where nobody has had
   * the lane since.
   */
  readonly stillOurs: () => Promise<boolean>;
  /** Removes a helper's consumer. @returns false: entries are pending for it */
  readonly retire: () => Promise<boolean>;
  /** Told, best effort, that the function's setup fails. Null: it works again. */
  readonly setupFailing: (failure: SetupFailure | null) => void;
  readonly log: Log;
}

/** Parts of the process that all its lanes share. */
export interface LaneParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly pool: WorkerPool;
  readonly share: FairShare;
  /** Shared with the other lanes of the partition. */
  readonly takes: PartitionTakes;
  readonly commits: PartitionCommits;
  /** Names this process in leases and dead letters. */
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
  /** Version of the function's code, for dead letters. */
  readonly version: string;
  readonly lane: AcquiredLane;
  /** Told the last id read of a stream. */
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
    run: (batch, { blocked, search, control, before }) =>
      runIsolating({
        search,
        control,
        before,
        pool: parts.pool,
        batch,
        spec,
        blockedSubjects: blocked,
        cancel: parts.cancelRuns,
        detach: true,
      }),
    plan: (batch, result, context) =>
      planCommit(batch, result, {
        // Copied one by one: a spread costs more than the plan of a small turn.
        leaseValue: context.leaseValue,
        turnId: context.turnId,
        nowMs: context.nowMs,
        parkedOf: context.parkedOf,
        isLeft: context.isLeft,
        inFlight: context.inFlight,
        running: context.running,
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
      withRetry(() => parts.commits.send(plan, (unit) => setKeyAside(place, unit)), {
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

function createReader({ keys, takes }: LaneParts, { spec, lane, observed }: LaneFacts): LaneReader {
  const { fn, partition, consumer, heir } = lane;
  return new LaneReader({
    takes,
    fn,
    consumer,
    pendingOnly: heir,
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

/** Writes down in Redis that the function's setup fails, for `explain` and others. Best effort. */
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
