/**
 * The rows that the view order-summary must hold, folded apart from it: over the orders, and over
 * all histories. Also the comparisons, row by row.
 */
import { defineAggregate, type EventStore, type View, type ViewRow } from '../../src/index.ts';
import { inParallel } from './in-parallel.ts';
import type { Order } from './orders.ts';

/** A row as workers/order-summary.ts makes it. */
export interface Summary {
  readonly orderId: string;
  readonly customer: string;
  readonly status: 'created' | 'cancelled';
  readonly itemCount: number;
  readonly total: number;
  /** Time of the decision, which the input does not know. */
  readonly createdAt?: number;
}

/** Number of histories read at the same time. */
const UNDER_WAY = 256;
/** Number of differences shown. */
const SHOWN = 10;

interface Happened {
  readonly type: Order['type'];
  readonly data: Pick<Order['data'], 'orderId' | 'userId'> & {
    readonly items: readonly { readonly quantity: number }[];
    readonly total: { readonly amount: number } | null;
  };
  readonly time?: Date;
}

function fold(before: Summary | null, { type, data, time }: Happened): Summary {
  if (type === 'order.cancelled' && before) return { ...before, status: 'cancelled' };
  return {
    orderId: data.orderId,
    customer: data.userId,
    status: type === 'order.created' ? 'created' : 'cancelled',
    itemCount: data.items.reduce((sum, item) => sum + item.quantity, 0),
    total: data.total?.amount ?? 0,
    ...(time ? { createdAt: time.getTime() } : {}),
  };
}

export function foldOrder(rows: Map<string, Summary>, order: Order): void {
  rows.set(order.data.orderId, fold(rows.get(order.data.orderId) ?? null, order));
}

const folded = defineAggregate({
  category: 'order',
  events: ['order.created', 'order.cancelled'],
  initialState: (): Summary | null => null,
  evolve: (row, event) => fold(row, event),
});

/**
 * Reads all rows of the view, listed by status, newest first. Problems of the lists go to `wrong`.
 */
export async function readSummaries(
  view: View<Summary>,
  wrong: string[],
): Promise<Map<string, ViewRow<Summary>>> {
  const rows = new Map<string, ViewRow<Summary>>();
  for (const status of ['created', 'cancelled'] as const) {
    let cursor: string | null = null;
    let listed = 0;
    let last = Infinity;
    do {
      const page: Awaited<ReturnType<typeof view.list>> = await view.list({
        index: 'status',
        equals: status,
        order: 'desc',
        limit: 1000,
        ...(cursor === null ? {} : { cursor }),
      });
      if (page.lag !== 0) note(wrong, `the list of orders ${status} is ${page.lag} events behind`);
      for (const found of page.rows) {
        const { id, row } = found;
        listed++;
        if (!((row.createdAt ?? NaN) <= last)) note(wrong, `${id} stands behind one that is older`);
        last = row.createdAt ?? NaN;
        if (row.status !== status)
          note(wrong, `${id} is listed as ${status}, its row says ${row.status}`);
        if (rows.has(id)) note(wrong, `${id} is listed twice`);
        rows.set(id, found);
      }
      cursor = page.cursor;
    } while (cursor !== null);
    const { count } = await view.count({ index: 'status', equals: status });
    if (count !== listed) note(wrong, `${count} orders ${status} are counted, ${listed} listed`);
  }
  return rows;
}

/** @returns at most ten lines of differences; empty: equal row by row */
export function compareWithInput(
  rows: ReadonlyMap<string, ViewRow<Summary>>,
  expected: ReadonlyMap<string, Summary>,
): string[] {
  const wrong: string[] = [];
  for (const [id, { row }] of rows) {
    const { createdAt: _, ...rest } = row;
    if (!same(rest, expected.get(id)))
      note(
        wrong,
        `${id} is ${JSON.stringify(rest)}, the input says ${JSON.stringify(expected.get(id))}`,
      );
  }
  if (rows.size !== expected.size)
    note(wrong, `the view has ${rows.size} orders, the input ${expected.size}`);
  return wrong;
}

/** Compares with a fold over every history: all fields, and the number of events folded. */
export async function compareWithHistories(
  rows: ReadonlyMap<string, ViewRow<Summary>>,
  store: EventStore,
  signal: AbortSignal,
): Promise<string[]> {
  const wrong: string[] = [];
  let histories = 0;
  await inParallel(store.histories('order'), { limit: UNDER_WAY, signal }, async (id) => {
    histories++;
    const { state, revision } = await store.load(folded, id);
    const found = rows.get(id);
    if (!same(found?.row, state))
      note(
        wrong,
        `${id} is ${JSON.stringify(found?.row)}, its history says ${JSON.stringify(state)}`,
      );
    else if (found?.revision !== revision)
      note(wrong, `${id} has ${found?.revision} events folded, its history has ${revision}`);
  });
  if (rows.size !== histories)
    note(wrong, `the view has ${rows.size} orders, there are ${histories} histories`);
  return wrong;
}

const same = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one) === JSON.stringify(other);

function note(wrong: string[], text: string): void {
  if (wrong.length < SHOWN) wrong.push(text);
}
