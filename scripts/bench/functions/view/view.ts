/** A view whose rows show whether each event was folded once: their sums are those of `Seen`. */
import {
  defineView,
  type DefinedFunction,
  type ViewOptions,
} from '../../../../src/define/index.ts';
import { mix, ORDER_TYPE, type Order } from '../../order.ts';

export interface OrderRow {
  readonly orderId: string;
  readonly userId: string;
  readonly status: 'open' | 'complete';
  readonly total: number;
  readonly changedAt: number;
  readonly count: number;
  readonly sum: number;
  readonly mixed: number;
}

/**
 * The project's generated types do not have the benchmark's event type, so this is typed without
 * them.
 */
type Fold = (row: OrderRow | null, event: { readonly data: Record<string, unknown> }) => OrderRow;
const define = defineView as unknown as (
  options: Omit<ViewOptions<string, never>, 'on' | 'evolve' | 'indexes'> & {
    on: string[];
    evolve: Fold;
    indexes: object;
  },
) => DefinedFunction;

export default define({
  name: 'view',
  version: 1,
  on: [ORDER_TYPE],
  evolve(row, event) {
    const order = event.data as unknown as Order;
    const number = Number(order.number);
    const count = (row?.count ?? 0) + 1;
    return {
      orderId: order.orderId,
      userId: order.userId,
      status: count >= 5 ? 'complete' : 'open',
      total: (row?.total ?? 0) + Number(order.total),
      changedAt: Number(order.sentMs),
      count,
      sum: (row?.sum ?? 0) + number,
      mixed: (row?.mixed ?? 0) + mix(number),
    };
  },
  indexes: { status: { by: 'status' }, user: { by: 'userId' } },
});
