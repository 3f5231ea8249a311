import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { deadLetters, settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const PARTITIONS = 2;
const TYPES = ['test.event', 'test.other'];

/**
 * One moment's picture of a partition, counted from the data itself and not from the counters:
 *
 * - events in entries delivered and not acknowledged
 * - events behind the group's last entry
 * - records in parked lists
 * - events in dead letters
 */
const PICTURE = `
local fn, counters, due, dead = ARGV[1], KEYS[1], KEYS[2], KEYS[3]
local pending, lag, parked, gone = 0, 0, 0, 0
local function events(entry) for f = 1, #entry[2], 2 do if entry[2][f] == 'n' then return tonumber(entry[2][f + 1]) end end return 1 end
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    for _, p in ipairs(redis.call('XPENDING', KEYS[i], fn, '-', '+', 100000)) do
      local entry = redis.call('XRANGE', KEYS[i], p[1], p[1])[1]
      if entry then pending = pending + events(entry) end
    end
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[i])) do
      local last, name
      for f = 1, #group, 2 do
        if group[f] == 'name' then name = group[f + 1] elseif group[f] == 'last-delivered-id' then last = group[f + 1] end
      end
      if name == fn then for _, entry in ipairs(redis.call('XRANGE', KEYS[i], '(' .. last, '+')) do lag = lag + events(entry) end end
    end
  end
end
local prefix = ARGV[2]
for _, unit in ipairs(redis.call('ZRANGE', due, 0, -1)) do parked = parked + redis.call('LLEN', prefix .. unit) end
for _, entry in ipairs(redis.call('XRANGE', dead, '-', '+')) do
  for f = 1, #entry[2], 2 do if entry[2][f] == 'events' then gone = gone + tonumber(entry[2][f + 1]) end end
end
return {pending, lag, parked, gone, redis.call('HGETALL', counters)}`;

interface Picture {
  readonly pending: number;
  readonly lag: number;
  readonly parked: number;
  readonly dead: number;
  readonly counted: { appended: number; done: number; parked: number; dead: number };
}

async function picture(redis: Redis, fn: string, p: number): Promise<Picture> {
  const keys = [
    `mr:{${p}}:counters`,
    `mr:{${p}}:due:${fn}`,
    `mr:{${p}}:dead:${fn}`,
    ...TYPES.map((type) => `mr:{${p}}:events:${type}`),
  ];
  const reply = (await redis.eval(
    PICTURE,
    keys.length,
    ...keys,
    fn,
    `mr:{${p}}:parked:${fn}:`,
  )) as [number, number, number, number, string[]];
  const counted = { appended: 0, done: 0, parked: 0, dead: 0 };
  for (let i = 0; i < reply[4].length; i += 2) {
    const [name = '', second = ''] = (reply[4][i] as string).split(':');
    if (name === 'appended' || (name in counted && second === fn))
      counted[name as keyof typeof counted] += Number(reply[4][i + 1]);
  }
  return { pending: reply[0], lag: reply[1], parked: reply[2], dead: reply[3], counted };
}

t.test(
  'at every moment: appended = done + dead + parked + pending + lag, and the counters say what is there',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const options = {
      url: redis.url,
      functions: 'ordered',
      history,
      environment: { MILLRACE_LEASE_MS: '500', MILLRACE_BATCH_EVENTS: '40' },
    } as const;
    let dispatcher = await startDispatcher(t, options);

    const orders = [
      'ok',
      'ok:2',
      'throw',
      'ok',
      'throw-once:3',
      'ok',
      'non-retryable',
      'slow:5',
      'ok',
      'non-error',
      'ok',
    ];
    const total = 3000;
    const publishing = (async () => {
      for (let i = 0; i < total; i += 60) {
        await publisher.publishMany(
          Array.from({ length: 60 }, (_, j) => ({
            type: TYPES[(i + j) % 3 === 0 ? 1 : 0] as string,
            data: {
              key: `subject-${(i + j) % 57}`,
              number: Math.floor((i + j) / 57),
              order: orders[(i + j) % orders.length] as string,
              filler: new Uint8Array(0),
            },
          })),
        );
        const published = i + 60;
        await until(
          'the dispatcher keeps up',
          async () => {
            const now = await totals(look, 'ordered', PARTITIONS);
            return now.done + now.dead >= published - 600;
          },
          60_000,
        );
      }
    })();

    let pictures = 0;
    const seen = { parked: 0, pending: 0, lag: 0, dead: 0 };
    let crashes = 0;
    let settledNow = 0;
    while (settledNow < total) {
      settledNow = 0;
      for (let p = 0; p < PARTITIONS; p++) {
        const now = await picture(look, 'ordered', p);
        const { counted } = now;
        pictures++;
        for (const key of ['parked', 'pending', 'lag', 'dead'] as const)
          if (now[key] > 0) seen[key]++;
        const sum = counted.done + now.dead + now.parked + now.pending + now.lag;
        if (
          sum !== counted.appended ||
          now.parked !== counted.parked ||
          now.dead !== counted.dead
        ) {
          t.fail(`picture ${pictures} does not add up: ${JSON.stringify(now)}`);
        }
        settledNow += counted.done + counted.dead;
      }
      if (settledNow > total * 0.3 * (crashes + 1) && crashes < 2) {
        crashes++;
        await dispatcher.kill();
        dispatcher = await startDispatcher(t, options);
      }
    }
    await publishing;
    t.pass(`${pictures} pictures added up; with something ${JSON.stringify(seen)}`);
    for (const key of ['parked', 'pending', 'dead'] as const)
      t.ok(seen[key] > 0, `some showed something ${key}`);
    t.equal(crashes, 2);
    const sums = await settled(look, 'ordered', PARTITIONS, total);
    t.equal(sums.done + sums.dead, total);
    t.equal((await deadLetters(look, 'ordered', PARTITIONS)).length, sums.dead);
    for (let p = 0; p < PARTITIONS; p++) {
      t.strictSame(await look.keys(`mr:{${p}}:parked:*`), [], 'no list is left');
      t.equal(await look.zcard(`mr:{${p}}:due:ordered`), 0);
    }
  },
);
