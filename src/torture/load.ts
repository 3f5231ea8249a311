/** Made-up events of the functions' types, numbered within their subjects. */
import { monotonicMs, sleep } from '../core/clock.ts';
import type { Publisher } from '../pipeline/append/publisher.ts';
import type { Catalog } from '../wire/catalog.ts';
import { sampleData } from '../wire/sample-data.ts';
import type { PublishedEvent } from './run-record.ts';
import { eventId } from './observed.ts';
import type { Random } from './random.ts';

const SUBJECTS = 24;
const MOST_AT_ONCE = 16;
const PAUSE_MS = 20;

export class Load {
  readonly events: PublishedEvent[] = [];
  readonly #publisher: Pick<Publisher, 'publishMany'>;
  readonly #catalog: Catalog;
  readonly #types: readonly string[];
  readonly #random: Random;
  readonly #numbers = new Map<string, number>();
  #stopping = false;

  constructor(
    publisher: Pick<Publisher, 'publishMany'>,
    catalog: Catalog,
    types: readonly string[],
    random: Random,
  ) {
    this.#publisher = publisher;
    this.#catalog = catalog;
    this.#types = types;
    this.#random = random;
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Publishes until stop(). Resolves when the last call has been answered. */
  async run(): Promise<void> {
    while (!this.#stopping) {
      await this.#publish();
      await sleep(PAUSE_MS);
    }
  }

  async #publish(): Promise<void> {
    const items = Array.from({ length: this.#random.whole(1, MOST_AT_ONCE) }, () => {
      const subject = `torture-${this.#random.whole(1, SUBJECTS)}`;
      const type = this.#random.pick(this.#types);
      const number = (this.#numbers.get(subject) ?? 0) + 1;
      this.#numbers.set(subject, number);
      return {
        type,
        id: eventId(subject, number),
        subject,
        number,
        data: sampleData(this.#catalog, type, subject, this.#random.next),
      };
    });
    const sentMs = monotonicMs();
    let fate: PublishedEvent['fate'] = 'acknowledged';
    try {
      await this.#publisher.publishMany(items.map(({ type, id, data }) => ({ type, id, data })));
    } catch {
      // The connection was cut for too long: some of the events may be there.
      fate = 'unknown';
    }
    const atMs = monotonicMs();
    for (const { id, type, subject, number } of items)
      this.events.push({ id, type, subject, number, fate, sentMs, atMs, innocent: false });
  }
}
