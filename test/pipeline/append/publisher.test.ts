import type { Redis } from 'ioredis';
import t from 'tap';
import type { PublisherOptions } from '../../../src/millrace.ts';
import { walkBatch } from '../../../src/wire/batch-reader.ts';
import { openService } from '../../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../../scripts/lab/redis-server.ts';
import { until, moreThan } from '../../../scripts/lab/until.ts';

const KIB = 1024;

function data(number: number, bytes = 0, key = 's') {
  return { key, number, order: 'ok', filler: new Uint8Array(bytes) };
}

/** Entries of partition 0, each as the ids of its events. */
async function entries(look: Redis, type = 'test.event'): Promise<string[][]> {
  return (await look.xrangeBuffer(`mr:{0}:events:${type}`, '-', '+')).map(([, fields]) => {
    const ids: string[] = [];
    walkBatch(fields[1] as Buffer, (header) => void ids.push(header.id));
    return ids;
  });
}

async function setUp(t: TestLike, options: PublisherOptions = {}) {
  const redis = await startRedis(t);
  const publisher = (await openService(t, redis.url, 1)).publisher(options);
  const look = redis.client();
  // Redis knows the script from here on: each later flush is one round trip.
  await publisher.publish('test.event', data(0), { id: 'first' });
  return { redis, publisher, look };
}
const ids = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => `e${from + i}`);

t.test(
  'an idle publisher flushes at once; while a flush is in flight the next one gathers',
  async (t) => {
    const { redis, publisher, look } = await setUp(t);
    redis.pause();
    const all = ids(0, 300).map((id, i) => publisher.publish('test.event', data(i), { id }));
    await until('a flush is in flight', () => moreThan(publisher.bufferedBytes, 0));
    redis.resume();
    const published = await Promise.all(all);
    const found = await entries(look);
    t.strictSame(found.flat(), ['first', ...ids(0, 300)], 'in the order of the calls');
    t.ok(found.length <= 4, `${found.length} entries for 301 events`);
    t.equal(new Set(published.map((p) => p.position)).size, 300, 'each has its own position');
    t.equal(publisher.bufferedBytes, 0);
  },
);

t.test('flushes keep within flushEvents and flushBytes, and their order', async (t) => {
  const { publisher, look } = await setUp(t, { flushEvents: 10, flushBytes: 4 * KIB });
  await Promise.all([
    publisher.publishMany(ids(0, 35).map((id, i) => ({ type: 'test.event', data: data(i), id }))),
    publisher.publishMany(
      ids(35, 50).map((id, i) => ({ type: 'test.event', data: data(i, KIB), id })),
    ),
    publisher.publish('test.event', data(1, 20 * KIB), { id: 'e50' }),
    publisher.publish('test.event', data(1), { id: 'e51' }),
  ]);
  const found = await entries(look);
  t.strictSame(found.flat(), ['first', ...ids(0, 52)]);
  t.ok(found.every((entry) => entry.length <= 10));
  for (const [, fields] of await look.xrangeBuffer('mr:{0}:events:test.event', '-', '+')) {
    const bytes = (fields[1] as Buffer).length;
    if (bytes > 4 * KIB && fields[3]?.toString() !== '1')
      t.fail(`an entry of ${String(fields[3])} events has ${bytes} bytes`);
  }
});

t.test('lingerMs gathers what comes one by one', async (t) => {
  const { publisher, look } = await setUp(t, { lingerMs: 300 });
  const all: Promise<unknown>[] = [];
  for (const id of ids(0, 5)) {
    all.push(publisher.publish('test.event', data(1), { id }));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(all);
  t.strictSame(await entries(look), [['first'], ids(0, 5)]);
});

t.test("whenFull 'reject': all or nothing, and what was accepted is kept", async (t) => {
  const { redis, publisher, look } = await setUp(t, { whenFull: 'reject', bufferBytes: 64 * KIB });
  redis.pause();
  const accepted: Promise<unknown>[] = [];
  let refused: unknown = null;
  let next = 0;
  while (refused === null) {
    const id = `e${next++}`;
    const call = publisher.publish('test.event', data(1, 4 * KIB), { id });
    accepted.push(call);
    await Promise.race([
      call.catch((error: unknown) => (refused = error)),
      new Promise((resolve) => setImmediate(resolve)),
    ]);
    if (refused !== null) accepted.pop();
    if (next > 100) throw new Error('never full');
  }
  t.match(refused, {
    code: 'BACKPRESSURE',
    retryable: true,
    outcomeUnknown: false,
    reason: 'bytes',
    limit: 64 * KIB,
  });
  t.ok(accepted.length >= 12 && accepted.length <= 16, `${accepted.length} of 4 KiB fit`);
  t.ok(publisher.bufferedBytes <= 64 * KIB);
  const many = ids(1000, 1004).map((id) => ({ type: 'test.event', data: data(1, 4 * KIB), id }));
  await t.rejects(publisher.publishMany(many), { code: 'BACKPRESSURE' } as unknown as Error);
  redis.resume();
  await Promise.all(accepted);
  t.strictSame(
    (await entries(look)).flat(),
    ['first', ...ids(0, accepted.length)],
    'nothing of what was refused is there',
  );
  await publisher.publishMany(many);
  t.equal((await entries(look)).flat().length, 1 + accepted.length + 4, 'there is room again');
});

t.test("whenFull 'wait': bounded, nothing lost, in the order of the calls", async (t) => {
  const { redis, publisher, look } = await setUp(t, { bufferBytes: 64 * KIB });
  redis.pause();
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, publisher.bufferedBytes)), 1);
  t.teardown(() => clearInterval(watch));
  // A small event that would fit must not overtake a large one that waits.
  const all = ids(0, 200).map((id, i) =>
    publisher.publish('test.event', data(i, i % 3 === 0 ? 8 * KIB : 10), { id }),
  );
  await until('the buffer is full', () => moreThan(publisher.bufferedBytes, 50 * KIB));
  redis.resume();
  await Promise.all(all);
  t.ok(most <= 64 * KIB, `${most} bytes at most`);
  t.strictSame((await entries(look)).flat(), ['first', ...ids(0, 200)]);
});

