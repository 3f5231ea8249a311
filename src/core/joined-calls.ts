/**
 * Joins calls that are made in one turn of the event loop into one message. System calls, waking
 * and a script's start are then paid once for all of them.
 *
 * The messages of all senders leave in one callback, because the connection sends the commands of
 * one callback in one system call (cork.ts).
 */

export interface JoinedCallsOptions<Call, Answer> {
  /** Answers the calls, in their order. Where it rejects, each call rejects with its error. */
  readonly send: (calls: readonly Call[]) => Promise<readonly Answer[]>;
  /** Most weight of a message. A single call may exceed it. */
  readonly most: number;
  /** Weight of a call. Default 1. */
  readonly weigh?: (call: Call) => number;
}

interface Open<Call, Answer> {
  readonly call: Call;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Senders with calls of this turn of the event loop. */
let flushes: (() => void)[] = [];

function atEndOfTurn(flush: () => void): void {
  flushes.push(flush);
  if (flushes.length > 1) return;
  setImmediate(() => {
    const due = flushes;
    flushes = [];
    for (const one of due) one();
  });
}

export class JoinedCalls<Call, Answer> {
  readonly #options: JoinedCallsOptions<Call, Answer>;
  #open: Open<Call, Answer>[] = [];

  constructor(options: JoinedCallsOptions<Call, Answer>) {
    this.#options = options;
  }

  /** Sends the call at the end of this turn of the event loop, with the calls made until then. */
  call(call: Call): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#open.push({ call, resolve, reject });
      if (this.#open.length === 1) atEndOfTurn(() => this.#flush());
    });
  }

  #flush(): void {
    const { most, weigh = () => 1 } = this.#options;
    const open = this.#open;
    this.#open = [];
    let message: Open<Call, Answer>[] = [];
    let weight = 0;
    for (const one of open) {
      const more = weigh(one.call);
      if (message.length > 0 && weight + more > most) {
        void this.#send(message);
        message = [];
        weight = 0;
      }
      message.push(one);
      weight += more;
    }
    void this.#send(message);
  }

  async #send(message: readonly Open<Call, Answer>[]): Promise<void> {
    try {
      const answers = await this.#options.send(message.map(({ call }) => call));
      message.forEach(({ resolve }, i) => resolve(answers[i] as Answer));
    } catch (error) {
      for (const { reject } of message) reject(error);
    }
  }
}
