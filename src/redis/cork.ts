/** Holds written bytes back until the end of the tick. */
import type { Redis } from 'ioredis';

/**
 * Commands sent in the same tick leave in one system call, and Redis takes them in with one read.
 * At thousands of small scripts a second the system calls cost more than the scripts.
 */
export class Cork {
  #corked = false;

  /** Call before a command is written. */
  hold(client: Redis): void {
    const { stream } = client;
    if (this.#corked || !stream || stream.destroyed) return;
    this.#corked = true;
    stream.cork();
    process.nextTick(() => {
      this.#corked = false;
      stream.uncork();
    });
  }
}
