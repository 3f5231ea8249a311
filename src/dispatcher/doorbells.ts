/**
 * The doorbells of a dispatcher: one for all partitions. In a Cluster each partition has its own,
 * because a blocking read stays in one slot.
 */
import type { Lifecycle } from '../core/lifecycle.ts';
import type { Log } from '../core/log.ts';
import { Doorbell } from '../pipeline/read/doorbell.ts';
import type { RedisConnection } from '../redis/contract.ts';

/** Longest blocking read, ms. */
const BLOCK_MS = 1000;

export interface DoorbellsOptions {
  /** Number of doorbells: that of the partitions, or 1. */
  readonly count: number;
  /** Opens a connection for blocking reads. */
  readonly connect: () => RedisConnection;
  readonly log: Log;
}

export class Doorbells implements Lifecycle {
  readonly #doorbells: readonly Doorbell[];

  constructor({ count, connect, log }: DoorbellsOptions) {
    this.#doorbells = Array.from(
      { length: count },
      () =>
        new Doorbell({
          connection: connect(),
          blockMs: BLOCK_MS,
          failed: (error) => log('warn', 'doorbell failed, trying again', { err: error }),
        }),
    );
  }

  /** The doorbell that rings for this partition's lanes. */
  of(partition: number): Doorbell {
    return this.#doorbells[partition % this.#doorbells.length] as Doorbell;
  }

  start(): void {
    for (const doorbell of this.#doorbells) doorbell.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#doorbells.map((doorbell) => doorbell.stop()));
  }
}
