/** The function that BullMQ runs in its sandboxed threads. */
import { readOrder } from '../functions/read-order.ts';
import type { Order } from '../order.ts';

export default function work(job: { readonly data: Order }): Promise<void> {
  readOrder(job.data);
  return Promise.resolve();
}
