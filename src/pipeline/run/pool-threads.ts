/**
 * The state of the pool's threads: the batch that has a thread, and the handlers that still run in
 * it behind their batch's report. When a thread dies, its state says what ran in it.
 *
 * A thread has one batch at a time. Handlers that are left behind only wait (their thread's event
 * loop is free), so that the next batch joins them there. An event that is to run by itself gets a
 * thread without such handlers. A thread is emptied for it.
 */
import type { Piscina } from 'piscina';
import { monotonicMs } from '../../core/clock.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';

export type LoadBalancer = NonNullable<
  NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']
>;
type PiscinaWorker = Parameters<LoadBalancer>[1][number];

/** The cells of a batch that is, or may be, running. */
export interface WatchedBatch {
  readonly cells: ProgressCells;
  readonly timeoutMs: number;
  readonly events: number;
  /** Time for which the process stood still while the batch ran, ms. */
  stoodStillMs: number;
}

/** Batches of one function that went to a thread in one message. */
export interface Occupant {
  readonly fn: string;
  readonly solo: boolean;
  /** Most handlers of the function in one thread. */
  readonly concurrency: number;
  /** Its batches with running handlers. */
  readonly watched: ReadonlySet<WatchedBatch>;
  /** Number of handlers that its batches have left behind. */
  readonly left: number;
  /** Those of one function. */
  leftOf(fn: string): number;
}

/** The handlers of a thread that has died. */
export interface Autopsy {
  /** Number of running handlers, by batch. */
  readonly running: ReadonlyMap<WatchedBatch, number>;
  /** Number of those over their time, by batch. */
  readonly late: ReadonlyMap<WatchedBatch, number>;
}

export class PoolThread {
  readonly worker: PiscinaWorker;
  readonly id: number;
  /** The group that has the thread now. */
  active: Occupant | null = null;
  /** The active group, and the groups that have left handlers behind. */
  readonly occupants = new Set<Occupant>();
  /** Set when the pool took the thread because of a handler of this batch. */
  overrun: { readonly of: WatchedBatch; readonly alive: boolean } | null = null;
  /** Whether the thread's death has been counted. */
  counted = false;
  #autopsy: Autopsy | null = null;

  constructor(worker: PiscinaWorker) {
    this.worker = worker;
    this.id = worker.id;
  }

  left(fn: string): number {
    let left = 0;
    for (const one of this.occupants) left += one.leftOf(fn);
    return left;
  }

  /** @param graceMs a handler over its time by half of this counts as late */
  autopsy(graceMs: number): Autopsy {
    if (this.#autopsy) return this.#autopsy;
    const now = monotonicMs();
    const running = new Map<WatchedBatch, number>();
    const late = new Map<WatchedBatch, number>();
    for (const { watched } of this.occupants) {
      for (const one of watched) {
        let [runs, lates] = [0, 0];
        for (let i = 0; i < one.events; i++) {
          if (one.cells.states[i] !== CELL.RUNNING) continue;
          runs++;
          if (
            now - (one.cells.starts[i] as number) >=
            one.timeoutMs + graceMs / 2 + one.stoodStillMs
          )
            lates++;
        }
        running.set(one, runs);
        late.set(one, lates);
      }
    }
    this.#autopsy = { running, late };
    return this.#autopsy;
  }
}

export class PoolThreads {
  readonly #most: number;
  /** Threads that have had a group, by id. The others are free. */
  readonly #known = new Map<number, PoolThread>();
  /** Thread that gets nothing new until it is empty. */
  #emptying: PoolThread | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether a thread may take the group now. */
  hasRoom(wanted: Pick<Occupant, 'fn' | 'solo' | 'concurrency'>): boolean {
    if (this.#known.size < this.#most) return true;
    for (const thread of this.#known.values()) if (this.#suits(thread, wanted)) return true;
    return false;
  }

  /** Chooses the thread for a group; null: none can take it now. */
  choose(workers: readonly PiscinaWorker[], wanted: Occupant): PoolThread | null {
    for (const thread of this.#known.values()) if (thread.worker.destroyed) this.forget(thread);
    let best: PoolThread | null = null;
    for (const worker of workers) {
      if (worker.destroyed) continue;
      const thread = this.#known.get(worker.id) ?? new PoolThread(worker);
      if (!this.#suits(thread, wanted)) continue;
      if (best === null || thread.occupants.size < best.occupants.size) best = thread;
    }
    if (best) this.#known.set(best.id, best);
    return best;
  }

  /**
   * Chooses the thread to be emptied.
   * @param wanted whether a batch that is to run by itself waits for a thread
   */
  empty(wanted: boolean): void {
    if (!wanted) {
      this.#emptying = null;
      return;
    }
    if (this.#emptying && this.#known.get(this.#emptying.id) === this.#emptying) return;
    this.#emptying = null;
    for (const thread of this.#known.values()) {
      if (this.#emptying === null || thread.occupants.size < this.#emptying.occupants.size)
        this.#emptying = thread;
    }
  }

  forget(thread: PoolThread): void {
    if (this.#known.get(thread.id) === thread) this.#known.delete(thread.id);
  }

  #suits(
    thread: PoolThread,
    { fn, solo, concurrency }: Pick<Occupant, 'fn' | 'solo' | 'concurrency'>,
  ): boolean {
    if (thread.active) return false;
    if (solo) return thread.occupants.size === 0;
    return thread !== this.#emptying && thread.left(fn) < concurrency;
  }
}
