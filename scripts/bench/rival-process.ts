/** One process of a rival. Publishes orders, or works through the published ones. */
import { childMain } from './child.ts';
import type { RivalName } from './options.ts';
import { boundRedis } from './rivals/bound-redis.ts';
import { bullmq, bullmqSandbox } from './rivals/bullmq.ts';
import { ioredisLoop } from './rivals/ioredis-loop.ts';
import { jetstream } from './rivals/jetstream.ts';
import { nodeRedisLoop } from './rivals/node-redis-loop.ts';
import type { Rival, RivalRun, RivalTask } from './rivals/rival.ts';

/** Rivals that publish in one process, and drain in another. */
export type QueueRival = Exclude<RivalName, 'bound-decode' | 'naive-append' | 'watch-append'>;

export interface RivalArgument extends RivalTask {
  readonly rival: QueueRival;
  readonly role: keyof Rival;
}

export interface RivalResult extends RivalRun {
  readonly rssMb: number;
}

const RIVALS: Readonly<Record<QueueRival, Rival>> = {
  'bound-redis': boundRedis,
  'ioredis-loop': ioredisLoop,
  'node-redis-loop': nodeRedisLoop,
  bullmq,
  'bullmq-sandbox': bullmqSandbox,
  jetstream,
};

await childMain<RivalArgument, RivalResult>(async ({ rival, role, ...task }, ready) => {
  await ready();
  const result = await RIVALS[rival][role](task);
  return { ...result, rssMb: process.resourceUsage().maxRSS / 1024 };
});
