/** Limits per type: most events the type's slowest function may be behind in a partition. */
import { monotonicMs } from '../../core/clock.ts';

/** Time after which the limits are read again, ms. */
const TTL_MS = 10_000;

export class BacklogLimits {
  readonly #read: (() => Promise<ReadonlyMap<string, number>>) | undefined;
  #limits: ReadonlyMap<string, number> = new Map();
  #readMs = -Infinity;

  /** @param read reads the limits; undefined: no type has one */
  constructor(read: (() => Promise<ReadonlyMap<string, number>>) | undefined) {
    this.#read = read;
  }

  of(type: string): number | undefined {
    const nowMs = monotonicMs();
    if (this.#read !== undefined && nowMs - this.#readMs > TTL_MS) {
      this.#readMs = nowMs;
      // Nobody waits for the answer, and a failure is ignored: limits are advice to publishers.
      this.#read().then(
        (limits) => (this.#limits = limits),
        () => undefined,
      );
    }
    return this.#limits.get(type);
  }
}
