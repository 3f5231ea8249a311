/** Redis dies, forgets, is full, or holds corrupt data. */
import { setTimeout as delay } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { statSync, truncateSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Redis } from 'ioredis';
import { BatchBuilder } from '../../../src/wire/batch-writer.ts';
import type { Fault, FaultContext } from '../fault.ts';
import { RULES_OF_FUNCTIONS } from '../function-rules.ts';
import { growingFile } from './growing-file.ts';
import type { TestRedis } from '../../lab/redis-server.ts';

const server = ({ redis }: FaultContext): TestRedis => {
  if (!redis) throw new Error('this fault needs a single server');
  return redis;
};

const restart = (appendfsync: 'everysec' | 'always'): Fault => ({
  name: `redis-kill-${appendfsync}`,
  about: `kill -9 of redis-server and restart, appendfsync ${appendfsync}`,
  appendfsync,
  async inject(context) {
    for (let i = 0; i < 2; i++) {
      await context.pause(100, 500);
      await context.note('kill redis');
      await server(context).kill();
      await context.pause(0, 600);
      await server(context).restart();
    }
  },
});

const FUNCTIONS = RULES_OF_FUNCTIONS.flatMap(({ name, on }) =>
  on.map((type) => [name, type] as const),
);
const TYPES = [...new Set(FUNCTIONS.map(([, type]) => type))];

/**
 * Returns entries that no publisher of Millrace would write: rubbish, half an entry, a wrong bit,
 * another type, nothing.
 */
function corruptions(random: FaultContext['random'], good: Buffer): (string | Buffer)[][] {
  const flipped = Buffer.from(good);
  const at = random.whole(0, good.length - 1);
  flipped[at] = (flipped[at] as number) ^ (1 << random.whole(0, 7));
  const noise = randomBytes(random.whole(1, 80));
  return [
    ['b', noise, 'n', '1', 'c', String(crc32(good))],
    ['b', good.subarray(0, random.whole(1, good.length - 1)), 'n', '1', 'c', String(crc32(good))],
    ['b', flipped, 'n', '1', 'c', String(crc32(good))],
    ['b', good, 'n', '7', 'c', String(crc32(good))],
    ['b', '', 'n', '1'],
    ['something', 'else'],
  ];
}

export const serverFaults: readonly Fault[] = [
  restart('everysec'),
  restart('always'),
  {
    name: 'power-loss',
    about:
      'the append-only file cut back to an earlier size: events acknowledged since may be missing, never doubled',
    appendfsync: 'everysec',
    async inject(context) {
      const redis = server(context);
      const file = growingFile(redis.dir);
      const samples: { readonly atMs: number; readonly bytes: number }[] = [];
      const until = performance.now() + context.random.whole(600, 1600);
      while (performance.now() < until) {
        samples.push({ atMs: performance.now(), bytes: statSync(file).size });
        await delay(25);
      }
      await context.note('power loss');
      const cut = samples[
        Math.max(0, samples.length - 1 - context.random.whole(0, Math.min(samples.length - 1, 40)))
      ] as { atMs: number; bytes: number };
      context.allowed.stateGoesBack = true;
      await redis.kill();
      truncateSync(file, cut.bytes);
      await redis.restart();
      context.lostSince(cut.atMs, performance.now());
    },
  },
  {
    name: 'lost-group',
    about: 'consumer groups destroyed under way',
    async inject(context) {
      const look: Redis = server(context).client();
      context.allowed.runsAgain = true;
      for (let i = 0; i < 6; i++) {
        const [fn, type] = context.random.pick(FUNCTIONS);
        await context.note(`destroy group ${fn}`);
        await look.xgroup(
          'DESTROY',
          `mr:{${context.random.whole(0, context.partitions - 1)}}:events:${type}`,
          fn,
        );
        await context.pause(50, 300);
      }
    },
  },
  {
    name: 'flushall',
    about: 'FLUSHALL under way: everything before it is gone, everything after it is processed',
    async inject(context) {
      const look: Redis = server(context).client();
      await context.pause(100, 600);
      context.allowed.stateGoesBack = true;
      await look.flushall();
      await context.note('flushall');
      context.lostSince(-Infinity, performance.now());
      await context.pause(1000, 1500);
    },
  },
  {
    name: 'server-clock',
    about:
      'the wall clock of redis-server jumps by up to two minutes, either way; a dispatcher is killed meanwhile (takes a C compiler)',
    needs: 'server clock',
    async inject(context) {
      const { serverClock, random, dispatchers, spawn, pause, note } = context;
      if (!serverClock) throw new Error('this fault needs the clock of its server');
      const look: Redis = server(context).client();
      let aheadMs = 0;
      let mostMs = 0;
      for (let i = 0; i < 6; i++) {
        const jumpMs = random.pick([-120_000, -10_000, -1000, 1000, 10_000, 120_000]);
        if (jumpMs < 0) context.allowed.clockGoesBack = true;
        aheadMs += jumpMs;
        mostMs = Math.max(mostMs, aheadMs);
        await note(`server's clock ${aheadMs} ms`);
        serverClock.shift(aheadMs);
        const [seconds = 0] = await look.time();
        if (Math.abs(Number(seconds) * 1000 - Date.now() - aheadMs) > 5000)
          throw new Error(`the server's clock is not ${aheadMs} ms ahead: nothing was tested`);
        await pause(100, 500);
        if (i !== 2) continue;
        await random.pick(dispatchers).kill();
        await spawn();
      }
      // Events due by the clock that was furthest ahead wait for that time. The run does not wait
      // for them.
      serverClock.shift(mostMs);
      await note(`server's clock ${mostMs} ms`);
      await pause(300, 600);
    },
  },
  {
    name: 'maxmemory',
    about: 'Redis full under noeviction, later raised again',
    load: () => ({ fillerBytes: 20_000, chunk: 20 }),
    async inject(context) {
      const look: Redis = server(context).client();
      const used = Number(/used_memory:(\d+)/.exec(await look.info('memory'))?.[1]);
      await look.config('SET', 'maxmemory', used + context.random.whole(200_000, 2_000_000));
      await context.note('maxmemory');
      await context.pause(1500, 2500);
      if (!/errorstat_OOM:/.test(await look.info('errorstats')))
        throw new Error('memory has not run out: nothing was tested');
      await look.config('SET', 'maxmemory', 0);
    },
  },
  {
    name: 'corrupt',
    about: 'corrupt entries in the streams: rubbish, cut, one bit flipped, a wrong count, empty',
    async inject(context) {
      context.allowed.foreign = true;
      const look: Redis = server(context).client();
      for (let i = 0; i < 12; i++) {
        const builder = new BatchBuilder();
        const dataBuffer = context.service.deployment.catalog
          .get('test.event')
          .encode({ key: `foreign/${i}`, number: 0, order: 'ok', filler: new Uint8Array(9) });
        builder.add({
          id: `foreign-${i}`,
          subject: `foreign/${i}`,
          timeMs: Date.now(),
          source: 'foreign',
          schema: 0,
          position: 0,
          extensions: null,
          dataBuffer,
          dataStart: 0,
          dataEnd: dataBuffer.length,
        });
        const good = builder.finish().bytes;
        const stream = `mr:{${context.random.whole(0, context.partitions - 1)}}:events:${context.random.pick(TYPES)}`;
        const fields = context.random.chance(0.2)
          ? ['b', good]
          : context.random.pick(corruptions(context.random, good));
        await look.call('XADD', stream, '*', ...fields);
        await context.pause(20, 120);
      }
    },
  },
];
