/** One process of a rival. Publishes orders, or works through the published ones. */
import { Redis } from 'ioredis';
import { createCatalog } from '../../src/wire/catalog.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { childMain } from './child.ts';
import { makeOrder, note, ORDER_TYPE, type Order, type Seen } from './order.ts';
import { PROTO_DIR } from './settings.ts';

export interface RivalArgument {
  readonly rival: 'ioredis-loop' | 'bullmq';
  readonly role: 'publish' | 'drain';
  /** Url of the server: unix:/path. */
  readonly url: string;
  readonly events: number;
}

export interface RivalResult {
  readonly events: number;
  readonly ms: number;
  readonly seen: Seen;
  readonly rssMb: number;
}

type Work = (socket: string, events: number) => Promise<Omit<RivalResult, 'rssMb'>>;

const BATCH = 500;
const STREAM = 'orders';
const GROUP = 'workers';

const orderType = () => createCatalog(loadProtoFolder(PROTO_DIR)).get(ORDER_TYPE);

/** Publishes one event per entry, in pipelines of 500. */
async function ioredisPublish(socket: string, events: number): ReturnType<Work> {
  const type = orderType();
  const redis = new Redis(socket);
  await redis.ping();
  const began = performance.now();
  for (let i = 0; i < events;) {
    const pipeline = redis.pipeline();
    const now = Date.now();
    for (let n = 0; n < BATCH && i < events; n++, i++) {
      const order = makeOrder(i, now);
      type.check(order);
      pipeline.xadd(STREAM, '*', 'd', Buffer.from(type.encode(order)));
    }
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
  }
  const ms = performance.now() - began;
  await redis.quit();
  return { events, ms, seen: { count: 0, sum: 0, mixed: 0 } };
}

/**
 * Drains with XREADGROUP COUNT 500, decode, XACK. The acknowledgement travels with the next read.
 */
async function ioredisDrain(socket: string, events: number): ReturnType<Work> {
  const type = orderType();
  const redis = new Redis(socket);
  await redis.xgroup('CREATE', STREAM, GROUP, '0', 'MKSTREAM');
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  const began = performance.now();
  let acknowledged: Promise<unknown> = Promise.resolve();
  while (seen.count < events) {
    const reply = (await redis.xreadgroupBuffer(
      'GROUP',
      GROUP,
      'one',
      'COUNT',
      BATCH,
      'STREAMS',
      STREAM,
      '>',
    )) as [Buffer, [Buffer, Buffer[]][]][] | null;
    await acknowledged;
    const entries = reply?.[0]?.[1] ?? [];
    if (entries.length === 0) break;
    for (const [, fields] of entries)
      note(seen, (type.decode(fields[1] as Buffer) as Order).number);
    acknowledged = redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
  }
  await acknowledged;
  const ms = performance.now() - began;
  await redis.quit();
  return { events: seen.count, ms, seen };
}

/** The parts of BullMQ used here. BullMQ is no dependency, so its types may be missing. */
interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    addBulk(jobs: readonly { name: string; data: unknown; opts?: object }[]): Promise<unknown>;
    close(): Promise<void>;
  };
  readonly Worker: new (
    name: string,
    work: (job: { data: Order }) => Promise<void>,
    options: object,
  ) => {
    on(event: 'completed', listener: () => void): void;
    close(): Promise<void>;
  };
}

const loadBullMq = async (): Promise<BullMq> => {
  const name: string = 'bullmq';
  return (await import(name)) as BullMq;
};

async function bullmqPublish(socket: string, events: number): ReturnType<Work> {
  const { Queue } = await loadBullMq();
  const queue = new Queue(STREAM, { connection: { path: socket } });
  const began = performance.now();
  for (let i = 0; i < events;) {
    const jobs: { name: string; data: unknown; opts: object }[] = [];
    const now = Date.now();
    for (let n = 0; n < BATCH && i < events; n++, i++)
      jobs.push({ name: 'order', data: makeOrder(i, now), opts: { removeOnComplete: true } });
    await queue.addBulk(jobs);
  }
  const ms = performance.now() - began;
  await queue.close();
  return { events, ms, seen: { count: 0, sum: 0, mixed: 0 } };
}

async function bullmqDrain(socket: string, events: number): ReturnType<Work> {
  const { Worker } = await loadBullMq();
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  const began = performance.now();
  let completed = 0;
  let worker: InstanceType<BullMq['Worker']> | null = null;
  await new Promise<void>((resolve) => {
    worker = new Worker(
      STREAM,
      (job) => {
        note(seen, job.data.number);
        return Promise.resolve();
      },
      { connection: { path: socket, maxRetriesPerRequest: null }, concurrency: 100 },
    );
    worker.on('completed', () => {
      if (++completed === events) resolve();
    });
  });
  const ms = performance.now() - began;
  await (worker as InstanceType<BullMq['Worker']> | null)?.close();
  return { events: completed, ms, seen };
}

await childMain<RivalArgument, RivalResult>(async ({ rival, role, url, events }, ready) => {
  const works: Record<RivalArgument['rival'], Record<RivalArgument['role'], Work>> = {
    'ioredis-loop': { publish: ioredisPublish, drain: ioredisDrain },
    bullmq: { publish: bullmqPublish, drain: bullmqDrain },
  };
  await ready();
  const result = await works[rival][role](decodeURI(url.replace(/^unix:/, '')), events);
  return { ...result, rssMb: process.resourceUsage().maxRSS / 1024 };
});
