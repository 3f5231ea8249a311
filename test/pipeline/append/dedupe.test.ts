import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { connect, type Millrace } from '../../../src/millrace.ts';
import { walkBatch } from '../../../src/wire/batch-reader.ts';
import { testDir } from '../../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike, type TestRedis } from '../../../scripts/lab/redis-server.ts';
import { startProxy } from '../../../scripts/lab/tcp-proxy.ts';
import { until } from '../../../scripts/lab/until.ts';

const PROTO = `syntax = "proto3";
package d.v1;
import "millrace/v1/options.proto";
message Paid { option (millrace.v1.event) = { type: "paid", subject: "k", dedupe_ms: 60000 }; string k = 1; int32 n = 2; }
message Seen { option (millrace.v1.event) = { type: "seen", subject: "k" }; string k = 1; }
message Short { option (millrace.v1.event) = { type: "short", subject: "k", dedupe_ms: 1000 }; string k = 1; }
`;

async function open(t: TestLike, url: string): Promise<Millrace> {
  const dir = testDir(t);
  mkdirSync(join(dir, 'proto'));
  writeFileSync(join(dir, 'proto/d.proto'), PROTO);
  const millrace = await connect({
    environment: { REDIS_URL: url, MILLRACE_PARTITIONS: 1, LOG_LEVEL: 'silent' },
    protoDir: join(dir, 'proto'),
  });
  t.teardown(() => millrace.close());
  return millrace;
}

async function idsOf(redis: TestRedis, type = 'paid'): Promise<string[]> {
  const out: string[] = [];
  for (const [, fields] of await redis.client().xrangeBuffer(`mr:{0}:events:${type}`, '-', '+')) {
    let count = 0;
    walkBatch(fields[1] as Buffer, ({ id, subject, source }) => {
      if (subject !== 'k' || source !== 'millrace')
        throw new Error(`${id} has subject ${subject} and source ${source}`);
      out.push(id);
      count++;
    });
    if (count !== Number(String(fields[3]))) throw new Error('the count is wrong');
  }
  return out;
}

t.test('an id published again is dropped and told; other types and ids are not', async (t) => {
  const redis = await startRedis(t);
  const millrace = await open(t, redis.url);
  const publisher = millrace.publisher();
  const first = await publisher.publish('paid' as string, { k: 'k', n: 1 }, { id: 'a' });
  t.notOk(first.duplicate);
  const again = await publisher.publish('paid' as string, { k: 'k', n: 2 }, { id: 'a' });
  t.strictSame(JSON.parse(JSON.stringify(again)), { id: 'a', position: '', duplicate: true });
  await publisher.publish('seen' as string, { k: 'k' }, { id: 'a' });
  await publisher.publish('seen' as string, { k: 'k' }, { id: 'a' });
  const mixed = await publisher.publishMany([
    { type: 'paid' as string, data: { k: 'k', n: 3 }, id: 'b' },
    { type: 'paid' as string, data: { k: 'k', n: 3 }, id: 'a' },
    { type: 'seen' as string, data: { k: 'k' }, id: 's' },
    { type: 'paid' as string, data: { k: 'k', n: 3 }, id: 'c' },
    { type: 'paid' as string, data: { k: 'k', n: 4 }, id: 'b' },
  ]);
  t.strictSame(
    mixed.map((one) => one.duplicate ?? false),
    [false, true, false, false, true],
  );
  t.ok(
    mixed.every((one) =>
      one.duplicate ? one.position === '' : /^0\/\d+-\d+\/\d+$/.test(one.position),
    ),
  );
  t.strictSame(await idsOf(redis), ['a', 'b', 'c']);
  t.strictSame(await idsOf(redis, 'seen'), ['a', 'a', 's']);
  // The second publisher is another process, and knows nothing of the first.
  const other = (await open(t, redis.url)).publisher();
  t.equal((await other.publish('paid' as string, { k: 'k', n: 1 }, { id: 'c' })).duplicate, true);
  t.equal(
    (await other.publish('paid' as string, { k: 'k', n: 1 }, { id: 'd' })).duplicate,
    undefined,
  );
  t.match(await redis.client().hgetall('mr:{0}:counters'), {
    'appended:paid': '4',
    'appended:seen': '3',
  });
});

t.test('a flush whose answer was lost is not taken for a repetition of itself', async (t) => {
  const redis = await startRedis(t);
  const proxy = await startProxy(t, { socket: redis.socket });
  const publisher = (await open(t, proxy.url)).publisher();
  await publisher.publish('paid' as string, { k: 'k', n: 0 }, { id: 'first' });
  proxy.swallowReplies(true);
  const published = publisher.publish('paid' as string, { k: 'k', n: 1 }, { id: 'x' });
  await until('it is there', async () => (await idsOf(redis)).includes('x'));
  proxy.swallowReplies(false);
  proxy.cutNow();
  t.notOk((await published).duplicate);
  t.strictSame(await idsOf(redis), ['first', 'x']);
});

t.test('forgotten after the window, and remembered for all of it', async (t) => {
  const redis = await startRedis(t);
  const publisher = (await open(t, redis.url)).publisher();
  const startMs = performance.now();
  await publisher.publish('short' as string, { k: 'k' }, { id: 'a' });
  let again = await publisher.publish('short' as string, { k: 'k' }, { id: 'a' });
  while (again.duplicate) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    again = await publisher.publish('short' as string, { k: 'k' }, { id: 'a' });
  }
  const after = performance.now() - startMs;
  t.ok(after > 990, `remembered for ${Math.round(after)} ms`);
  await until(
    'nothing of it is left in memory',
    async () => (await redis.client().keys('mr:{0}:ids:short:*')).length <= 1,
  );
});

t.test('property: of all that was published each id is there once, first come first', async (t) => {
  const redis = await startRedis(t);
  const publisher = (await open(t, redis.url)).publisher({ flushEvents: 7 });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 9 }), {
        maxLength: 8,
      }),
      async (calls) => {
        const prefix = `r${run++}-`;
        const outcomes = (
          await Promise.all(
            calls.map((ids) =>
              publisher.publishMany(
                ids.map((n) => ({
                  type: 'paid' as string,
                  data: { k: 'k', n },
                  id: `${prefix}${n}`,
                })),
              ),
            ),
          )
        ).flat();
        const wanted = [...new Set(calls.flat())].map((n) => `${prefix}${n}`);
        const found = (await idsOf(redis)).filter((id) => id.startsWith(prefix));
        if (JSON.stringify(found) !== JSON.stringify(wanted))
          throw new Error(`${found.join()} instead of ${wanted.join()}`);
        if (outcomes.filter((one) => !one.duplicate).length !== wanted.length)
          throw new Error('told wrongly');
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});
