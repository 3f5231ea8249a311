/** Per type: most events its slowest function may be behind in a partition. */
import { monotonicMs } from '../../core/clock.ts';

/** The limits are read again after this. */
const TTL_MS = 10_000;

export class BacklogLimits {
  readonly #read: (() => Promise<ReadonlyMap<string, number>>) | undefined;
  #limits: ReadonlyMap<string, number> = new Map();
  #readMs = -Infinity;

  /** @param read undefined: no type has a limit */
  constructor(read: (() => Promise<ReadonlyMap<string, number>>) | undefined) {
    this.#read = read;
  }

  of(type: string): number | undefined {
    const nowMs = monotonicMs();
    if (this.#read !== undefined && nowMs - this.#readMs > TTL_MS) {
      this.#readMs = nowMs;
      // Not waited for, and not missed: limits are advice to publishers.
      this.#read().then(
        (limits) => (this.#limits = limits),
        () => undefined,
      );
    }
    return this.#limits.get(type);
  }
}
