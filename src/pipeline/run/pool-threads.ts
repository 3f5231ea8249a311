/**
 * The books of the pool's threads: which batch has a thread, which handlers still run in it behind
 * their batch's report, and, when a thread dies, what ran in it.
 *
 * A thread has one batch at a time. Handlers that are left behind only wait (their thread's event
 * loop is free), so the next batch joins them there. An event that is to run by itself gets a
 * thread in which nothing is left; that thread is emptied for it.
 */
import type { Piscina } from 'piscina';
import { monotonicMs } from '../../core/clock.ts';
import { CELL, type ProgressCells } from '../../core/progress-cells.ts';

export type LoadBalancer = NonNullable<
  NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']
>;
type PiscinaWorker = Parameters<LoadBalancer>[1][number];

/** A batch that is, or may be, running. */
export interface Watched {
  readonly cells: ProgressCells;
  readonly timeoutMs: number;
  readonly events: number;
  /** The process stood still so long while it ran. */
  stoodStillMs: number;
}

/** Batches of one function that went to a thread in one message. */
export interface Occupant {
  readonly fn: string;
  readonly solo: boolean;
  /** Of the function, in one thread. */
  readonly concurrency: number;
  /** Batches of it with running handlers. */
  readonly watched: ReadonlySet<Watched>;
  /** Handlers left behind by their batches. */
  readonly left: number;
}

/** Of a thread that has died. */
export interface Autopsy {
  /** Handlers that ran, by batch. */
  readonly running: ReadonlyMap<Watched, number>;
  /** Those over their time. */
  readonly late: ReadonlyMap<Watched, number>;
}

export class PoolThread {
  readonly worker: PiscinaWorker;
  readonly id: number;
  /** What has the thread now. */
  active: Occupant | null = null;
  /** That, and what has left handlers behind. */
  readonly occupants = new Set<Occupant>();
  /** We took it, because of a handler of this batch. */
  overrun: { readonly of: Watched; readonly alive: boolean } | null = null;
  /** Its death has been counted. */
  counted = false;
  #autopsy: Autopsy | null = null;

  constructor(worker: PiscinaWorker) {
    this.worker = worker;
    this.id = worker.id;
  }

  left(fn: string): number {
    let left = 0;
    for (const one of this.occupants) if (one.fn === fn) left += one.left;
    return left;
  }

  /** @param graceMs a handler that is over its time by half of this counts as late */
  autopsy(graceMs: number): Autopsy {
    if (this.#autopsy) return this.#autopsy;
    const now = monotonicMs();
    const running = new Map<Watched, number>();
    const late = new Map<Watched, number>();
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
  /** Those that have had something to run; the others are free. By id. */
  readonly #known = new Map<number, PoolThread>();
  /** Gets nothing new until it is empty. */
  #emptying: PoolThread | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether a thread may take it now. */
  hasRoom(wanted: Omit<Occupant, 'watched' | 'left'>): boolean {
    if (this.#known.size < this.#most) return true;
    for (const thread of this.#known.values()) if (this.#suits(thread, wanted)) return true;
    return false;
  }

  /** The one of these that is to take it; null: none can now. */
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

  /** @param wanted something that is to run by itself waits for a thread */
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
    { fn, solo, concurrency }: Omit<Occupant, 'watched' | 'left'>,
  ): boolean {
    if (thread.active) return false;
    if (solo) return thread.occupants.size === 0;
    return thread !== this.#emptying && thread.left(fn) < concurrency;
  }
}
