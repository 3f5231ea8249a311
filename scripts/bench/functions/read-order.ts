import type { Order } from '../order.ts';

/** Kept, so that nobody optimises the reading away. */
export const touched = { characters: 0, quantity: 0, total: 0 };

/** Reads every field. */
export function readOrder(order: Order): void {
  touched.characters += order.orderId.length + order.userId.length;
  for (const item of order.items) touched.quantity += item.quantity + item.sku.length;
  touched.total += Number(order.total);
}
