/**
 * Batches of one function that go to a thread in one message, and the answer of each.
 *
 * Owned here: the batches' promises, and those of the handlers that a batch has left behind.
 */
import type { BatchReport, LateReport, SetupFailed } from '../../core/thread-protocol.ts';
import type { PackedTask } from '../batch/batch.ts';
import { deathCause } from './death-cause.ts';
import type { Occupant, PoolThread, WatchedBatch } from './pool-threads.ts';
import {
  TIMEOUT_GRACE_MS,
  type RunLimits,
  type RunResult,
  type Straggler,
  type ThreadDeath,
} from './thread-run.ts';

/** A batch that has no thread yet. */
export interface WaitingBatch {
  readonly packed: PackedTask;
  readonly limits: RunLimits;
  readonly cancel: AbortSignal | undefined;
  readonly resolve: (result: RunResult) => void;
}

export class BatchGroup implements Occupant {
  readonly id: number;
  readonly fn: string;
  readonly solo: boolean;
  readonly concurrency: number;
  /** Events of all batches. */
  readonly events: number;
  readonly batches: readonly WaitingBatch[];
  /** Limits of the first batch, which hold for all. */
  readonly limits: RunLimits;
  readonly cancel: AbortSignal | undefined;
  readonly watched: Set<WatchedBatch>;
  readonly abort = new AbortController();
  /** Null: the group waits for one. */
  thread: PoolThread | null = null;
  /** The watched cells of each batch. */
  readonly #byBatch: readonly WatchedBatch[];
  /** Handlers left behind, by `<batch>/<event>`. */
  readonly #stragglers = new Map<string, (ended: BatchReport | ThreadDeath) => void>();

  /** @param batches of one function; at least one */
  constructor(id: number, batches: readonly WaitingBatch[]) {
    const { packed, limits, cancel } = batches[0] as WaitingBatch;
    this.id = id;
    this.batches = batches;
    this.limits = limits;
    this.cancel = cancel;
    this.fn = packed.task.fn;
    this.solo = limits.solo ?? false;
    this.concurrency = limits.concurrency ?? Infinity;
    this.events = batches.reduce((sum, one) => sum + one.packed.task.events, 0);
    this.#byBatch = batches.map((one) => ({
      cells: one.packed.cells,
      timeoutMs: one.limits.timeoutMs,
      events: one.packed.task.events,
      stoodStillMs: 0,
    }));
    this.watched = new Set(this.#byBatch);
  }

  get left(): number {
    return this.#stragglers.size;
  }

  /** The thread has reported each batch. */
  reported(reports: readonly (BatchReport | SetupFailed)[]): void {
    this.batches.forEach(({ resolve }, i) =>
      resolve(this.#resultOf(i, reports[i] as BatchReport | SetupFailed)),
    );
  }

  /** The thread has reported handlers that were left behind. */
  ended(late: readonly LateReport[]): void {
    for (const { batch, index, report } of late) {
      const at = `${batch}/${index}`;
      this.#stragglers.get(at)?.(report);
      this.#stragglers.delete(at);
    }
  }

  /** The thread has died: answers for every batch, or handler, without an answer. */
  died(error: unknown): void {
    const late = new Map(this.#stragglers);
    this.#stragglers.clear();
    for (const [at, resolve] of late)
      resolve(this.#deathOf(Number(at.slice(0, at.indexOf('/'))), error));
    if (late.size === 0) this.batches.forEach(({ resolve }, i) => resolve(this.#deathOf(i, error)));
  }

  #resultOf(batch: number, report: BatchReport | SetupFailed): RunResult {
    if (report.kind !== 'report' || !report.running) {
      this.watched.delete(this.#byBatch[batch] as WatchedBatch);
      return report;
    }
    const stragglers = report.running.map((ref): Straggler => ({
      ref,
      ended: new Promise((resolve) => this.#stragglers.set(`${batch}/${ref.index}`, resolve)),
    }));
    return { ...report, stragglers };
  }

  #deathOf(batch: number, error: unknown): ThreadDeath {
    const { thread, abort } = this;
    const own = this.#byBatch[batch] as WatchedBatch;
    const death = {
      kind: 'death',
      stoodStillMs: own.stoodStillMs,
      shared: false,
      innocent: false,
    } as const;
    if (this.cancel?.aborted) return { ...death, cause: 'stopped', timeout: false, alive: true };
    if (thread === null)
      return { ...death, cause: deathCause(error), timeout: abort.signal.aborted, alive: false };
    const { running, late } = thread.autopsy(TIMEOUT_GRACE_MS);
    let [others, othersLate] = [0, 0];
    for (const [one, count] of running) if (one !== own) others += count;
    for (const [one, count] of late) if (one !== own) othersLate += count;
    const { overrun } = thread;
    const alive = overrun?.alive ?? false;
    return {
      ...death,
      alive,
      timeout: overrun !== null,
      shared: others > 0,
      sole: others === 0 && running.get(own) === 1,
      innocent: alive && othersLate > 0 && (late.get(own) ?? 0) === 0,
      cause: overrun
        ? `not settled ${TIMEOUT_GRACE_MS} ms after its timeoutMs of ${overrun.of.timeoutMs}`
        : deathCause(error),
    };
  }
}
