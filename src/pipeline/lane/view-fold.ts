/**
 * Joins the stages of a lane for what folds a view's events without a stream: load rows, run in the
 * pool, commit.
 */
import type { FunctionInfo } from '../run/describe-functions.ts';
import { STEP } from '../../core/effects.ts';
import { OWNER } from '../../core/function-spec.ts';
import type { Log } from '../../core/log.ts';
import type { ViewFold } from '../../core/view-fold.ts';
import { createBatch } from '../batch/batch.ts';
import { planCommit, sendCommit } from '../commit/commit.ts';
import type { HeldLane, LaneAddress } from '../ownership/lane-address.ts';
import { acquireLease, releaseLease, renewLeases } from '../ownership/leases.ts';
import { RowLoader, withoutRows } from '../load/load-rows.ts';
import { runIsolating, type BatchResult } from '../run/run-isolating.ts';
import type { WorkerPool } from '../run/worker-pool.ts';
import { withRetry, type RedisConnection } from '../../redis/connection.ts';
import type { Keys } from '../../redis/keys.ts';
import { PackWriter } from '../../wire/message-pack.ts';
import { readRowEffects } from '../../wire/row-effects.ts';

export interface ViewFoldLimits {
  /** Lifetime of a lease without renewal, ms. */
  readonly leaseTtlMs: number;
  /** Bounds of a batch. */
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Worker threads. */
  readonly threads: number;
  /** How long an event waits for its schema, ms. */
  readonly schemaWaitMs: number;
}

export interface ViewFoldParts {
  readonly keys: Keys;
  readonly limits: ViewFoldLimits;
  readonly log: Log;
  readonly connection: RedisConnection;
  readonly pool: WorkerPool;
  /** Of a view. */
  readonly info: FunctionInfo;
  /** Names the process in leases. */
  readonly owner: string;
  /** Ends what runs in the pool. */
  readonly cancel: AbortSignal;
}

export function createViewFold({
  keys,
  limits,
  log,
  connection,
  pool,
  info,
  owner,
  cancel,
}: ViewFoldParts): ViewFold {
  const { spec, version } = info;
  const { view } = spec;
  if (!view) throw new TypeError(`function "${spec.name}" is no view`);
  const { leaseTtlMs, schemaWaitMs } = limits;
  // Per partition, since its lease was acquired.
  const loaders = new Map<number, RowLoader>();
  const createLoader = (partition: number): RowLoader => {
    const loader = new RowLoader(connection, keys, partition, spec.name, view);
    loaders.set(partition, loader);
    return loader;
  };
  return {
    spec,
    maxEvents: limits.maxEvents,
    maxBytes: limits.maxBytes,
    parallel: limits.threads + 1,
    async fold(partition, events, fresh) {
      const read = createBatch(
        spec.name,
        partition,
        spec.on,
        [],
        events.map(({ entryId, type, bytes }) => ({
          id: entryId,
          type,
          bytes,
          n: null,
          crc: null,
          count: 1,
          gone: false,
        })),
      );
      const batch = fresh
        ? withoutRows(read)
        : await withRetry(
            () => (loaders.get(partition) ?? createLoader(partition)).load(read, false),
            { signal: cancel, deadlineMs: Infinity },
          );
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
        rows: () => rowsOf(result.effects, batch.newRows),
        async commit({ leaseValue, turn, before, cursor }) {
          const epoch = leaseValue.slice(leaseValue.lastIndexOf(':') + 1);
          const effectKeys = [...batch.effectKeys, keys.viewPass(partition, spec.name)];
          const out = new PackWriter(cursor.length + 64);
          out.text(STEP.SET);
          out.uint(2);
          out.uint(effectKeys.length);
          out.text(cursor);
          // No entry is acknowledged: what is left of a turn are its effects, under the fence of
          // the lease.
          const plan = planCommit(
            { ...createBatch(spec.name, partition, [], [], []), effectKeys },
            { ...NOTHING, effects: [...result.effects, out.finish()] },
            {
              keys,
              spec,
              partition,
              leaseValue,
              leaseTtlMs,
              turnId: `${epoch}.${turn}${before === '' ? '' : ` ${epoch}.${before}`}`,
              nowMs: 0,
              dispatcher: owner,
              version,
              parkedOf: () => 0,
              schemaWaitMs,
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
        },
      };
    },
    async acquire(partition) {
      const address: LaneAddress = { fn: spec.name, partition, consumer: OWNER };
      const got = await withRetry(
        () =>
          acquireLease(connection, keys, address, {
            dispatcher: owner,
            ttlMs: leaseTtlMs,
            purpose: 'pass',
          }),
        { signal: cancel, deadlineMs: 10_000 },
      );
      if (!('value' in got)) return null;
      const leaseValue = got.value;
      const held: HeldLane = { ...address, leaseValue };
      createLoader(partition);
      // A batch may take longer than a lease lasts. Should it get lost all the same, the commit is
      // refused.
      const timer = setInterval(() => {
        renewLeases(connection, keys, partition, [held], leaseTtlMs).catch((error: unknown) =>
          log('warn', 'a lease could not be renewed', {
            function: spec.name,
            partition,
            err: error,
          }),
        );
      }, leaseTtlMs / 3);
      return {
        leaseValue,
        async release() {
          clearInterval(timer);
          // Where it fails the lease ends by itself.
          await releaseLease(connection, keys, held).catch(() => undefined);
        },
      };
    },
  };
}

const NOTHING = { states: new Uint8Array(0), failures: [], blocked: [], deadEntries: [] } as const;

/** What stands at fault; entries stand for one event each. */
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

/** The rows that effects set, of ids whose keys have the numbers 1, 2, … */
function rowsOf(effects: readonly Uint8Array[], ids: readonly string[]): Map<string, string> {
  const rows = new Map<string, string>();
  for (const block of effects) {
    readRowEffects(block, (key, stored) => {
      const id = ids[key - 1] as string;
      if (stored === '') rows.delete(id);
      else rows.set(id, stored);
    });
  }
  return rows;
}
