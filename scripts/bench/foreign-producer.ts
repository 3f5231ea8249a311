/**
 * A producer that knows only the wire format and XADD: each event is an entry of its own, without
 * the fields `n`, `c` and `o`.
 */
import { Redis } from 'ioredis';
import { partitionOf } from '../../src/core/partition.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { BatchBuilder } from '../../src/wire/batch-writer.ts';
import { childMain } from './child.ts';
import { makeOrder, ORDER_TYPE } from './order.ts';
import { createOrderEncoder } from './order-encoder.ts';

export interface ForeignProducerArgument {
  readonly url: string;
  readonly events: number;
  readonly partitions: number;
}

export interface ForeignProducerResult {
  readonly ms: number;
}

/** Number of entries of a pipeline. */
const PIPELINE = 500;

await childMain<ForeignProducerArgument, ForeignProducerResult>(
  async ({ url, events, partitions }, ready) => {
    const redis = new Redis(decodeURI(url.replace(/^unix:/, '')));
    const keys = createKeys('mr');
    const encode = createOrderEncoder();
    await redis.ping();
    await ready();
    const began = performance.now();
    for (let number = 0; number < events;) {
      const pipeline = redis.pipeline();
      const timeMs = Date.now();
      for (let n = 0; n < PIPELINE && number < events; n++, number++) {
        const order = makeOrder(number, timeMs);
        const data = encode(order);
        const batch = new BatchBuilder('foreign', Buffer.allocUnsafeSlow(512));
        batch.add({
          id: `foreign-${number}`,
          subject: order.orderId,
          dataBuffer: data,
          dataStart: 0,
          dataEnd: data.length,
          timeMs,
          source: 'foreign',
          schema: 0,
          position: 0,
          extensions: null,
        });
        const stream = keys.events(partitionOf(order.orderId, partitions), ORDER_TYPE);
        pipeline.xadd(stream, '*', 'b', batch.finish().bytes);
      }
      for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
    }
    const ms = performance.now() - began;
    await redis.quit();
    return { ms };
  },
);
