/** What the view order-summary must hold, folded apart from it over the orders, and the comparison row by row. */
import type { View } from '../../src/index.ts';
import type { Order } from './orders.ts';

/** As workers/order-summary.ts makes them; `createdAt` is the time of publication. */
export interface Summary {
  readonly orderId: string;
  readonly customer: string;
  readonly status: 'created' | 'cancelled';
  readonly itemCount: number;
  readonly total: number;
  readonly createdAt?: number;
}

export function foldOrder(rows: Map<string, Summary>, { type, data }: Order): void {
  const before = rows.get(data.orderId);
  if (type === 'order.cancelled' && before) rows.set(data.orderId, { ...before, status: 'cancelled' });
  else {
    rows.set(data.orderId, {
      orderId: data.orderId, customer: data.userId, status: type === 'order.created' ? 'created' : 'cancelled',
      itemCount: data.items.reduce((sum, item) => sum + item.quantity, 0), total: data.total.amount,
    });
  }
}

/** @returns what differs, at most ten lines of it; empty: row by row the same, and both lists by status hold the rows of that status */
export async function compareSummaries(view: View<Summary>, expected: ReadonlyMap<string, Summary>): Promise<string[]> {
  const wrong: string[] = [];
  const note = (text: string): void => {
    if (wrong.length < 10) wrong.push(text);
  };
  let seen = 0;
  for (const status of ['created', 'cancelled'] as const) {
    let cursor: string | null = null;
    let listed = 0;
    let last = Infinity;
    do {
      const page: Awaited<ReturnType<typeof view.list>> = await view.list({ index: 'status', equals: status, order: 'desc', limit: 1000, ...(cursor === null ? {} : { cursor }) });
      for (const { id, row } of page.rows) {
        listed++;
        const { createdAt = NaN, ...rest } = row;
        if (!(createdAt <= last)) note(`${id} stands behind one that is older`);
        last = createdAt;
        const wanted = expected.get(id);
        if (JSON.stringify(rest) !== JSON.stringify(wanted)) note(`${id} is ${JSON.stringify(rest)}, should be ${JSON.stringify(wanted)}`);
        else if (rest.status !== status) note(`${id} is listed as ${status}, its row says ${rest.status}`);
      }
      cursor = page.cursor;
    } while (cursor !== null);
    const { count } = await view.count({ index: 'status', equals: status });
    if (count !== listed) note(`${count} orders ${status} are counted, ${listed} listed`);
    seen += listed;
  }
  if (seen !== expected.size) note(`the view has ${seen} orders, should have ${expected.size}`);
  return wrong;
}
