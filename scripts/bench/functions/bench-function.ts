/**
 * The common part of the benchmark's functions. Each thread sums up the events that it saw, and
 * reports the sums in its teardown.
 */
import { BroadcastChannel } from 'node:worker_threads';
import {
  defineFunction,
  type DefinedFunction,
  type FunctionOptions,
} from '../../../src/define/index.ts';
import { note, ORDER_TYPE, type Order, type Seen } from '../order.ts';

/** Channel on which the threads report to the consumer process. */
export const SEEN_CHANNEL = 'millrace-bench-seen';

/**
 * The project's generated types do not have the benchmark's event type, so this is typed without
 * them.
 */
const define = defineFunction as unknown as (
  options: FunctionOptions<string, Seen>,
) => DefinedFunction;

export function benchFunction(options: {
  readonly name: string;
  readonly concurrency?: number;
  /** @param attempt number of this attempt, from 1 */
  readonly work: (order: Order, attempt: number) => void | Promise<void>;
}): DefinedFunction {
  const { work } = options;
  return define({
    name: options.name,
    on: [ORDER_TYPE],
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
    setup: () => ({ count: 0, sum: 0, mixed: 0 }),
    handle(event, ctx) {
      const order = event.data as unknown as Order;
      const waiting = work(order, ctx.attempt);
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
