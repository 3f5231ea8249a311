import { benchFunction } from '../bench-function.ts';

/** Kept, so that nobody optimises the reading away. */
export const touched = { characters: 0, quantity: 0, total: 0 };

/** Decodes and reads every field. */
export default benchFunction({
  name: 'noop-decode',
  work(order) {
    touched.characters += order.orderId.length + order.userId.length;
    for (const item of order.items) touched.quantity += item.quantity + item.sku.length;
    touched.total += Number(order.total);
  },
});
