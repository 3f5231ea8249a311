/**
 * What the benchmark's functions have in common: each thread sums up what it saw and says so in its
 * teardown.
 */
import { BroadcastChannel } from 'node:worker_threads';
import {
  defineFunction,
  type DefinedFunction,
  type FunctionOptions,
} from '../../../src/define/index.ts';
import { note, ORDER_TYPE, type Order, type Seen } from '../order.ts';

/** Where the threads report; the consumer process listens. */
export const SEEN_CHANNEL = 'millrace-bench-seen';

/** The benchmark's event type is not among the project's generated types: free of them here. */
const define = defineFunction as unknown as (
  options: FunctionOptions<string, Seen>,
) => DefinedFunction;

export function benchFunction(options: {
  readonly name: string;
  readonly concurrency?: number;
  readonly work: (order: Order) => void | Promise<void>;
}): DefinedFunction {
  const { work } = options;
  return define({
    name: options.name,
    on: [ORDER_TYPE],
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
    setup: () => ({ count: 0, sum: 0, mixed: 0 }),
    handle(event, ctx) {
      const order = event.data as unknown as Order;
      const waiting = work(order);
      if (waiting === undefined) return note(ctx.resources, order.number);
      return waiting.then(() => note(ctx.resources, order.number));
    },
    teardown(seen) {
      const channel = new BroadcastChannel(SEEN_CHANNEL);
      channel.postMessage(seen);
      channel.close();
    },
  });
}
