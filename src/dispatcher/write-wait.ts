/** Steps of a start that wait, and say so, while Redis takes no writes. */
import { reasonCodeOf, reasonFor, type HealthReason } from '../core/health-reason.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { untilWritten } from '../redis/refused-writes.ts';

export interface WriteWaitOptions {
  readonly connection: RedisConnection;
  /** Ends the wait: the step rejects with its reason. */
  readonly signal: AbortSignal;
  /** Told, at once and every 30 s, why the step waits. */
  readonly waiting: (message: string) => void;
}

export class WriteWait {
  readonly #options: WriteWaitOptions;
  #reason: HealthReason | null = null;

  constructor(options: WriteWaitOptions) {
    this.#options = options;
  }

  /** Reason why the step under way waits. Null: it does not wait. */
  get reason(): HealthReason | null {
    return this.#reason;
  }

  /** Repeats the attempt until Redis takes its writes. @param what see untilWritten() */
  async step<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const { connection, signal, waiting } = this.#options;
    try {
      return await untilWritten(what, connection, attempt, {
        signal,
        waiting: (message, reply) => {
          this.#reason = reasonFor(reasonCodeOf(reply) ?? 'not-serving', message);
          waiting(message);
        },
      });
    } finally {
      this.#reason = null;
    }
  }
}