t.test('an event larger than the whole buffer goes through alone', async (t) => {
  const { publisher, look } = await setUp(t, { bufferBytes: 64 * KIB });
  await Promise.all(
    [0, 1, 2].map((i) => publisher.publish('test.event', data(i, 100 * KIB), { id: `e${i}` })),
  );
  t.strictSame((await entries(look)).flat(), ['first', 'e0', 'e1', 'e2']);
});

t.test('close flushes what was accepted, then refuses', async (t) => {
  const { redis, publisher, look } = await setUp(t);
  redis.pause();
  const all = ids(0, 50).map((id, i) => publisher.publish('test.event', data(i), { id }));
  const closed = publisher.close();
  await t.rejects(publisher.publish('test.event', data(1)), { code: 'CLOSED' } as unknown as Error);
  redis.resume();
  await Promise.all(all);
  await closed;
  await publisher.close();
  t.equal((await entries(look)).flat().length, 51);
});

t.test('one call over two types: one flush, one id, one order', async (t) => {
  const { publisher, look } = await setUp(t);
  const published = await publisher.publishMany(
    ids(0, 9).map((id, i) => ({
      type: i % 3 === 0 ? 'test.other' : 'test.event',
      data: data(i),
      id,
    })),
  );
  t.equal(new Set(published.map((p) => p.position.split('/')[1])).size, 1);
  t.strictSame(
    published.map((p) => p.position.split('/')[2]),
    ['0', '1', '2', '3', '4', '5', '6', '7', '8'],
  );
  t.strictSame((await entries(look, 'test.other')).flat(), ['e0', 'e3', 'e6']);
});

t.test(
  'Redis does not answer in time: the error says so, and the publisher goes on under a new producer id',
  async (t) => {
    const { redis, publisher, look } = await setUp(t, { deadlineMs: 500 });
    await redis.kill();
    const error = await publisher
      .publish('test.event', data(1), { id: 'unknown' })
      .catch((e: unknown) => e);
    t.match(error, { code: 'UNKNOWN_OUTCOME', outcomeUnknown: true });
    await redis.restart();
    await until(
      'it is connected again',
      () =>
        publisher.publish('test.event', data(1), { id: 'later' }).then(
          () => true,
          () => false,
        ),
      20_000,
    );
    t.equal((await entries(look)).flat().at(-1), 'later');
  },
);

t.test('options out of range, misspelt or unknown are named, all at once', async (t) => {
  const redis = await startRedis(t);
  const service = await openService(t, redis.url, 1);
  const options = {
    durability: 'fsink',
    replicas: 0,
    confirmMs: 0,
    lingerMs: -1,
    whenFull: 'drop',
    linger: 5,
    source: 7,
    toString: 'text',
  };
  t.throws(() => service.publisher(options as unknown as PublisherOptions), {
    code: 'CONFIG',
    problems: [
      'publisher option lingerMs must be a whole number from 0 to 1000, got -1',
      'publisher option whenFull must be "wait" or "reject", got "drop"',
      'publisher option source must be a string, it is number',
      'publisher option linger is unknown',
      'publisher option toString is unknown',
      'publisher option durability must be "memory" or "fsync" or "replicated", got "fsink"',
      'publisher option replicas must be a whole number from 1 to 1000, got 0',
      'publisher option confirmMs must be a whole number from 1 to 9999, got 0',
    ],
  } as unknown as Error);
});
