/** What running a batch comes to. */
import type { DeadEntry, EventRef, Failure } from '../../core/thread-protocol.ts';
import type { Emitted } from '../../core/emitted.ts';

/**
 * How a handler ended that still ran when its batch was answered.
 *
 * - `again`: it died with its thread and is not known to be to blame. Its event runs again
 *   uncharged, with `isolate` by itself.
 * - `stopped`: the dispatcher ended it.
 */
export type Ended =
  | { readonly kind: 'done'; readonly emitted: Emitted | null; readonly ages: readonly number[] }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'again'; readonly isolate: boolean }
  | { readonly kind: 'stopped' };

/** A handler that still runs. */
export interface Running {
  readonly ref: EventRef;
  /** monotonicMs() */
  readonly startedMs: number;
  /** Never rejects. */
  readonly ended: Promise<Ended>;
}

export interface BatchResult {
  readonly kind: 'result';
  /**
   * Final state of each event: DONE, FAILED, BLOCKED, SKIP as asked for, or RUNNING; TODO where it
   * was not started, or cut off (see untouched.ts).
   */
  readonly states: Uint8Array;
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** In the order in which they are to be written. */
  readonly effects: readonly Uint8Array[];
  /** In the order in which it is to be written. */
  readonly emitted: readonly Emitted[];
  readonly ages: readonly number[];
  /** Time in pool threads, ms. */
  readonly busyMs: number;
  /** Threads that died. */
  readonly deaths: number;
  /** Handlers of the events that are RUNNING. Absent: none. */
  readonly running?: readonly Running[];
}
