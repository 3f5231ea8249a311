/**
 * Folds events of a view that come from histories, not from a stream. It joins three stages of a
 * lane: load rows, run in the pool, commit.
 */
import type { FunctionInfo } from '../run/describe-functions.ts';
import { STEP } from '../../core/effects.ts';
import { OWNER, type FunctionSpec } from '../../core/function-spec.ts';
import type { Log } from '../../core/log.ts';
import type { FoldEvent, Folded, PassTurn, ViewFold } from '../../core/view-fold.ts';
import type { ViewSpec } from '../../core/view-spec.ts';
import { turnIdOf, withLastTurn } from '../../core/turn-id.ts';
import { createBatch, type Batch } from '../batch/batch.ts';
import { sendCommit } from '../commit/commit.ts';
import { planCommit } from '../commit/plan-commit.ts';
import type { HeldLane, LaneAddress } from '../ownership/lane-address.ts';
import { claimLease, releaseLease, renewLeases } from '../ownership/leases.ts';
import { RowLoader, withRows } from '../load/load-rows.ts';
import { runIsolating } from '../run/run-isolating.ts';
import type { BatchResult } from '../run/batch-result.ts';
import type { WorkerPool } from '../run/worker-pool.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry } from '../../redis/retry.ts';
import type { Keys } from '../../redis/keys.ts';
import { PackWriter } from '../../wire/message-pack.ts';
import { readRowEffects } from '../../wire/row-effects.ts';

export interface ViewFoldLimits {
  /** Lifetime of a lease without renewal, ms. */
  readonly leaseTtlMs: number;
  /** Most events of a batch. */
  readonly maxEvents: number;
  /** Most bytes of a batch. */
  readonly maxBytes: number;
  /** Worker threads. */
  readonly threads: number;
  /** Longest time that an event waits for its schema, ms. */
  readonly schemaWaitMs: number;
}

export interface ViewFoldParts {
  readonly keys: Keys;
  readonly limits: ViewFoldLimits;
  readonly log: Log;
  readonly connection: RedisConnection;
  readonly pool: WorkerPool;
  /** The view's function. */
  readonly info: FunctionInfo;
  /** Names the process in leases. */
  readonly owner: string;
  /** Ends the batches that run in the pool. */
  readonly cancel: AbortSignal;
}

/** @throws TypeError for a function without a view */
export function createViewFold(parts: ViewFoldParts): ViewFold {
  const { spec } = parts.info;
  if (!spec.view) throw new TypeError(`function "${spec.name}" is no view`);
  return new PoolViewFold(parts, spec.view);
}

/** See ViewFold.fold. */
type Onto = 'stored' | ReadonlyMap<string, string>;

const NO_ROWS: ReadonlyMap<string, string> = new Map();

class PoolViewFold implements ViewFold {
  readonly spec: FunctionSpec;
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly parallel: number;
  readonly #parts: ViewFoldParts;
  readonly #view: ViewSpec;
  /** Loaders by partition. Each acquisition of the partition's lease makes a new one. */
  readonly #loaders = new Map<number, RowLoader>();

  constructor(parts: ViewFoldParts, view: ViewSpec) {
    this.#parts = parts;
    this.#view = view;
    this.spec = parts.info.spec;
    this.maxEvents = parts.limits.maxEvents;
    this.maxBytes = parts.limits.maxBytes;
    this.parallel = parts.limits.threads + 1;
  }

  async fold(partition: number, events: readonly FoldEvent[], onto: Onto): Promise<Folded> {
    const { spec } = this;
    const { pool, cancel } = this.#parts;
    const batch = await this.#batchOf(partition, events, onto);
    const result = await runIsolating({ pool, batch, spec, cancel });
    if (result.kind === 'stopped') return result;
    if (result.kind === 'setup-failed')
      throw new Error(
        `setup of view "${spec.name}" failed: ${result.error.name}: ${result.error.message}`,
      );
    const failed = firstFailure(result);
    if (failed) return failed;
    return {
      kind: 'folded',
      rowBytes:
        (batch.rows?.length ?? 0) + result.effects.reduce((sum, block) => sum + block.length, 0),
      rows: () => rowsOf(result.effects, batch.newRows, onto === 'stored' ? NO_ROWS : onto),
      commit: (turn) => this.#commit(batch, result, turn),
    };
  }

