/** Counts of the turns of a process, by function. They cost per turn, never per event. */
import {
  AGE_SECONDS,
  ANSWER_SECONDS,
  BATCH_BYTES,
  BATCH_EVENTS,
  Distribution,
} from '../core/distribution.ts';
import type { TurnDone } from '../pipeline/lane/lane-stages.ts';

/** Bounds of the time that a turn keeps a thread, seconds. */
const TURN_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60,
] as const;

/** Counts of one function. */
export class FunctionMeters {
  done = 0;
  retried = 0;
  dead = 0;
  readonly turnSeconds = new Distribution(TURN_SECONDS);
  readonly threadWaitSeconds = new Distribution(ANSWER_SECONDS);
  readonly commitSeconds = new Distribution(ANSWER_SECONDS);
  readonly batchEvents = new Distribution(BATCH_EVENTS);
  readonly batchBytes = new Distribution(BATCH_BYTES);
  readonly queueSeconds = new Distribution(AGE_SECONDS);
  readonly latencySeconds = new Distribution(AGE_SECONDS);

  add(turn: TurnDone): void {
    this.done += turn.done;
    this.retried += turn.retried;
    this.dead += turn.dead;
    this.turnSeconds.observe(turn.busyMs / 1000);
    if (turn.waitMs !== null) this.threadWaitSeconds.observe(turn.waitMs / 1000);
    this.commitSeconds.observe(turn.commitMs / 1000);
    this.batchEvents.observe(turn.events);
    this.batchBytes.observe(turn.bytes);
    observePairs(this.queueSeconds, turn.queued);
    observePairs(this.latencySeconds, turn.ages);
  }
}

export class TurnMeters {
  readonly #by = new Map<string, FunctionMeters>();

  readonly turn = (turn: TurnDone): void => this.of(turn.fn).add(turn);

  of(fn: string): FunctionMeters {
    let found = this.#by.get(fn);
    if (!found) this.#by.set(fn, (found = new FunctionMeters()));
    return found;
  }

  [Symbol.iterator](): IterableIterator<[string, FunctionMeters]> {
    return this.#by.entries();
  }
}

/** @param pairs ms, number of events */
function observePairs(into: Distribution, pairs: readonly number[]): void {
  for (let i = 0; i + 1 < pairs.length; i += 2)
    into.observe((pairs[i] as number) / 1000, pairs[i + 1] as number);
}
