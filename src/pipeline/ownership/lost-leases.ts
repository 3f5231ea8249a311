/**
 * Tells the log of lanes whose lease was lost, once each, and counts them. Also tells Redis that
 * this process lives, so that the lane's next owner counts no death.
 */
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry } from '../../redis/retry.ts';
import type { Keys } from '../../redis/keys.ts';
import type { Log } from '../../core/log.ts';
import { epochOf } from '../../core/lease-value.ts';
import type { HeldLane } from './lane-address.ts';
import { noteNotDead } from './leases.ts';

export interface LostLeasesOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly leaseTtlMs: number;
  readonly log: Log;
}

interface LostLane extends HeldLane {
  /** Address of the event that runs marked, '' without one. */
  readonly marked: string;
}

export class LostLeases {
  readonly #options: LostLeasesOptions;
  readonly #told = new WeakSet<LostLane>();
  /** Losses whose reason is being asked for. */
  readonly #judging = new Set<Promise<void>>();
  #count = 0;

  constructor(options: LostLeasesOptions) {
    this.#options = options;
  }

  /** Leases lost since the start, without those that a rewind took. */
  get count(): number {
    return this.#count;
  }

  /** Does nothing for a lane that was told of before. */
  tell(lane: LostLane): void {
    if (this.#told.has(lane)) return;
    this.#told.add(lane);
    const judging = this.#judge(lane).finally(() => this.#judging.delete(judging));
    this.#judging.add(judging);
  }

  /** Resolves when all losses are told. */
  async settled(): Promise<void> {
    await Promise.all(this.#judging);
  }

  /** A rewind takes the lease away on purpose: nothing is wrong with this process then. */
  async #judge(lane: LostLane): Promise<void> {
    const { connection, keys, log, leaseTtlMs } = this.#options;
    const { fn, partition, leaseValue, marked } = lane;
    const rewound = await withRetry(() => noteNotDead(connection, keys, lane, marked), {
      deadlineMs: leaseTtlMs,
    }).catch(() => 0);
    const fields = { function: fn, partition };
    if (rewound >= Number(epochOf(leaseValue))) {
      log(
        'info',
        'lease lost to a rewind: the running turn is discarded, the lane goes on from the target',
        fields,
      );
      return;
    }
    this.#count++;
    log('warn', 'lease lost: the running turn is discarded', fields);
  }
}
