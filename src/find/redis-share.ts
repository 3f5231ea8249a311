/** Pauses between reads, so that Redis gives at most a share of its time to them. */
import { monotonicMs, sleep } from '../core/clock.ts';

/** Shortest pause, ms: a shorter one is saved up. */
const SHORTEST = 5;
/** Longest wait that a pause counts, ms. A longer one is a stall, and not the work of the reads. */
const COUNTED = 250;

export interface ShareLimits {
  readonly signal?: AbortSignal | undefined;
  /** Monotonic time after which there is no pause, ms. Default: none. */
  readonly untilMs?: number;
}

export class RedisShare {
  /** Commands sent so far. */
  commands = 0;
  /**
   * Time for which answers were waited for, ms. It is an upper bound of the time of Redis, because
   * the way there and back counts, too.
   */
  waitedMs = 0;
  readonly #share: number;
  readonly #signal: AbortSignal | undefined;
  readonly #untilMs: number;
  #owedMs = 0;

  /** @param share above 0, at most 1; 1: no pauses */
  constructor(share: number, { signal, untilMs = Infinity }: ShareLimits = {}) {
    this.#share = share;
    this.#signal = signal;
    this.#untilMs = untilMs;
  }

  /**
   * Awaits reads that are sent together, and pauses then.
   * @param commands number of commands
   */
  async spend<T>(commands: number, reading: () => Promise<T>): Promise<T> {
    await this.#pause();
    const from = monotonicMs();
    try {
      return await reading();
    } finally {
      const passed = monotonicMs() - from;
      this.commands += commands;
      this.waitedMs += passed;
      this.#owedMs += Math.min(passed, COUNTED) * (1 / this.#share - 1);
    }
  }

  /** The pause stands before a read, so that the last read has none. */
  async #pause(): Promise<void> {
    if (this.#owedMs < SHORTEST) return;
    const owed = this.#owedMs;
    this.#owedMs = 0;
    const leftMs = Math.max(0, this.#untilMs - monotonicMs());
    await sleep(Math.min(owed, leftMs), this.#signal);
  }
}
