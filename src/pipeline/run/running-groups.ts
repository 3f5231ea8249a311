/**
 * Groups of batches that are in threads, and the share of its `maxConcurrency` that a function has
 * left.
 */
import type { BatchGroup } from './batch-group.ts';
import type { RunLimits } from './thread-run.ts';

export class RunningGroups {
  readonly #groups = new Set<BatchGroup>();
  /** Groups of each function that have a thread, without those that have left handlers behind. */
  readonly #activeOf = new Map<string, number>();
  #busy = 0;

  /** Threads that have a group. */
  get busy(): number {
    return this.#busy;
  }

  [Symbol.iterator](): IterableIterator<BatchGroup> {
    return this.#groups.values();
  }

  /** The group goes to a thread. */
  begin(group: BatchGroup): void {
    this.#groups.add(group);
    this.#busy++;
    this.#activeOf.set(group.fn, (this.#activeOf.get(group.fn) ?? 0) + 1);
  }

  /** The group gives its thread back. Handlers of it may run on. */
  giveBack({ fn, thread }: BatchGroup): void {
    this.#busy--;
    this.#activeOf.set(fn, (this.#activeOf.get(fn) as number) - 1);
    if (thread) thread.active = null;
  }

  /** Nothing of the group runs any more. */
  end(group: BatchGroup): void {
    this.#groups.delete(group);
    group.watched.clear();
    group.thread?.occupants.delete(group);
  }

  /** Events of a batch that may run at the same time; below 1: the batch waits. */
  grant(fn: string, { most }: RunLimits): number {
    if (!most) return Infinity;
    let left = 0;
    for (const group of this.#groups) left += group.leftOf(fn);
    const rest = most.events - (this.#activeOf.get(fn) ?? 0) * most.perBatch - left;
    // Half a share is taken only where handlers left behind have the other half.
    return rest >= most.perBatch ? most.perBatch : left > 0 ? rest : 0;
  }
}