  async #batchOf(partition: number, events: readonly FoldEvent[], onto: Onto): Promise<Batch> {
    const entries = events.map(({ entryId, type, bytes }) => ({
      id: entryId,
      type,
      bytes,
      n: null,
      crc: null,
      count: 1,
      gone: false,
    }));
    const read = createBatch(this.spec.name, partition, this.spec.on, [], entries);
    if (onto !== 'stored') return withRows(read, onto);
    return withRetry(
      () => (this.#loaders.get(partition) ?? this.#createLoader(partition)).load(read, false),
      { signal: this.#parts.cancel, deadlineMs: Infinity },
    );
  }

  /** Writes the effects of a turn under the fence of the lease. Acknowledges no entry. */
  async #commit(batch: Batch, result: BatchResult, turn: PassTurn): Promise<'ok' | 'stale'> {
    const { spec } = this;
    const { keys, limits, owner, info, connection, cancel } = this.#parts;
    const { partition } = batch;
    const last = turn.turn === 1 ? '' : turnIdOf(turn.leaseValue, turn.turn - 1);
    const effectKeys = [...batch.effectKeys, keys.viewPass(partition, spec.name)];
    const out = new PackWriter(turn.cursor.length + 64);
    out.text(STEP.SET);
    out.uint(2);
    out.uint(effectKeys.length);
    out.text(turn.cursor);
    const plan = planCommit(
      { ...createBatch(spec.name, partition, [], [], []), effectKeys },
      { ...NOTHING, effects: [...result.effects, out.finish()] },
      {
        keys,
        spec,
        partition,
        leaseValue: turn.leaseValue,
        leaseTtlMs: limits.leaseTtlMs,
        turnId: withLastTurn(turnIdOf(turn.leaseValue, turn.turn), last),
        nowMs: 0,
        dispatcher: owner,
        version: info.version,
        parkedOf: () => 0,
        schemaWaitMs: limits.schemaWaitMs,
      },
    );
    const reply = await withRetry(() => sendCommit(connection, plan), {
      signal: cancel,
      deadlineMs: Infinity,
      minDelayMs: 20,
      maxDelayMs: 1000,
      refusedWrites: 'retry',
    });
    return reply.kind === 'ok' ? 'ok' : 'stale';
  }

  async acquire(
    partition: number,
  ): Promise<{ readonly leaseValue: string; release(): Promise<void> } | null> {
    const { connection, keys, owner, cancel, log } = this.#parts;
    const { leaseTtlMs } = this.#parts.limits;
    const address: LaneAddress = { fn: this.spec.name, partition, consumer: OWNER };
    const got = await claimLease(
      connection,
      keys,
      address,
      { dispatcher: owner, ttlMs: leaseTtlMs, purpose: 'pass' },
      cancel,
    );
    if (!('value' in got)) return null;
    const held: HeldLane = { ...address, leaseValue: got.value };
    this.#createLoader(partition);
    // A batch may take longer than a lease lasts, so the lease is renewed. Where it is lost all the
    // same, the commit is refused.
    const timer = setInterval(() => {
      renewLeases(connection, keys, partition, [held], leaseTtlMs).catch((error: unknown) =>
        log('warn', 'a lease could not be renewed', {
          function: this.spec.name,
          partition,
          err: error,
        }),
      );
    }, leaseTtlMs / 3);
    return {
      leaseValue: got.value,
      async release() {
        clearInterval(timer);
        // The lease ends by itself where the release fails.
        await releaseLease(connection, keys, held).catch(() => undefined);
      },
    };
  }

  #createLoader(partition: number): RowLoader {
    const { connection, keys } = this.#parts;
    const loader = new RowLoader(connection, keys, partition, this.spec.name, this.#view);
    this.#loaders.set(partition, loader);
    return loader;
  }
}

const NOTHING = { states: new Uint8Array(0), failures: [], blocked: [], deadEntries: [] } as const;

/** The first event that cannot be folded. Each entry has one event. */
function firstFailure(
  result: BatchResult,
): { kind: 'failed'; event: number; name: string; message: string } | null {
  const failures = [
    ...result.failures.map(({ ref, error }) => ({
      kind: 'failed' as const,
      event: ref.entry,
      name: error.name,
      message: error.message,
    })),
    ...result.deadEntries.map(({ entry, message }) => ({
      kind: 'failed' as const,
      event: entry,
      name: 'CorruptDataError',
      message,
    })),
  ];
  return failures.sort((a, b) => a.event - b.event)[0] ?? null;
}

/**
 * The rows, with the effects on them. `newRows`: the ids of the keys that follow those of the rows.
 */
function rowsOf(
  effects: readonly Uint8Array[],
  newRows: readonly string[],
  before: ReadonlyMap<string, string>,
): Map<string, string> {
  const ids = [...before.keys(), ...newRows];
  const rows = new Map(before);
  for (const block of effects) {
    readRowEffects(block, (key, stored) => {
      const id = ids[key - 1] as string;
      if (stored === '') rows.delete(id);
      else rows.set(id, stored);
    });
  }
  return rows;
}
