/**
 * A process manager: order -> payment -> shipment, each with a time limit.
 *
 * All its events have the order's id as their subject, so they come one after the other, in one
 * partition. The state of the process is in the shop's own books. An event may run again after it
 * has moved the state, so the books remember its idempotency key.
 *
 * The next steps are emitted, and written together with the event's outcome. Time limits are events
 * scheduled for later.
 */
import { defineFunction } from 'millrace/define';
import { moveOrder } from './_order-states.ts';
import { openShop } from './_shop.ts';

const PAYMENT_MS = Number(process.env['SHOP_PAYMENT_MS'] ?? 15 * 60_000);
const SHIPMENT_MS = Number(process.env['SHOP_SHIPMENT_MS'] ?? 3 * 86_400_000);

export default defineFunction({
  name: 'order-process',
  on: [
    'order.created',
    'payment.captured',
    'payment.failed',
    'payment.timeout',
    'shipment.dispatched',
    'shipment.timeout',
  ],
  setup: openShop,
  teardown: (redis) => void redis.disconnect(),
  async handle(event, ctx) {
    const orderId = event.subject;
    switch (await moveOrder(ctx.resources, orderId, event.type, ctx.idempotencyKey)) {
      case 'awaiting-payment': {
        const { userId, total } = event.data as {
          userId: string;
          total: { amount: number; currency: string } | null;
        };
        ctx.emit('payment.requested', { orderId, userId, amount: total });
        ctx.emit('payment.timeout', { orderId }, { delayMs: PAYMENT_MS });
        break;
      }
      case 'awaiting-shipment':
        ctx.emit('shipment.requested', {
          orderId,
          paymentId: (event.data as { paymentId: string }).paymentId,
        });
        ctx.emit('shipment.timeout', { orderId }, { delayMs: SHIPMENT_MS });
        break;
      case 'late':
        ctx.emit('shipment.delayed', { orderId });
        break;
      case 'abandoned':
        ctx.emit('order.abandoned', {
          orderId,
          reason: event.type === 'payment.failed' ? event.data.reason : 'not paid in time',
        });
        break;
      case 'shipped':
      case null:
    }
  },
});
