/** Calls that wait, unsent and in order, for the connection to come up. */

interface Waiter {
  /** The call waits for the first connection, and for nothing else: see RedisConnection.ready. */
  readonly first: boolean;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Waiters {
  readonly #waiting: Waiter[] = [];

  /** Settles as `send` does, which is called by `release`; after `waitMs` rejects with `late()`. */
  add<T>(send: () => Promise<T>, waitMs: number, late: () => Error, first: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        first,
        go: () => void send().then(resolve, reject),
        fail: reject,
        timer: setTimeout(() => this.#giveUp(waiter, late()), waitMs),
      };
      this.#waiting.push(waiter);
    });
  }

  /** Sends all, in order. */
  release(): void {
    for (const waiter of this.#waiting.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.go();
    }
  }

  /** Rejects those that wait for the first connection. */
  failFirst(error: Error): void {
    for (const waiter of [...this.#waiting]) if (waiter.first) this.#giveUp(waiter, error);
  }

  failAll(error: () => Error): void {
    for (const waiter of this.#waiting.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.fail(error());
    }
  }

  #giveUp(waiter: Waiter, error: Error): void {
    clearTimeout(waiter.timer);
    this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
    waiter.fail(error);
  }
}
