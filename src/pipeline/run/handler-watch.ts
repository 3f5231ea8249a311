/**
 * Takes the thread from a handler that has not settled TIMEOUT_GRACE_MS after its time. Also finds
 * threads that are stuck in one of several batches, so that the others need not wait.
 */
import { monotonicMs } from '../../core/clock.ts';
import { CELL } from '../../core/progress-cells.ts';
import type { BatchGroup } from './batch-group.ts';
import type { WatchedBatch } from './pool-threads.ts';
import { TIMEOUT_GRACE_MS } from './thread-run.ts';

const WATCH_MS = 100;
/** Time of several batches in one thread from which on the thread counts as stuck. */
const STUCK_MS = 200;
/**
 * A look that is later than this stood still, with the handlers or without them (SIGSTOP, a
 * suspended machine). That time is charged to nobody.
 */
const STOOD_STILL_MS = 1000;

export class HandlerWatch {
  readonly #groups: Iterable<BatchGroup>;
  readonly #stuck: (group: BatchGroup) => void;
  readonly #timer: NodeJS.Timeout;
  #lookedMs = monotonicMs();

  /**
   * @param groups groups that are in threads, looked at anew each time
   * @param stuck is told of a group whose thread is stuck, at each look
   */
  constructor(groups: Iterable<BatchGroup>, stuck: (group: BatchGroup) => void) {
    this.#groups = groups;
    this.#stuck = stuck;
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = monotonicMs();
    const lateMs = now - this.#lookedMs - WATCH_MS;
    this.#lookedMs = now;
    for (const group of this.#groups) {
      if (isStuck(group, now)) this.#stuck(group);
      for (const watched of group.watched) {
        if (lateMs > STOOD_STILL_MS) watched.stoodStillMs += lateMs;
        if (isOverTime(watched, now)) takeThread(group, watched, now);
      }
    }
  }
}

const isStuck = (group: BatchGroup, now: number): boolean =>
  group.claims !== null && group.thread?.active === group && now - group.sentMs >= STUCK_MS;

function isOverTime(
  { cells, events, timeoutMs, stoodStillMs }: WatchedBatch,
  now: number,
): boolean {
  const { starts, states } = cells;
  const limit = timeoutMs + TIMEOUT_GRACE_MS + stoodStillMs;
  for (let i = 0; i < events; i++)
    if (states[i] === CELL.RUNNING && now - (starts[i] as number) >= limit) return true;
  return false;
}

function takeThread({ thread, abort }: BatchGroup, watched: WatchedBatch, now: number): void {
  const { starts, capacity } = watched.cells;
  // The cell behind the events' starts is the thread's own sign of life.
  const alive = now - (starts[capacity] as number) < TIMEOUT_GRACE_MS;
  if (thread) thread.overrun ??= { of: watched, alive };
  abort.abort('timeout');
}
