import type { Order } from '../order.ts';

/** Sums that are kept, so that no compiler optimises the reading away. */
export const touched = { characters: 0, quantity: 0, total: 0 };

/** Reads every field of an order. */
export function readOrder(order: Order): void {
  touched.characters += order.orderId.length + order.userId.length + order.note.length;
  for (const item of order.items) touched.quantity += item.quantity + item.sku.length;
  touched.total += Number(order.total);
}
