import t from 'tap';
import { BackpressureError } from '../../../src/core/errors/append-errors.ts';
import { registerFunction } from '../../../src/pipeline/ownership/register.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { setTypeLimits } from '../../../src/upkeep/type-limits.ts';
import { openService } from '../../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../../scripts/lab/redis-server.ts';
import { specOf } from '../bare-lane.ts';
import { until, atLeast } from '../../../scripts/lab/until.ts';

const data = (number: number, key = 's') => ({
  key,
  number,
  order: 'ok',
  filler: new Uint8Array(0),
});
const keys = createKeys('mr');

async function setUp(t: TestLike, whenFull: 'wait' | 'reject', deadlineMs = 30_000) {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  await setTypeLimits({ connection, keys }, 'test.event', { maxBacklog: 10 });
  const millrace = await openService(t, redis.url, 1);
  await registerFunction(connection, keys, 0, specOf('behind', ['test.event']));
  await registerFunction(connection, keys, 0, specOf('other', ['test.other']));
  const publisher = millrace.publisher({ whenFull, deadlineMs });
  // The limits are read beside the first flush.
  await publisher.publish('test.event', data(0));
  await until('the limits are known and passed', async () => {
    await publisher.publish('test.event', data(1)).catch(() => undefined);
    return publisher.pressure.length > 0;
  });
  return { redis, publisher, look: redis.client() };
}

t.test(
  'a function too far behind: refused with the reason, per type; over when it has caught up',
  async (t) => {
    const { publisher, look } = await setUp(t, 'reject');
    t.match(publisher.pressure, [
      { reason: 'lag', type: 'test.event', partition: 0, function: 'behind', limit: 10 },
    ]);
    let error: unknown;
    await until('it is refused', () =>
      publisher.publish('test.event', data(2)).then(
        () => false,
        (e: unknown) => ((error = e), true),
      ),
    );
    t.type(error, BackpressureError);
    t.match(error, {
      reason: 'lag',
      type: 'test.event',
      function: 'behind',
      partition: 0,
      limit: 10,
      retryable: true,
    });
    const { actual = 0, retryAfterMs, message } = error as BackpressureError;
    t.ok(actual > 10 && retryAfterMs > 0 && retryAfterMs <= 5000, message);
    t.match(
      message,
      /function "behind" is \d+ events of "test\.event" behind in partition 0; the limit is 10/,
    );
    await publisher.publish('test.other', data(3));
    t.pass('another type goes through');
    // Now and then one event is let through, to see whether the pressure is over.
    let through = 0;
    await until('a call is refused', () =>
      publisher
        .publishMany([
          { type: 'test.other', data: data(4) },
          { type: 'test.event', data: data(5) },
        ])
        .then(
          () => through++ < 0,
          (e: unknown) => e instanceof BackpressureError,
        ),
    );
    const appended = await look.hget('mr:{0}:counters', 'appended:test.other');
    t.equal(appended, String(1 + through), 'a call is refused as a whole');

    await look.hset('mr:{0}:counters', 'done:behind:test.event', 1_000_000);
    await until('it goes through again', () =>
      publisher.publish('test.event', data(6)).then(
        () => publisher.pressure.length === 0,
        () => false,
      ),
    );
  },
);

t.test(
  'waiting: slowed down to a drip, in order, and let go when the function has caught up',
  async (t) => {
    const { publisher, look } = await setUp(t, 'wait');
    const before = Number(await look.hget('mr:{0}:counters', 'appended:test.event'));
    const done: number[] = [];
    const all = Array.from({ length: 200 }, (_, i) =>
      publisher.publish('test.event', data(i), { id: `w${i}` }).then(() => done.push(i)),
    );
    await publisher.publish('test.other', data(0));
    t.pass('another type goes past them');
    await until('one drips through', () => atLeast(done.length, 1));
    const dripped = Number(await look.hget('mr:{0}:counters', 'appended:test.event')) - before;
    t.ok(dripped < 20, `${dripped} of 200 went through meanwhile`);
    await look.hset('mr:{0}:counters', 'done:behind:test.event', 1_000_000);
    await Promise.all(all);
    t.strictSame(
      done,
      [...done].sort((a, b) => a - b),
      'in order',
    );
    t.equal(Number(await look.hget('mr:{0}:counters', 'appended:test.event')) - before, 200);
  },
);

t.test('waiting has an end', async (t) => {
  const { publisher } = await setUp(t, 'wait', 1000);
  const outcomes = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => publisher.publish('test.event', data(i))),
  );
  const refused = outcomes.filter((one): one is PromiseRejectedResult => one.status === 'rejected');
  t.ok(refused.length > 10, `${refused.length} of 30`);
  t.ok(
    refused.every((one) => one.reason instanceof BackpressureError && one.reason.reason === 'lag'),
  );
});

t.test('close lets waiting calls go with an error', async (t) => {
  const { publisher } = await setUp(t, 'wait');
  const all = Array.from({ length: 20 }, (_, i) =>
    publisher.publish('test.event', data(i)).then(
      () => 'ok',
      (error: { code: string }) => error.code,
    ),
  );
  await publisher.close();
  const outcomes = new Set(await Promise.all(all));
  t.ok(outcomes.has('CLOSED'), [...outcomes].join());
});

t.test('Redis out of memory: said so, and over when there is memory again', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const publisher = (await openService(t, redis.url, 1)).publisher({
    whenFull: 'reject',
    deadlineMs: 1500,
  });
  await publisher.publish('test.event', data(0));
  await look.config('SET', 'maxmemory', '1');
  await t.rejects(
    publisher.publish('test.event', data(1)),
    { code: 'BACKPRESSURE', reason: 'redis-memory' },
    'after the deadline, for what was accepted already',
  );
  t.match(publisher.pressure, [{ reason: 'redis-memory' }]);
  await until('refused at the door', () =>
    publisher.publish('test.event', data(2)).then(
      () => false,
      (error: BackpressureError) => error.reason === 'redis-memory',
    ),
  );
  await look.config('SET', 'maxmemory', '0');
  await until('it goes through again', () =>
    publisher.publish('test.event', data(3)).then(
      () => true,
      () => false,
    ),
  );
  t.strictSame(publisher.pressure, []);
});
