/** One run of a batch in a pool thread: its limits, and its answer. */
import type { BatchReport, EventRef, SetupFailed } from '../../core/thread-protocol.ts';

/** Time for a handler to settle after its signal has aborted, ms. Then its thread is taken. */
export const TIMEOUT_GRACE_MS = 1000;

export interface RunLimits {
  readonly timeoutMs: number;
  /**
   * Whether the batch never travels with others. So after a death: the culprit takes nobody along.
   * Default false.
   */
  readonly alone?: boolean;
  /** Whether its thread must be free of handlers that other batches left behind. Default false. */
  readonly solo?: boolean;
  /** Handlers of the function that run in one thread at the same time. Default: no bound here. */
  readonly concurrency?: number;
  /**
   * The function's `maxConcurrency`, and a batch's share of it while the batch has its thread.
   * Default: no bound.
   */
  readonly most?: { readonly events: number; readonly perBatch: number } | undefined;
  /** Whether the batch may be answered while handlers of it still run. Default false. */
  readonly detach?: boolean;
  /** See BatchesTask. Default: no bound. */
  readonly turnMs?: number;
}

/** The thread died. */
export interface ThreadDeath {
  readonly kind: 'death';
  readonly cause: string;
  /** Whether the pool took the thread, because a handler was over its time. */
  readonly timeout: boolean;
  /** Whether the thread's timers still ran: then only handlers over their time are to blame. */
  readonly alive: boolean;
  /** Time that the handlers had beyond the usual, because the process had stood still, ms. */
  readonly stoodStillMs: number;
  /** Whether handlers of other batches ran in the thread. */
  readonly shared?: boolean;
  /** Whether nothing ran in the thread but one handler of this batch. */
  readonly sole?: boolean;
  /**
   * Whether the thread was alive, and taken because of handlers of other batches: this batch's are
   * not to blame.
   */
  readonly innocent?: boolean;
}

/** A handler that still ran when its batch was reported. */
export interface Straggler {
  readonly ref: EventRef;
  /** The handler's own report. Never rejects. */
  readonly ended: Promise<BatchReport | ThreadDeath>;
}

export type RunResult =
  (BatchReport & { readonly stragglers?: readonly Straggler[] }) | SetupFailed | ThreadDeath;
