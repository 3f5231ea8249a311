/**
 * Takes the ordered items out of the stock, and puts cancelled items back (their quantities are
 * negative).
 */
import { defineFunction } from 'millrace/define';
import { applyOnce, openShop } from './_shop.ts';

export default defineFunction({
  name: 'inventory',
  on: ['order.created', 'order.cancelled'],
  setup: openShop,
  teardown: (redis) => void redis.disconnect(),
  async handle(event, ctx) {
    await applyOnce(
      ctx.resources,
      'shop:inventory:seen',
      ['shop:stock'],
      [
        {
          idempotencyKey: ctx.idempotencyKey,
          increments: event.data.items.map((item) => [1, item.sku, -item.quantity] as const),
        },
      ],
    );
  },
});
