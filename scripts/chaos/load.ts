/** Producers. The seed decides their events; their fates are written down. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Published } from '../../src/pipeline/append/publish-item.ts';
import type { Publisher } from '../../src/pipeline/append/publisher.ts';
import type { PublishedEvent } from '../../src/torture/run-record.ts';
import type { Random } from '../../src/torture/random.ts';
import { EMITS, HELD, LATER, TWICE } from './function-rules.ts';

const SUBJECTS = 12;
const MOST_CALLS = 4;
/**
 * Number of events after which a producer publishes slowly, so that a run is short also where the
 * fault takes long.
 */
const MOST_AT_PACE = 700;

export interface LoadOptions {
  /**
   * Orders of events besides the usual ones. `ordersPerThousand`: how many events of a thousand get
   * one.
   */
  readonly orders?: readonly string[];
  readonly ordersPerThousand?: number;
  /** Whether to leave out the usual trouble. */
  readonly calm?: boolean;
  readonly fillerBytes?: number;
  /** Maximum events of one call. */
  readonly chunk?: number;
  /** Mean pause between calls, ms. */
  readonly pauseMs?: number;
  /** Whether to publish only the two types that most functions consume. */
  readonly plain?: boolean;
}

/**
 * Shares of special types among all events. The rest has the two types that most functions consume.
 */
const SHARES = { twice: 0.1, later: 0.08, held: 0.05 } as const;
/** Share of the repeatable events that are sent again. */
const SENT_AGAIN = 0.5;
/** Most calls between the first sending and the second. */
const LATEST_AGAIN = 8;

/** Returns an order of the usual trouble. */
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
  readonly delayMs?: number;
  readonly id: string;
  readonly data: {
    readonly key: string;
    readonly number: number;
    readonly order: string;
    readonly filler: Uint8Array;
  };
}

export class Producer {
  readonly events: PublishedEvent[] = [];
  readonly #name: string;
  readonly #publisher: Pick<Publisher, 'publishMany'>;
  readonly #random: Random;
  readonly #options: LoadOptions;
  readonly #numbers = new Array<number>(SUBJECTS).fill(0);
  readonly #calls = new Set<Promise<void>>();
  /** Events to be sent again, each after a number of calls. */
  #again: { readonly item: Item; readonly atCall: number }[] = [];
  #callsMade = 0;
  #made = 0;
  #stopping = false;
  #loop: Promise<void> | null = null;

  constructor(
    name: string,
    publisher: Pick<Publisher, 'publishMany'>,
    random: Random,
    options: LoadOptions,
  ) {
    this.#name = name;
    this.#publisher = publisher;
    this.#random = random;
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Stops publishing. Resolves when every call has been answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loop;
    await Promise.all(this.#calls);
    await this.#publish(this.#takeAgain(Infinity), true);
  }

  /** Publishes this many events now. */
  async burst(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 50)
      await this.#publishAll(
        Array.from({ length: Math.min(50, left) }, () => this.#make()),
        [],
      );
  }

  /** Publishes one event with this order. */
  async poison(order: string): Promise<void> {
    await this.#publish([this.#make(order)]);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      while (this.#calls.size >= MOST_CALLS) await Promise.race(this.#calls);
      const count = this.#random.whole(1, this.#options.chunk ?? 12);
      const items = Array.from({ length: count }, () => this.#make());
      const call = this.#publishAll(items, this.#takeAgain(++this.#callsMade)).finally(() =>
        this.#calls.delete(call),
      );
      this.#calls.add(call);
      await delay(
        this.#random.next() *
          2 *
          (this.#options.pauseMs ?? 25) *
          (this.#made > MOST_AT_PACE ? 10 : 1),
      );
    }
  }

  /** Publishes each kind in a call of its own, because a fate is that of a call. */
  async #publishAll(items: readonly Item[], again: readonly Item[]): Promise<void> {
    const now = items.filter((item) => item.delayMs === undefined);
    const later = items.filter((item) => item.delayMs !== undefined);
    await Promise.all([this.#publish(now), this.#publish(later), this.#publish(again, true)]);
  }

  #takeAgain(call: number): Item[] {
    const due = this.#again.filter(({ atCall }) => atCall <= call).map(({ item }) => item);
    this.#again = this.#again.filter(({ atCall }) => atCall > call);
    return due;
  }

  async #publish(items: readonly Item[], again = false): Promise<void> {
    if (items.length === 0) return;
    const sentMs = performance.now();
    let fate: PublishedEvent['fate'] = 'acknowledged';
    let published: readonly Published[] = [];
    try {
      published = await this.#publisher.publishMany(items);
    } catch {
      // Some of the events may be there.
      fate = 'unknown';
    }
    const atMs = performance.now();
    items.forEach(({ id, type, data, delayMs }, i) => {
      this.events.push({
        id,
        type,
        subject: data.key,
        number: data.number,
        fate,
        sentMs,
        atMs,
        innocent: isInnocent(data.order),
        immortal: data.order === 'held',
        again,
        ...(delayMs === undefined ? {} : { dueMs: published[i]?.scheduledMs ?? null }),
      });
    });
  }

  #make(ordered?: string): Item {
    const random = this.#random;
    const subject = random.whole(0, SUBJECTS - 1);
    const { orders = [], ordersPerThousand = 0, fillerBytes = 40, calm = false } = this.#options;
    const order =
      ordered ??
      (orders.length > 0 && random.chance(ordersPerThousand / 1000)
        ? random.pick(orders)
        : calm
          ? 'ok'
          : usualOrder(random));
    const type = ordered !== undefined || this.#options.plain ? this.#plainType() : this.#type();
    const item: Item = {
      type,
      id: `${this.#name}-${this.#made++}`,
      data: {
        key: `${this.#name}/${subject}`,
        number: (this.#numbers[subject] = (this.#numbers[subject] as number) + 1),
        order: type === HELD.type ? (subject % 2 === 0 ? 'held' : 'ok') : order,
        filler: new Uint8Array(random.whole(0, fillerBytes)),
      },
      ...(type === LATER.type ? { delayMs: random.whole(...LATER.delayMs) } : {}),
    };
    if (type === TWICE && random.chance(SENT_AGAIN))
      this.#again.push({ item, atCall: this.#callsMade + random.whole(1, LATEST_AGAIN) });
    return item;
  }

  #plainType(): string {
    return this.#random.chance(0.4) ? EMITS.on : 'test.event';
  }

  #type(): string {
    const x = this.#random.next();
    if (x < SHARES.twice) return TWICE;
    if (x < SHARES.twice + SHARES.later) return LATER.type;
    return x < SHARES.twice + SHARES.later + SHARES.held ? HELD.type : this.#plainType();
  }
}
