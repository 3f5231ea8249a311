/**
 * Batches that go to a thread in one message, and the answer of each.
 *
 * Owned here: the batches' promises, and those of the handlers that a batch has left behind.
 */
import { createClaims, lastClaimed, revoke } from '../../core/claims.ts';
import { monotonicMs } from '../../core/clock.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { BatchAnswer, BatchReport, LateReport, Revoked } from '../../core/thread-protocol.ts';
import type { PreparedBatch } from '../batch/batch.ts';
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
  readonly prepared: PreparedBatch;
  readonly limits: RunLimits;
  readonly cancel: AbortSignal | undefined;
  readonly resolve: (result: RunResult) => void;
}

export class BatchGroup implements Occupant {
  readonly id: number;
  /** Function of the first batch: of all batches, unless all functions are quick ones. */
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
  /** See src/core/claims.ts. Null: there is one batch. */
  readonly claims: Int32Array | null;
  /** Time at which the batches were sent, by monotonicMs(). */
  readonly sentMs = monotonicMs();
  /** Null: the group waits for one. */
  thread: PoolThread | null = null;
  /** The watched cells of each batch. */
  readonly #byBatch: readonly WatchedBatch[];
  /** Batches that were answered, or taken back, before the thread has reported. */
  readonly #settled = new Set<number>();
  /** Handlers left behind, by `<batch>/<event>`. */
  readonly #stragglers = new Map<string, (ended: BatchReport | ThreadDeath) => void>();

  /** @param batches at least one */
  constructor(id: number, batches: readonly WaitingBatch[]) {
    const { prepared, limits, cancel } = batches[0] as WaitingBatch;
    this.id = id;
    this.batches = batches;
    this.limits = limits;
    this.cancel = cancel;
    this.fn = prepared.batch.fn;
    this.solo = limits.solo ?? false;
    this.concurrency = limits.concurrency ?? Infinity;
    this.events = batches.reduce((sum, one) => sum + one.prepared.batch.events, 0);
    this.#byBatch = batches.map((one) => ({
      cells: one.prepared.cells,
      timeoutMs: one.limits.timeoutMs,
      events: one.prepared.batch.events,
      stoodStillMs: 0,
    }));
    this.watched = new Set(this.#byBatch);
    this.claims = batches.length > 1 ? createClaims(batches.length) : null;
  }

  get left(): number {
    return this.#stragglers.size;
  }

  /** See Occupant. */
  leftOf(fn: string): number {
    let left = 0;
    for (const at of this.#stragglers.keys())
      if (this.batches[batchIn(at)]?.prepared.batch.fn === fn) left++;
    return left;
  }

  /** The thread has answered for each batch. */
  reported(answers: readonly BatchAnswer[]): void {
    answers.forEach((answer, i) => {
      if (this.#settled.has(i)) return;
      this.batches[i]?.resolve(this.#resultOf(i, answer as Exclude<BatchAnswer, Revoked>));
    });
  }

  /**
   * The thread is stuck in one of several batches. Answers for batches that are done, and takes
   * back those that the thread has not claimed. A done batch with effects keeps waiting: the thread
   * has its effects.
   *
   * @returns the batches taken back, and the function in which the thread is stuck
   */
  rescue(): { readonly batches: readonly WaitingBatch[]; readonly stuckIn: string } {
    const claims = this.claims as Int32Array;
    const at = Math.max(0, lastClaimed(claims));
    const back: WaitingBatch[] = [];
    this.batches.forEach((one, i) => {
      if (i === at || this.#settled.has(i)) return;
      if (i < at) {
        if (!isDone(one.prepared)) return;
        one.resolve(BARE_REPORT);
      } else if (revoke(claims, i)) back.push(one);
      else return;
      this.#settled.add(i);
      this.watched.delete(this.#byBatch[i] as WatchedBatch);
    });
    return { batches: back, stuckIn: this.batches[at]?.prepared.batch.fn ?? this.fn };
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
    for (const [at, resolve] of late) resolve(this.#deathOf(batchIn(at), error));
    if (late.size > 0) return;
    this.batches.forEach(({ resolve }, i) => {
      if (!this.#settled.has(i)) resolve(this.#deathOf(i, error));
    });
  }

  #resultOf(batch: number, report: Exclude<BatchAnswer, Revoked>): RunResult {
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

/** Index of the batch in `<batch>/<event>`. */
const batchIn = (at: string): number => Number(at.slice(0, at.indexOf('/')));

/** Report of a batch whose events are all done, without effects. */
export const BARE_REPORT: BatchReport = {
  kind: 'report',
  failures: [],
  blocked: [],
  deadEntries: [],
  effects: null,
  ages: [],
  busyMs: 0,
};

function isDone({ batch, cells }: PreparedBatch): boolean {
  for (let i = 0; i < batch.events; i++)
    if (cells.states[i] !== CELL.DONE && cells.states[i] !== CELL.SKIP) return false;
  return true;
}
