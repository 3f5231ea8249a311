/**
 * The numbers of what one process sends to one partition: 1, 2, 3 … under one producer id. Redis
 * takes the next number, answers the last one again as before, and refuses any other. So nothing is
 * appended twice, however often it is sent.
 *
 * An epoch ends with its producer id: where the use of a number is not known, no other number may
 * follow under that id.
 */
import { PRODUCER_TTL_MS } from './append.ts';

export class ProducerEpoch {
  readonly #newId: () => string;
  #producer = '';
  #sequence = 0;
  /** Start of the epoch, or of the last sending with an answer, by the monotonic clock. */
  #heardMs = 0;

  constructor(newId: () => string) {
    this.#newId = newId;
  }

  /** The next number, to be answered, given back, or followed by a new epoch. */
  next(nowMs: number): { readonly producer: string; readonly sequence: number } {
    // Redis forgets silent producers: start over well before that.
    if (this.#producer === '' || nowMs - this.#heardMs > PRODUCER_TTL_MS / 2) this.renew(nowMs);
    return { producer: this.#producer, sequence: ++this.#sequence };
  }

  /** @param sentMs when the sending left, by the monotonic clock */
  answered(sentMs: number): void {
    this.#heardMs = sentMs;
  }

  /** The last number was not used: it is the next one again. */
  giveBack(): void {
    this.#sequence--;
  }

  renew(nowMs: number): void {
    this.#producer = this.#newId();
    this.#sequence = 0;
    this.#heardMs = nowMs;
  }
}
