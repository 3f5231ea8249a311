/**
 * The numbers of one process's sendings to one partition: 1, 2, 3 … under one producer id. Redis
 * accepts the next number, answers the last one again as before, and refuses any other. So nothing
 * is appended twice, however often it is sent.
 *
 * An epoch ends with its producer id. Where the use of a number is not known, no other number may
 * follow under that id.
 */
import { PRODUCER_TTL_MS } from './append.ts';

export class ProducerEpoch {
  readonly #newId: () => string;
  #producer = '';
  #sequence = 0;
  /** Start of the epoch, or of the last answered sending, by monotonicMs(). */
  #heardMs = 0;

  constructor(newId: () => string) {
    this.#newId = newId;
  }

  /** Takes the next number. It must be answered, given back, or followed by a new epoch. */
  next(nowMs: number): { readonly producer: string; readonly sequence: number } {
    // Redis forgets silent producers: the epoch starts over well before that.
    if (this.#producer === '' || nowMs - this.#heardMs > PRODUCER_TTL_MS / 2) this.renew(nowMs);
    return { producer: this.#producer, sequence: ++this.#sequence };
  }

  /** @param sentMs time at which the sending left, by monotonicMs() */
  answered(sentMs: number): void {
    this.#heardMs = sentMs;
  }

  /** The last number was not used: it becomes the next one again. */
  giveBack(): void {
    this.#sequence--;
  }

  renew(nowMs: number): void {
    this.#producer = this.#newId();
    this.#sequence = 0;
    this.#heardMs = nowMs;
  }
}
