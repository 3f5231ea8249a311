/** Producers: what they publish follows from the seed; what became of it is written down. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Publisher } from '../../src/pipeline/append/publisher.ts';
import type { PublishedEvent } from '../../src/torture/history.ts';
import type { Random } from '../../src/torture/random.ts';

const SUBJECTS = 12;
const MOST_CALLS = 4;
/** Then it publishes slowly: a run is to be short also where the fault takes its time. */
const MOST_AT_PACE = 700;

export interface LoadOptions {
  /** Orders to events besides the usual ones, and how many events of a thousand get one. */
  readonly orders?: readonly string[];
  readonly ordersPerThousand?: number;
  /** Without the usual trouble. */
  readonly calm?: boolean;
  readonly fillerBytes?: number;
  /** Events of one call at most. */
  readonly chunk?: number;
  /** Mean pause between calls. */
  readonly pauseMs?: number;
}

/** The usual trouble. */
function usualOrder(random: Random): string {
  const x = random.next();
  if (x < 0.82) return 'ok';
  if (x < 0.9) return 'slow:3';
  if (x < 0.96) return 'throw-once';
  if (x < 0.98) return 'throw';
  return x < 0.99 ? 'non-retryable' : 'reject';
}

export const isInnocent = (order: string): boolean => order === 'ok' || order.startsWith('slow');

interface Item {
  readonly type: string;
  readonly id: string;
  readonly data: { readonly key: string; readonly number: number; readonly order: string; readonly filler: Uint8Array };
}

export class Producer {
  readonly events: PublishedEvent[] = [];
  readonly #name: string;
  readonly #publisher: Pick<Publisher, 'publishMany'>;
  readonly #random: Random;
  readonly #options: LoadOptions;
  readonly #numbers = new Array<number>(SUBJECTS).fill(0);
  readonly #calls = new Set<Promise<void>>();
  #made = 0;
  #stopping = false;
  #loop: Promise<void> | null = null;

  constructor(name: string, publisher: Pick<Publisher, 'publishMany'>, random: Random, options: LoadOptions) {
    this.#name = name;
    this.#publisher = publisher;
    this.#random = random;
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Resolves when every call has been answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loop;
    await Promise.all(this.#calls);
  }

  /** Publishes so many events now. */
  async burst(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 50) await this.#publish(Array.from({ length: Math.min(50, left) }, () => this.#make()));
  }

  /** One event with this order. */
  async poison(order: string): Promise<void> {
    await this.#publish([this.#make(order)]);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      while (this.#calls.size >= MOST_CALLS) await Promise.race(this.#calls);
      const count = this.#random.whole(1, this.#options.chunk ?? 12);
      const call = this.#publish(Array.from({ length: count }, () => this.#make())).finally(() => this.#calls.delete(call));
      this.#calls.add(call);
      await delay(this.#random.next() * 2 * (this.#options.pauseMs ?? 25) * (this.#made > MOST_AT_PACE ? 10 : 1));
    }
  }

  async #publish(items: readonly Item[]): Promise<void> {
    const sentMs = performance.now();
    let fate: PublishedEvent['fate'] = 'acknowledged';
    try {
      await this.#publisher.publishMany(items);
    } catch {
      // Some of it may be there.
      fate = 'unknown';
    }
    const atMs = performance.now();
    for (const { id, type, data } of items) {
      this.events.push({ id, type, subject: data.key, number: data.number, fate, sentMs, atMs, innocent: isInnocent(data.order) });
    }
  }

  #make(ordered?: string): Item {
    const random = this.#random;
    const subject = random.whole(0, SUBJECTS - 1);
    const { orders = [], ordersPerThousand = 0, fillerBytes = 40, calm = false } = this.#options;
    const order = ordered ?? (orders.length > 0 && random.chance(ordersPerThousand / 1000) ? random.pick(orders) : calm ? 'ok' : usualOrder(random));
    return {
      type: random.chance(0.4) ? 'test.other' : 'test.event',
      id: `${this.#name}-${this.#made++}`,
      data: { key: `${this.#name}/${subject}`, number: (this.#numbers[subject] = (this.#numbers[subject] as number) + 1), order, filler: new Uint8Array(random.whole(0, fillerBytes)) },
    };
  }
}
