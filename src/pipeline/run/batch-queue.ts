/**
 * Batches that wait for a thread, and the choice of those that go to it together.
 *
 * Small batches of one function that wait at the same moment travel in one message, and run one
 * after the other. To wake a thread costs more than to run a dozen events.
 *
 * Owned here: the queue, and the running mean of each function's time per event.
 */
import type { BatchReport, SetupFailed } from '../../core/thread-protocol.ts';
import type { WaitingBatch } from './batch-group.ts';

/** Batches of this many events, or expected to take this long, go alone. */
const GROUP_EVENTS = 1024;
const GROUP_MS = 20;
/** A thread is not woken for less than this, when another one is woken anyway. */
const WAKE_MS = 0.5;
/** Weight of the newest group in a running mean. */
const NEWEST = 0.1;

export class BatchQueue {
  readonly #waiting: WaitingBatch[] = [];
  /** Running mean per function. */
  readonly #msPerEvent = new Map<string, number>();

  get length(): number {
    return this.#waiting.length;
  }

  /** Whether a batch waits that needs a thread free of other handlers. */
  get wantsSolo(): boolean {
    return this.#waiting.some(({ limits }) => limits.solo);
  }

  add(batch: WaitingBatch): void {
    this.#waiting.push(batch);
  }

  /**
   * Takes out the batches that go to a free thread together.
   *
   * @param free threads without a batch, at least one; the batches that wait are spread over them
   * @returns null: no batch may run now
   */
  take(free: number, mayRun: (batch: WaitingBatch) => boolean): readonly WaitingBatch[] | null {
    const waiting = this.#waiting;
    const at = waiting.findIndex(mayRun);
    if (at < 0) return null;
    const share = Math.ceil(waiting.length / free);
    const first = waiting.splice(at, 1)[0] as WaitingBatch;
    const group = [first];
    if (first.limits.alone) return group;
    const { fn } = first.packed.task;
    const msPerEvent = this.#msPerEvent.get(fn) ?? 1;
    const most = Math.min(GROUP_EVENTS, GROUP_MS / msPerEvent);
    let events = first.packed.task.events;
    for (
      let i = 0;
      i < waiting.length && (group.length < share || events * msPerEvent < WAKE_MS);
    ) {
      const next = waiting[i] as WaitingBatch;
      const { task } = next.packed;
      if (next.limits.alone || task.fn !== fn || events + task.events > most) {
        i++;
        continue;
      }
      events += task.events;
      group.push(next);
      waiting.splice(i, 1);
    }
    return group;
  }

  /** Learns from a group's reports. */
  measure(fn: string, reports: readonly (BatchReport | SetupFailed)[], events: number): void {
    let busyMs = 0;
    for (const report of reports) busyMs += report.kind === 'report' ? report.busyMs : GROUP_MS;
    const perEvent = busyMs / events;
    const before = this.#msPerEvent.get(fn) ?? perEvent;
    this.#msPerEvent.set(fn, before + (perEvent - before) * NEWEST);
  }
}
