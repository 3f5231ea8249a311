/**
 * The order as an aggregate: its commands, the states that allow them, and their events. Commands
 * come from the gateway and from functions.
 */
import { defineDecider, MillraceError } from 'millrace/define';
import type {
  Item,
  Money,
  OrderCancelled,
  OrderCreated,
  PaymentCaptured,
} from './generated/events.ts';

export type OrderCommand =
  | {
      readonly kind: 'create';
      readonly userId: string;
      readonly country: string;
      readonly currency: string;
      readonly items: readonly Item[];
    }
  | { readonly kind: 'pay'; readonly paymentId: string; readonly amount: Money }
  | { readonly kind: 'cancel'; readonly reason: string }
  /**
   * A credit note: goods come back, and their order is not known here. A credit note has a number
   * and a history of its own. `items` are the goods that come back.
   */
  | {
      readonly kind: 'return';
      readonly userId: string;
      readonly country: string;
      readonly currency: string;
      readonly items: readonly Item[];
      readonly reason: string;
    };

export interface OrderState {
  readonly status: 'none' | 'created' | 'paid' | 'cancelled' | 'returned';
  readonly userId: string;
  readonly country: string;
  readonly items: readonly Item[];
  readonly total: Money | null;
  readonly paymentId: string | null;
}

/** The state of the order does not allow the command. */
export class OrderRefusedError extends MillraceError {
  readonly code = 'ORDER_REFUSED';
  readonly status: OrderState['status'];
  constructor(what: string, status: OrderState['status']) {
    super(
      `the order cannot be ${what}: ${status === 'none' ? 'there is none' : `it is ${status}`}`,
    );
    this.status = status;
  }
}

export const orders = defineDecider({
  category: 'order',
  events: ['order.created', 'payment.captured', 'order.cancelled'],
  snapshot: { version: 2, every: 100 },
  initialState: (): OrderState => ({
    status: 'none',
    userId: '',
    country: '',
    items: [],
    total: null,
    paymentId: null,
  }),

  evolve(state, event): OrderState {
    switch (event.type) {
      case 'order.created':
        return {
          ...state,
          status: 'created',
          userId: event.data.userId,
          country: event.data.country,
          items: event.data.items,
          total: event.data.total,
        };
      case 'payment.captured':
        return { ...state, status: 'paid', paymentId: event.data.paymentId };
      case 'order.cancelled': {
        if (state.status !== 'none') return { ...state, status: 'cancelled' };
        const { userId, country, items, total } = event.data;
        return { ...state, status: 'returned', userId, country, items, total };
      }
    }
  },

  decide(command: OrderCommand, state, { id: orderId }) {
    switch (command.kind) {
      case 'create': {
        if (state.status !== 'none') throw new OrderRefusedError('created', state.status);
        const { userId, country, items, currency } = command;
        return {
          type: 'order.created',
          data: {
            orderId,
            userId,
            country,
            items: [...items],
            total: totalOf(items, currency),
          } satisfies OrderCreated,
        };
      }
      case 'pay':
        if (state.status === 'paid' && state.paymentId === command.paymentId) return [];
        if (state.status !== 'created') throw new OrderRefusedError('paid', state.status);
        return {
          type: 'payment.captured',
          data: {
            orderId,
            paymentId: command.paymentId,
            amount: command.amount,
          } satisfies PaymentCaptured,
        };
      case 'cancel': {
        if (state.status === 'cancelled') return [];
        if (state.status === 'none' || state.status === 'returned')
          throw new OrderRefusedError('cancelled', state.status);
        const { userId, country, items, total } = state;
        return {
          type: 'order.cancelled',
          // The quantities and the total of the order are negative: they are taken back.
          data: {
            orderId,
            userId,
            country,
            reason: command.reason,
            items: takenBack(items),
            total: total && { ...total, amount: -total.amount },
          } satisfies OrderCancelled,
        };
      }
      case 'return': {
        if (state.status !== 'none') throw new OrderRefusedError('a credit note', state.status);
        const { userId, country, currency, reason } = command;
        const items = takenBack(command.items);
        return {
          type: 'order.cancelled',
          data: {
            orderId,
            userId,
            country,
            items,
            total: totalOf(items, currency),
            reason,
          } satisfies OrderCancelled,
        };
      }
    }
  },
});

function totalOf(items: readonly Item[], currency: string): Money {
  return { amount: items.reduce((sum, item) => sum + item.quantity * item.unitPrice, 0), currency };
}

function takenBack(items: readonly Item[]): Item[] {
  return items.map((item) => ({ ...item, quantity: -item.quantity }));
}
