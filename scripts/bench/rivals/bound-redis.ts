/**
 * The bound of Redis and its client: appends, reads and acknowledges entries of 250 events, and
 * does nothing else. The entries are encoded before the clock runs, and decoded after it.
 */
import { Redis } from 'ioredis';
import { walkBatch } from '../../../src/wire/batch-reader.ts';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import { makeOrder } from '../order.ts';
import { createOrderEncoder, orderType } from '../order-encoder.ts';
import { readGroup, runPipeline } from './ioredis-loop.ts';
import { GROUP, inBatches, noteOrder, nothingSeen, STREAM, type Rival } from './rival.ts';

/** Events of an entry, as the publisher makes them flat out, and entries of a pipeline. */
const ENTRY = 250;
const ENTRIES = 20;

function encodeEntry(from: number, to: number, encode: ReturnType<typeof createOrderEncoder>) {
  const timeMs = Date.now();
  const batch = new BatchBuilder('bound');
  for (let number = from; number < to; number++) {
    const order = makeOrder(number, timeMs);
    const data = encode(order);
    batch.add({
      id: `bound-${number}`,
      subject: order.orderId,
      dataBuffer: data,
      dataStart: 0,
      dataEnd: data.length,
      timeMs,
      source: 'bound',
      schema: 0,
      position: number - from,
      extensions: null,
    });
  }
  return batch.finish().bytes;
}

export const boundRedis: Rival = {
  async publish({ server, events }) {
    const encode = createOrderEncoder();
    const entries: Buffer[] = [];
    for (let from = 0; from < events; from += ENTRY)
      entries.push(encodeEntry(from, Math.min(events, from + ENTRY), encode));
    const redis = new Redis(server);
    await redis.ping();
    const ms = await inBatches(entries.length, ENTRIES, async (from, to) => {
      const pipeline = redis.pipeline();
      for (const entry of entries.slice(from, to)) pipeline.xadd(STREAM, '*', 'b', entry);
      await runPipeline(pipeline);
    });
    await redis.quit();
    return { events, ms, seen: nothingSeen() };
  },

  async drain({ server }) {
    const redis = new Redis(server);
    await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
    const read: Buffer[] = [];
    const began = performance.now();
    let acknowledged: Promise<unknown> = Promise.resolve();
    for (;;) {
      const entries = await readGroup(redis, ENTRIES);
      await acknowledged;
      if (entries.length === 0) break;
      for (const [, fields] of entries) read.push(fields[1] as Buffer);
      acknowledged = redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
    }
    const ms = performance.now() - began;
    await redis.quit();
    const type = orderType();
    const seen = nothingSeen();
    for (const bytes of read)
      walkBatch(bytes, ({ dataOffset, dataLength }) =>
        noteOrder(seen, type.decode(bytes.subarray(dataOffset, dataOffset + dataLength))),
      );
    return { events: seen.count, ms, seen };
  },
};
