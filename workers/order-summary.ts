/**
 * An order as a customer sees it. Orders are looked up by id, by status, and by customer, newest
 * first.
 */
import { defineView } from 'millrace/define';

export interface OrderSummary {
  readonly orderId: string;
  readonly customer: string;
  readonly status: 'created' | 'cancelled';
  readonly itemCount: number;
  /** Pence. */
  readonly total: number;
  /** Time of the order, ms since 1970. */
  readonly createdAt: number;
}

export default defineView({
  name: 'order-summary',
  version: 1,
  on: ['order.created', 'order.cancelled'],
  evolve(row: OrderSummary | null, event): OrderSummary | null {
    const { data } = event;
    const itemCount = data.items.reduce((sum, item) => sum + item.quantity, 0);
    if (event.type === 'order.created') {
      return {
        orderId: event.subject,
        customer: data.userId,
        status: 'created',
        itemCount,
        total: data.total?.amount ?? 0,
        createdAt: event.time.getTime(),
      };
    }
    return row
      ? { ...row, status: 'cancelled' }
      : {
          orderId: event.subject,
          customer: data.userId,
          status: 'cancelled',
          itemCount,
          total: data.total?.amount ?? 0,
          createdAt: event.time.getTime(),
        };
  },
  indexes: {
    status: { by: 'status', sort: 'createdAt' },
    customer: { by: 'customer', sort: 'createdAt' },
    total: { sort: 'total' },
  },
});
