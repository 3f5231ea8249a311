import { monotonicMs } from '../core/clock.ts';

/**
 * Time after which a Cluster that only answers "down" is left, ms. A shorter outage may concern a
 * few slots, while the others are served.
 */
const PATIENCE_MS = 5_000;

/** Tells the outage of a whole Cluster from the refusals of one of its nodes. */
export class ClusterOutage {
  /** Replies that did not refuse everything. */
  #answers = 0;
  /** The first refusal, and the answers up to it. Null: none since the connection came up. */
  #since: { readonly ms: number; readonly answers: number } | null = null;

  answered(): void {
    this.#answers++;
  }

  /** The connection is up. */
  end(): void {
    this.#since = null;
  }

  /** Notes a refusal. Returns whether there was nothing but refusals for PATIENCE_MS. */
  lasts(): boolean {
    const now = monotonicMs();
    if (this.#since?.answers !== this.#answers) this.#since = { ms: now, answers: this.#answers };
    return now - this.#since.ms >= PATIENCE_MS;
  }
}
