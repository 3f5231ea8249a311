/** The result of running a batch. */
import type { BatchTraces, DeadEntry, EventRef, Failure } from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';

/**
 * The end of a handler that still ran when its batch was answered.
 *
 * - `again`: the handler died with its thread, and is not known to be to blame. Its event runs
 *   again uncharged, with `isolate` by itself.
 * - `stopped`: the dispatcher ended the handler.
 */
export type Ended =
  | { readonly kind: 'done'; readonly emitted: Emitted | null; readonly ages: readonly number[] }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'again'; readonly isolate: boolean }
  | { readonly kind: 'stopped' };

/** A handler that still runs. */
export interface Running {
  readonly ref: EventRef;
  /** Start of the handler, by monotonicMs(). */
  readonly startedMs: number;
  /** Never rejects. */
  readonly ended: Promise<Ended>;
}

export interface BatchResult {
  readonly kind: 'result';
  /**
   * Final state of each event: DONE, FAILED, BLOCKED, RUNNING, or SKIP as asked for. TODO where the
   * event was not started, or cut off (see untouched.ts).
   */
  readonly states: Uint8Array;
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** Blocks of effects, in the order of writing. */
  readonly effects: readonly Uint8Array[];
  /** Emitted events, in the order of writing. */
  readonly emitted: readonly Emitted[];
  readonly ages: readonly number[];
  /** Time in pool threads, ms. */
  readonly busyMs: number;
  /** Number of threads that died. */
  readonly deaths: number;
  /** Handlers of the events that are RUNNING. Absent: none. */
  readonly running?: readonly Running[];
  /** Spans of each round. Absent: no SDK for traces is registered in the threads. */
  readonly traces?: readonly BatchTraces[];
}
