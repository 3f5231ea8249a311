/**
 * Counts orders, cancellations, items and revenue (in pence) per country. It is a batch function:
 * many events take one round trip.
 */
import { defineFunction } from 'millrace/define';
import { applyOnce, openShop } from './_shop.ts';

const [ORDERS, CANCELLATIONS, ITEMS, REVENUE] = [1, 2, 3, 4];

export default defineFunction({
  name: 'analytics',
  on: ['order.created', 'order.cancelled'],
  batchSize: 500,
  setup: openShop,
  teardown: (redis) => void redis.disconnect(),
  async handleBatch(events, ctx) {
    await applyOnce(
      ctx.resources,
      'shop:analytics:seen',
      [
        'shop:analytics:orders',
        'shop:analytics:cancellations',
        'shop:analytics:items',
        'shop:analytics:revenue',
      ],
      events.map((event) => {
        const { country, items, total } = event.data;
        return {
          idempotencyKey: ctx.idempotencyKeyOf(event),
          increments: [
            [event.type === 'order.created' ? ORDERS : CANCELLATIONS, country, 1],
            [ITEMS, country, items.reduce((sum, item) => sum + item.quantity, 0)],
            [REVENUE, country, total?.amount ?? 0],
          ] as const,
        };
      }),
    );
  },
});
