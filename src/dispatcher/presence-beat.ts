/**
 * Writes the dispatcher's presence every two seconds, and removes it at the end. A record that
 * cannot be written is left out: nothing relies on it, and the lanes tell of a Redis that refuses.
 */
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { monotonicMs } from '../core/clock.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { announcePresence, removePresence, type Presence } from '../pipeline/ownership/presence.ts';
import type { RedisSender } from '../redis/contract.ts';
import type { RedisSpace } from '../redis/source.ts';

/** Pause between two records, ms. */
const BEAT_MS = 2000;
/** Longest wait for Redis, ms: a dispatcher that stops does not wait for its presence. */
const PATIENCE_MS = 500;

export interface PresenceBeatOptions extends RedisSpace {
  readonly presence: () => Presence;
}

export class PresenceBeat implements Lifecycle {
  readonly #options: PresenceBeatOptions;
  readonly #loop: Loop;

  constructor(options: PresenceBeatOptions) {
    const { keys, presence } = options;
    this.#options = options;
    this.#loop = new Loop({
      pass: () => announcePresence(this.#sender(), keys, presence()),
      pauseMs: () => BEAT_MS,
      failed: () => undefined,
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    const { keys, presence } = this.#options;
    try {
      await removePresence(this.#sender(), keys, presence().dispatcher);
    } catch (error) {
      // The record ends by itself.
      if (!(error instanceof MillraceError)) throw error;
    }
  }

  #sender(): RedisSender {
    return this.#options.connection.until(monotonicMs() + PATIENCE_MS);
  }
}
