/** The order as an aggregate: what may be done with it when, and what follows. Commands come from the gateway and from functions. */
import { defineDecider, MillraceError } from 'millrace/define';
import type { Item, Money, OrderCancelled, OrderCreated, PaymentCaptured } from './generated/events.ts';

export type OrderCommand =
  | { readonly kind: 'create'; readonly userId: string; readonly country: string; readonly currency: string; readonly items: readonly Item[] }
  | { readonly kind: 'pay'; readonly paymentId: string; readonly amount: Money }
  | { readonly kind: 'cancel'; readonly reason: string };

export interface OrderState {
  readonly status: 'none' | 'created' | 'paid' | 'cancelled';
  readonly userId: string;
  readonly country: string;
  readonly items: readonly Item[];
  readonly total: Money | null;
  readonly paymentId: string | null;
}

/** The order is not in a state in which this may be done. */
export class OrderRefusedError extends MillraceError {
  readonly code = 'ORDER_REFUSED';
  readonly status: OrderState['status'];
  constructor(what: string, status: OrderState['status']) {
    super(`the order cannot be ${what}: ${status === 'none' ? 'there is none' : `it is ${status}`}`);
    this.status = status;
  }
}

export const orders = defineDecider({
  category: 'order',
  events: ['order.created', 'payment.captured', 'order.cancelled'],
  snapshot: { version: 1, every: 100 },
  initialState: (): OrderState => ({ status: 'none', userId: '', country: '', items: [], total: null, paymentId: null }),

  evolve(state, event): OrderState {
    switch (event.type) {
      case 'order.created':
        return { ...state, status: 'created', userId: event.data.userId, country: event.data.country, items: event.data.items, total: event.data.total };
      case 'payment.captured':
        return { ...state, status: 'paid', paymentId: event.data.paymentId };
      case 'order.cancelled':
        return { ...state, status: 'cancelled' };
    }
  },

  decide(command: OrderCommand, state, { id: orderId }) {
    switch (command.kind) {
      case 'create': {
        if (state.status !== 'none') throw new OrderRefusedError('created', state.status);
        const { userId, country, items, currency } = command;
        const amount = items.reduce((sum, item) => sum + item.quantity * item.unitPrice, 0);
        return { type: 'order.created', data: { orderId, userId, country, items: [...items], total: { amount, currency } } satisfies OrderCreated };
      }
      case 'pay':
        if (state.status === 'paid' && state.paymentId === command.paymentId) return [];
        if (state.status !== 'created') throw new OrderRefusedError('paid', state.status);
        return { type: 'payment.captured', data: { orderId, paymentId: command.paymentId, amount: command.amount } satisfies PaymentCaptured };
      case 'cancel': {
        if (state.status === 'cancelled') return [];
        if (state.status === 'none') throw new OrderRefusedError('cancelled', state.status);
        const { userId, country, items, total } = state;
        return {
          type: 'order.cancelled',
          // What is taken back: the quantities and the total of the order, negative.
          data: {
            orderId, userId, country, reason: command.reason,
            items: items.map((item) => ({ ...item, quantity: -item.quantity })),
            total: total && { ...total, amount: -total.amount },
          } satisfies OrderCancelled,
        };
      }
    }
  },
});
