/** The lifecycle of parts that work beside the rest until they are stopped, and their loop. */
import { sleep } from './clock.ts';
import { sharedAbort } from './shared-signal.ts';

/** A part that works beside the rest from start() until stop(). */
export interface Lifecycle {
  /** Starts the part once: a second call, or a call after stop(), starts nothing. */
  start(): void | Promise<void>;
  /** Resolves when nothing of the part runs any more. Idempotent, also before start(). */
  stop(): Promise<void>;
}

export interface LoopOptions {
  /** One pass. The loop's `signal` aborts when it is to end early. */
  readonly pass: (signal: AbortSignal) => void | Promise<void>;
  /** Pause between two passes, ms, asked before each pause. Default: none; the pass waits. */
  readonly pauseMs?: () => number;
  /** Whether the loop pauses before its first pass too. Default false. */
  readonly pausesFirst?: boolean;
  /** Told why a pass failed. The loop goes on. Not told once the loop is stopped. */
  readonly failed: (error: unknown) => void | Promise<void>;
}

/** A pass that is repeated, one at a time, until the loop is stopped. */
export class Loop implements Lifecycle {
  readonly #options: LoopOptions;
  readonly #stopping = sharedAbort();
  #running: Promise<void> | null = null;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Aborts at stop(). */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  start(): void {
    if (!this.signal.aborted) this.#running ??= this.#run();
  }

  /** Ends a pause, and waits for the pass under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { pass, pauseMs, pausesFirst = false, failed } = this.#options;
    const { signal } = this;
    if (pausesFirst && pauseMs) await sleep(pauseMs(), signal);
    while (!signal.aborted) {
      try {
        await pass(signal);
      } catch (error) {
        if (!signal.aborted) await failed(error);
      }
      if (pauseMs) await sleep(pauseMs(), signal);
    }
  }
}
