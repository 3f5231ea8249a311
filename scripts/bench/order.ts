/** The orders of the benchmark, and the sums that check a run. */
export const ORDER_TYPE = 'bench.order';

export interface Order {
  readonly orderId: string;
  readonly userId: string;
  readonly items: readonly {
    readonly sku: string;
    readonly quantity: number;
    readonly unitPrice: number;
  }[];
  readonly total: number;
  readonly sentMs: number;
  readonly number: number;
  /** Text that makes the payload larger; empty: the order of about 100 bytes. */
  readonly note: string;
}

// Customers and articles are known before an order comes in. The order's id is new.
const USERS = Array.from({ length: 50_000 }, (_, i) => `customer-${10_000 + i}`);
const FIRST_SKUS = Array.from({ length: 4000 }, (_, i) => `SKU-${10_000 + i}-BLUE-L`);
const SECOND_SKUS = Array.from({ length: 3000 }, (_, i) => `SKU-${20_000 + i}-XL`);

/** Number of orders whose events are mixed: the orders open in a shop at a time. */
const MIXED = 1000;

/** Number of different texts of one length. */
const NOTES = 64;
const TEXT = Array.from({ length: 2000 }, (_, i) => `line ${i}, `).join('');

/**
 * @param eventsPerOrder events of one order; MIXED orders come at a time
 * @param noteBytes length of the note
 */
export function makeOrder(
  number: number,
  sentMs: number,
  eventsPerOrder = 1,
  noteBytes = 0,
): Order {
  const first = 100 + (number % 900);
  const second = 1000 + (number % 9000);
  const order =
    eventsPerOrder === 1
      ? number
      : Math.floor(number / (MIXED * eventsPerOrder)) * MIXED + (number % MIXED);
  return {
    orderId: `order-${1_000_000_000 + order}`,
    // All events of an order are of one customer.
    userId: USERS[(order * 7919) % USERS.length] as string,
    items: [
      {
        sku: FIRST_SKUS[number % FIRST_SKUS.length] as string,
        quantity: 1 + (number % 5),
        unitPrice: first,
      },
      { sku: SECOND_SKUS[number % SECOND_SKUS.length] as string, quantity: 1, unitPrice: second },
    ],
    total: first * (1 + (number % 5)) + second,
    sentMs: sentMs,
    number,
    note: noteBytes === 0 ? '' : TEXT.slice(number % NOTES, (number % NOTES) + noteBytes),
  };
}

/**
 * Count and sums of the events that the functions saw. The same number with the same two sums
 * means: every event once. There are two sums, because a lost and a doubled event can cancel out in
 * one.
 */
export interface Seen {
  count: number;
  sum: number;
  mixed: number;
}

/** Returns 24 well-mixed bits of a number: the sum over millions stays exact. */
export function mix(number: number): number {
  let x = Math.imul(number ^ 0x9e3779b9, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) & 0xffffff;
}

export function note(seen: Seen, number: number): void {
  seen.count++;
  seen.sum += number;
  seen.mixed += mix(number);
}

/**
 * Returns the count and sums that this many functions together must have seen after `events`
 * orders.
 */
export function expectedSeen(events: number, functions = 1): Seen {
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  for (let i = 0; i < events; i++) note(seen, i);
  return {
    count: seen.count * functions,
    sum: seen.sum * functions,
    mixed: seen.mixed * functions,
  };
}

export function sameSeen(a: Seen, b: Seen): boolean {
  return a.count === b.count && a.sum === b.sum && a.mixed === b.mixed;
}
