/**
 * Batches that wait for a thread, and the choice of those that go to it together.
 *
 * Small batches that wait at the same moment travel in one message, and run one after the other. To
 * wake a thread costs more than to run a dozen events. Batches of several functions travel together
 * where all of them are quick, and none has lately cost its thread or left a handler behind. So a
 * slow or dying function keeps nobody else waiting.
 *
 * Owned here: the queue, and of each function the running mean of its time per event.
 */
import type { BatchAnswer } from '../../core/thread-protocol.ts';
import { monotonicMs } from '../../core/clock.ts';
import type { BatchGroup, WaitingBatch } from './batch-group.ts';

/** Batches of this many events, or expected to take this long, go alone. */
const GROUP_EVENTS = 1024;
const GROUP_MS = 20;
/** A thread is not woken for less than this, when another one is woken anyway. */
const WAKE_MS = 0.5;
/** A function is quick where its batch is expected to take no longer than this. */
const QUICK_MS = 2;
/**
 * Time for which a function travels by itself after it has held up a thread, or a thread has died
 * under it. The time doubles where this happens again within twice that time.
 */
const APART_MS = { min: 1000, max: 60_000 };
/** Weight of the newest group in a running mean. */
const NEWEST = 0.1;

export class BatchQueue {
  readonly #waiting: WaitingBatch[] = [];
  /** Running mean per function. */
  readonly #msPerEvent = new Map<string, number>();
  /** Functions whose batches travel with nobody else's: for how long, and until when. */
  readonly #apart = new Map<string, { readonly forMs: number; readonly untilMs: number }>();

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

  /** A thread is stuck in a batch of this function. The batches behind that one go first now. */
  takeBack(batches: readonly WaitingBatch[], stuckIn: string): void {
    this.#waiting.unshift(...batches);
    this.#setApart(stuckIn);
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
    let { events } = first.prepared.batch;
    let expectedMs = this.#expectedMs(first);
    for (let i = 0; i < waiting.length && (group.length < share || expectedMs < WAKE_MS);) {
      const next = waiting[i] as WaitingBatch;
      const more = next.prepared.batch.events;
      const moreMs = this.#expectedMs(next);
      const fits = events + more <= GROUP_EVENTS && expectedMs + moreMs <= GROUP_MS;
      if (!fits || !this.#goTogether(first, next)) {
        i++;
        continue;
      }
      events += more;
      expectedMs += moreMs;
      group.push(next);
      waiting.splice(i, 1);
    }
    return group;
  }

  #expectedMs({ prepared: { batch } }: WaitingBatch): number {
    return batch.events * (this.#msPerEvent.get(batch.fn) ?? 1);
  }

  #goTogether(first: WaitingBatch, next: WaitingBatch): boolean {
    if (next.limits.alone) return false;
    if (next.prepared.batch.fn === first.prepared.batch.fn) return true;
    return (
      first.limits.detach === next.limits.detach &&
      first.limits.turnMs === next.limits.turnMs &&
      first.cancel === next.cancel &&
      this.#mixes(first) &&
      this.#mixes(next)
    );
  }

  #mixes(batch: WaitingBatch): boolean {
    const { fn } = batch.prepared.batch;
    // A function that was never measured may still have to be set up.
    return (
      !batch.limits.most &&
      this.#msPerEvent.has(fn) &&
      this.#expectedMs(batch) <= QUICK_MS &&
      (this.#apart.get(fn)?.untilMs ?? 0) < monotonicMs()
    );
  }

  /** Learns from the reports of a group's batches. */
  measure({ batches }: BatchGroup, answers: readonly BatchAnswer[]): void {
    batches.forEach(({ prepared: { batch } }, i) => {
      const report = answers[i] as BatchAnswer;
      if (report.kind === 'revoked') return;
      const perEvent = (report.kind === 'report' ? report.busyMs : GROUP_MS) / batch.events;
      const before = this.#msPerEvent.get(batch.fn) ?? perEvent;
      this.#msPerEvent.set(batch.fn, before + (perEvent - before) * NEWEST);
      if (report.kind === 'report' && report.running) this.#setApart(batch.fn);
    });
  }

  /** The thread of a group died. The culprit is not known yet. */
  died({ batches }: BatchGroup): void {
    for (const { prepared } of batches) this.#setApart(prepared.batch.fn);
  }

  #setApart(fn: string): void {
    const now = monotonicMs();
    const before = this.#apart.get(fn);
    if (before && now < before.untilMs) return;
    const again = before !== undefined && now < before.untilMs + 2 * before.forMs;
    const forMs = again ? Math.min(APART_MS.max, 2 * before.forMs) : APART_MS.min;
    this.#apart.set(fn, { forMs, untilMs: now + forMs });
  }
}
