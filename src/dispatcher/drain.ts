/**
 * The end of a drain that takes too long. The handlers that still run are cut off with their
 * threads: their events have no outcome, stay in Redis and run again. Events that are done are
 * committed, where that takes little time.
 */
import { sharedAbort } from '../core/shared-signal.ts';

/** Time for the last commits, once the handlers were cut off, ms. */
const COMMIT_MS = 2000;

export interface DrainedLane {
  /** Handlers that run. */
  readonly handlers: number;
  /** Throws the turn under way away. */
  abandon(): void;
}

export class Drain {
  readonly #lanes: () => readonly DrainedLane[];
  readonly #cut = sharedAbort();
  readonly #timers: NodeJS.Timeout[] = [];
  #phase: 'draining' | 'over' = 'draining';
  #handlersCut = 0;

  /** @param lanes lanes that may still run handlers */
  constructor(lanes: () => readonly DrainedLane[]) {
    this.#lanes = lanes;
  }

  /** Aborts when the handlers that run are to be cut off. */
  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  /** Handlers that were cut off. */
  get handlersCut(): number {
    return this.#handlersCut;
  }

  /** Cuts the drain off after this time, ms, unless the drain is over before. */
  cutOffIn(deadlineMs: number): void {
    this.#timers.push(setTimeout(() => this.cutOff(), deadlineMs));
  }

  /** Cuts the handlers off, and abandons the lanes that have not committed within COMMIT_MS. */
  cutOff(): void {
    // Else a timer would be set that nobody clears.
    if (this.#phase === 'over') return this.#cut.abort();
    const lanes = this.#lanes();
    if (!this.signal.aborted) for (const { handlers } of lanes) this.#handlersCut += handlers;
    this.#cut.abort();
    this.#timers.push(
      setTimeout(() => {
        for (const lane of lanes) lane.abandon();
      }, COMMIT_MS),
    );
  }

  /** The drain is over: nothing is left to cut off. */
  over(): void {
    this.#phase = 'over';
    for (const timer of this.#timers) clearTimeout(timer);
  }
}
