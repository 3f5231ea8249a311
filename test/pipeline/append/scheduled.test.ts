import t from 'tap';
import type { Millrace } from '../../../src/millrace.ts';
import { Scheduler } from '../../../src/upkeep/scheduler.ts';
import { cancelScheduled, listScheduled } from '../../../src/upkeep/scheduled-events.ts';
import { walkBatch } from '../../../src/wire/batch-reader.ts';
import { settled } from '../../../scripts/lab/counters.ts';
import { functionsDirOf, openService } from '../../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike, type TestRedis } from '../../../scripts/lab/redis-server.ts';
import { startProxy } from '../../../scripts/lab/tcp-proxy.ts';
import { until, untilTold, writesTo, is, atLeast } from '../../../scripts/lab/until.ts';

const data = (key = 's') => ({ key, number: 0, order: 'ok', filler: new Uint8Array(0) });

async function idsOf(redis: TestRedis, type = 'test.event'): Promise<string[]> {
  const out: string[] = [];
  for (const [, fields] of await redis.client().xrangeBuffer(`mr:{0}:events:${type}`, '-', '+'))
    walkBatch(fields[1] as Buffer, ({ id }) => void out.push(id));
  return out;
}
function schedule(t: TestLike, millrace: Millrace): Scheduler {
  const { connection, keys, log } = millrace.deployment;
  const scheduler = new Scheduler({ connection, keys, log, partitions: () => [0] });
  t.teardown(() => scheduler.stop());
  scheduler.start();
  return scheduler;
}

t.test(
  'appended when due, in due order, ties as they were scheduled; told what waits; cancelled',
  async (t) => {
    const redis = await startRedis(t);
    const millrace = await openService(t, redis.url, 1);
    const publisher = millrace.publisher();
    const at = Date.now() + 400;
    const item = (id: string, more: object) => ({ type: 'test.event', data: data(), id, ...more });
    const published = await publisher.publishMany([
      item('far', { delayMs: 3_600_000 }),
      item('z', { deliverAt: at }),
      item('now', {}),
      item('a', { deliverAt: new Date(at) }),
      item('m', { deliverAt: at }),
      item('soon', { deliverAt: at - 200 }),
      item('past', { deliverAt: 1000 }),
    ]);
    t.match(published[1], { id: 'z', position: '', scheduledMs: at });
    t.match(published[2], { id: 'now', position: /^0\// });
    t.notOk(published[2]?.scheduledMs);
    t.match(
      await publisher.publish('test.event', data(), { id: 'z', delayMs: 5 }),
      { duplicate: true, scheduledMs: at },
      'an id that waits is not scheduled twice',
    );
    t.strictSame(
      (await listScheduled(millrace.deployment, 100)).map(({ id }) => id),
      ['past', 'soon', 'z', 'a', 'm', 'far'],
    );
    t.strictSame(await idsOf(redis), ['now'], 'nothing moves without a dispatcher');
    schedule(t, millrace);
    schedule(t, millrace);
    await until('all but one are there', async () => atLeast((await idsOf(redis)).length, 6));
    t.strictSame(await idsOf(redis), ['now', 'past', 'soon', 'z', 'a', 'm']);
    t.match(await redis.client().hgetall('mr:{0}:counters'), { 'appended:test.event': '6' });
    t.equal(await cancelScheduled(millrace.deployment, 'z'), false);
    t.equal(await cancelScheduled(millrace.deployment, 'far'), true);
    t.equal(await cancelScheduled(millrace.deployment, 'far'), false);
    t.strictSame(await redis.client().keys('mr:{0}:scheduled*'), []);
  },
);

t.test('bad times change nothing', async (t) => {
  const redis = await startRedis(t);
  const publisher = (await openService(t, redis.url, 1)).publisher();
  for (const bad of [
    { delayMs: -1 },
    { delayMs: Number.NaN },
    { deliverAt: 5, delayMs: 5 },
    { deliverAt: new Date('x') },
    { delayMs: 11 * 366 * 86_400_000 },
    { deliverAt: Date.now() * 2 },
  ]) {
    await t.rejects(
      publisher.publish('test.event', data(), bad),
      { code: 'INVALID_EVENT' },
      JSON.stringify(bad),
    );
  }
  t.strictSame(await redis.client().keys('mr:{0}:*'), []);
});

t.test(
  'a lost answer schedules nothing twice, also when the event has been appended meanwhile',
  async (t) => {
    const redis = await startRedis(t);
    const proxy = await startProxy(t, { socket: redis.socket });
    const direct = await openService(t, redis.url, 1);
    const publisher = (await openService(t, proxy.url, 1)).publisher();
    schedule(t, direct);
    // The server knows the script from here on: the lost reply below is its answer, not a NOSCRIPT.
    await publisher.publish('test.event', data(), { id: 'first', delayMs: 1 });
    await until('the first one was appended', async () => (await idsOf(redis)).includes('first'));
    proxy.swallowReplies(true);
    const published = publisher.publish('test.event', data(), { id: 'x', delayMs: 1 });
    await until('it was appended', async () => (await idsOf(redis)).includes('x'));
    proxy.swallowReplies(false);
    proxy.cutNow();
    t.match(await published, { id: 'x', scheduledMs: Number });
    await publisher.publish('test.event', data(), { id: 'y', delayMs: 1 });
    await until('the next one too', async () => (await idsOf(redis)).includes('y'));
    t.strictSame(await idsOf(redis), ['first', 'x', 'y']);
  },
);

t.test(
  'through a dispatcher, across a restart of Redis; functions see them as any other event',
  async (t) => {
    const redis = await startRedis(t, { appendfsync: 'always' });
    const millrace = await openService(t, redis.url, 1);
    const publisher = millrace.publisher();
    await publisher.publishMany(
      Array.from({ length: 600 }, (_, i) => ({
        type: 'test.event',
        data: data(`s${i % 7}`),
        id: `e${i}`,
        delayMs: 500 + (i % 3) * 100,
      })),
    );
    await redis.restart();
    await millrace.dispatcher({ functionsDir: functionsDirOf('handle') }).start();
    t.match(await settled(redis.client(), 'handle', 1, 600), { appended: 600, done: 600, dead: 0 });
    t.equal(new Set(await idsOf(redis)).size, 600);
  },
);

t.test('what makes a repeated call harmless is gone once the call was answered', async (t) => {
  const redis = await startRedis(t);
  const publisher = (await openService(t, redis.url, 1)).publisher();
  for (let i = 0; i < 20; i++)
    await publisher.publish('test.event', data(), { delayMs: 3_600_000 });
  const look = redis.client();
  await untilTold(
    writesTo(look),
    'no key of a call is left',
    async () => is((await look.keys('mr:{0}:producer:schedule.*')).length, 0),
    5_000,
  );
  t.equal(await look.zcard('mr:{0}:scheduled'), 20);
});
