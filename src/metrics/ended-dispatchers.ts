/**
 * The rest of a process's dispatchers that have stopped. Their counts go on in the metrics, because
 * counters must never fall. A dispatcher that has stopped itself keeps health red.
 */
import { ANSWER_SECONDS, Distribution } from '../core/distribution.ts';
import type { Watched } from './process-metrics.ts';

/** A dispatcher that was told to stop is no trouble. */
const QUIET: ReturnType<Watched['health']> = {
  ok: true,
  ready: false,
  live: true,
  started: false,
  connection: 'closed',
  lanes: 0,
  problems: [],
  setups: [],
  reasons: [],
};

export class EndedDispatchers {
  #sum: Watched | null = null;

  /** The sum of all, as one dispatcher. Empty: none has ended. */
  get all(): readonly Watched[] {
    return this.#sum === null ? [] : [this.#sum];
  }

  add(dispatcher: Watched & { readonly isFailed: boolean }): void {
    const both = [dispatcher, ...this.all];
    const sum = (of: (one: Watched) => number): number =>
      both.reduce((total, one) => total + of(one), 0);
    this.#sum = {
      functions: [],
      lanesOwned: 0,
      threads: 0,
      busyThreads: 0,
      queuedBatches: 0,
      threadDeaths: sum((one) => one.threadDeaths),
      uncaughtErrors: sum((one) => one.uncaughtErrors),
      leaseLosses: sum((one) => one.leaseLosses),
      repeats: sum((one) => one.repeats),
      schemaWaits: Distribution.sum(
        ANSWER_SECONDS,
        both.map((one) => one.schemaWaits),
      ),
      health: always(dispatcher.isFailed ? dispatcher.health() : (this.#sum?.health() ?? QUIET)),
    };
  }
}

/** Made here, so that the function keeps no dispatcher alive. */
function always<T>(value: T): () => T {
  return () => value;
}
