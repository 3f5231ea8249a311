/** The loop that a user writes by hand, with ioredis: one event an entry, 500 in a pipeline. */
import { Redis } from 'ioredis';
import { makeOrder } from '../order.ts';
import { createOrderEncoder, orderType } from '../order-encoder.ts';
import { BATCH, GROUP, inBatches, noteOrder, nothingSeen, STREAM, type Rival } from './rival.ts';

export type BufferEntries = [Buffer, Buffer[]][];

/** Reads the next entries of a group; none: the stream has no more. */
export async function readGroup(redis: Redis, count: number): Promise<BufferEntries> {
  const reply = (await redis.xreadgroupBuffer(
    'GROUP',
    GROUP,
    'one',
    'COUNT',
    count,
    'STREAMS',
    STREAM,
    '>',
  )) as [Buffer, BufferEntries][] | null;
  return reply?.[0]?.[1] ?? [];
}

export async function runPipeline(pipeline: ReturnType<Redis['pipeline']>): Promise<void> {
  for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
}

export const ioredisLoop: Rival = {
  async publish({ server, events }) {
    const encode = createOrderEncoder();
    const redis = new Redis(server);
    await redis.ping();
    const ms = await inBatches(events, BATCH, async (from, to) => {
      const pipeline = redis.pipeline();
      const now = Date.now();
      for (let i = from; i < to; i++) pipeline.xadd(STREAM, '*', 'd', encode(makeOrder(i, now)));
      await runPipeline(pipeline);
    });
    await redis.quit();
    return { events, ms, seen: nothingSeen() };
  },

  /** The acknowledgement travels with the next read. */
  async drain({ server, events }) {
    const type = orderType();
    const redis = new Redis(server);
    await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
    const seen = nothingSeen();
    const began = performance.now();
    let acknowledged: Promise<unknown> = Promise.resolve();
    while (seen.count < events) {
      const entries = await readGroup(redis, BATCH);
      await acknowledged;
      if (entries.length === 0) break;
      for (const [, fields] of entries) noteOrder(seen, type.decode(fields[1] as Buffer));
      acknowledged = redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
    }
    await acknowledged;
    const ms = performance.now() - began;
    await redis.quit();
    return { events: seen.count, ms, seen };
  },
};
