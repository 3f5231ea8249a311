/** Calls that wait, unsent and in order, for the connection to come up. */

interface Waiter {
  /** Whether the call waits only for the first connection: see RedisConnection.ready. */
  readonly first: boolean;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class Waiters {
  readonly #waiting: Waiter[] = [];

  /**
   * Adds a call, and settles as `send` does. `release` calls `send`. After `waitMs` the call
   * rejects with `late()`.
   */
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

  /** Sends all calls, in order. */
  release(): void {
    for (const waiter of this.#waiting.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.go();
    }
  }

  /** Rejects the calls that wait for the first connection. */
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
