import fc from 'fast-check';
import t from 'tap';
import { compareEntryIds } from '../../../src/core/position.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import type { RedisArg, RedisConnection } from '../../../src/redis/contract.ts';
import { defineScript } from '../../../src/redis/script.ts';
import { APPEND_ENTRIES } from '../../../src/redis/lua/shared.ts';
import { dump } from '../../../scripts/lab/counters.ts';
import { startRedis, type TestLike } from '../../../scripts/lab/redis-server.ts';

const append = defineScript({
  url: new URL('../../../src/pipeline/append/append.lua', import.meta.url),
  with: APPEND_ENTRIES,
  keys: 'variable',
});

function open(t: TestLike, url: string): RedisConnection {
  const connection = openConnection({ url });
  t.teardown(() => connection.destroy());
  return connection;
}

interface Call {
  readonly producer?: string;
  readonly sequence: number;
  readonly types: readonly string[];
  readonly count?: number;
  readonly bytes?: Buffer;
}
const eventsKey = (type: string): string => `mr:{0}:events:${type}`;
function flush(
  connection: RedisConnection,
  { producer = 'p', sequence, types, count = 1, bytes = Buffer.from('bytes') }: Call,
): Promise<[string, string]> {
  const args: RedisArg[] = [sequence, 60_000, types.length, 0, 1000];
  for (const type of types) args.push(type, count, 7, bytes, '', 0, 0);
  return append.run(
    connection,
    [`mr:{0}:producer:${producer}`, 'mr:{0}:clock', 'mr:{0}:counters', ...types.map(eventsKey)],
    args,
  ) as Promise<[string, string]>;
}

t.test('what an entry and the counters hold', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = open(t, redis.url);
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  const [kind, id] = await flush(connection, { sequence: 1, types: ['a', 'b'], count: 3, bytes });
  t.equal(kind, 'ok');
  await flush(connection, { sequence: 2, types: ['b'], count: 4 });
  const [a] = await look.xrangeBuffer(eventsKey('a'), '-', '+');
  t.equal(String(a?.[0]), id);
  t.strictSame(a?.[1], [
    Buffer.from('b'),
    bytes,
    Buffer.from('n'),
    Buffer.from('3'),
    Buffer.from('c'),
    Buffer.from('7'),
    Buffer.from('o'),
    Buffer.from('3'),
  ]);
  const b = await look.xrange(eventsKey('b'), '-', '+');
  t.equal(b[0]?.[0], id, 'types of one flush share the id');
  t.strictSame(
    b.map(([, fields]) => fields[7]),
    ['3', '7'],
    'ordinals run on per type',
  );
  t.match(await look.hgetall('mr:{0}:counters'), {
    'appended:a': '3',
    'entries:a': '1',
    'appended:b': '7',
    'entries:b': '2',
  });
});

t.test(
  'a foreign entry far ahead: what is appended goes above it in all types, still strictly growing',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = open(t, redis.url);
    const [, first] = await flush(connection, { sequence: 1, types: ['a', 'b'] });
    const far = `${Date.now() + 86_400_000}-7`;
    await look.xadd(eventsKey('b'), far, 'b', 'foreign');
    const [, second] = await flush(connection, { sequence: 2, types: ['a', 'b'] });
    t.ok(compareEntryIds(second, far) > 0 && compareEntryIds(second, first) > 0);
    t.strictSame(
      (await look.xrange(eventsKey('a'), '-', '+')).map(([id]) => id),
      [first, second],
      'no half of a try is left',
    );
    t.strictSame(
      (await look.xrange(eventsKey('b'), '-', '+')).map(([id]) => id),
      [first, far, second],
    );
    const [, third] = await flush(connection, { sequence: 3, types: ['a'] });
    t.ok(compareEntryIds(third, second) > 0, 'the clock has moved with it');
    t.match(await look.hgetall('mr:{0}:counters'), {
      'appended:a': '3',
      'entries:a': '3',
      'appended:b': '2',
      'entries:b': '2',
    });
  },
);

t.test('a stream whose ids are used up is named, and nothing changes', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = open(t, redis.url);
  await flush(connection, { sequence: 1, types: ['a'] });
  await look.xadd(eventsKey('b'), '18446744073709551615-18446744073709551615', 'b', 'x');
  const before = {
    a: await look.xlen(eventsKey('a')),
    counters: await look.hgetall('mr:{0}:counters'),
    producer: await look.get('mr:{0}:producer:p'),
  };
  t.strictSame(await flush(connection, { sequence: 2, types: ['a', 'b'] }), [
    'exhausted',
    eventsKey('b'),
  ]);
  t.equal(await look.xlen(eventsKey('a')), before.a);
  t.equal(await look.get('mr:{0}:producer:p'), before.producer);
  t.match(await look.hgetall('mr:{0}:counters'), before.counters);
  t.equal(
    (await flush(connection, { sequence: 2, types: ['a'] }))[0],
    'ok',
    'others go on with the same sequence',
  );
});

t.test('a key of another type in the way: an error, and nothing is counted', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = open(t, redis.url);
  await flush(connection, { sequence: 1, types: ['a'] });
  await look.set(eventsKey('b'), 'no stream');
  const counters = await look.hgetall('mr:{0}:counters');
  t.match(await flush(connection, { sequence: 2, types: ['a', 'b'] }).catch((e: unknown) => e), {
    code: 'REDIS_REPLY',
    message: /WRONGTYPE/,
  });
  t.equal(await look.xlen(eventsKey('a')), 1);
  t.equal(await look.get('mr:{0}:producer:p').then((text) => text?.split(':')[0]), '1');
  const after = await look.hgetall('mr:{0}:counters');
  for (const field of Object.keys(after))
    if (Number(after[field]) !== Number(counters[field] ?? 0))
      t.fail(`${field} went from ${counters[field]} to ${after[field]}`);
});

t.test(
  'out of memory: refused, nothing changes, and the same sequence is good later',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = open(t, redis.url);
    await flush(connection, { sequence: 1, types: ['a', 'b'] });
    const before = await dump(look);
    await look.config('SET', 'maxmemory', '1mb');
    const error: unknown = await flush(connection, {
      sequence: 2,
      types: ['a', 'b'],
      bytes: Buffer.alloc(100_000),
    }).catch((e: unknown) => e);
    t.match(error, { reply: 'OOM', retryable: true });
    t.strictSame(await dump(look), before);
    t.equal(
      (await flush(connection, { sequence: 1, types: ['a', 'b'] }))[0],
      'duplicate',
      'a duplicate is still answered',
    );
    await look.config('SET', 'maxmemory', '0');
    t.equal((await flush(connection, { sequence: 2, types: ['a', 'b'] }))[0], 'ok');
  },
);

t.test(
  'property: whatever producers send, ids grow strictly, accepted flushes are in once, the rest changes nothing',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = open(t, redis.url);
    const call = fc.record({
      producer: fc.constantFrom('p', 'q', 'r'),
      step: fc.constantFrom(1, 1, 1, 0, 2, -1),
      types: fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      foreign: fc.option(
        fc.record({
          type: fc.constantFrom('a', 'b', 'c'),
          ahead: fc.integer({ min: 0, max: 5000 }),
        }),
        { freq: 6, nil: null },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 25 }), async (calls) => {
        await look.flushall();
        const last = new Map<string, { sequence: number; id: string }>();
        const entries = new Map<string, number>();
        let newest = '0-0';
        for (const { producer, step, types, foreign } of calls) {
          if (foreign) {
            const top = (
              (await look.xrevrange(eventsKey(foreign.type), '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0'
            ).split('-');
            const ms = Math.max(Number(top[0]), Date.now()) + foreign.ahead;
            await look.xadd(eventsKey(foreign.type), `${ms}-${Number(top[1]) + 1}`, 'b', 'foreign');
            entries.set(foreign.type, (entries.get(foreign.type) ?? 0) + 1);
          }
          const before = last.get(producer) ?? { sequence: 0, id: '' };
          const sequence = before.sequence + step;
          const [kind, value] = await flush(connection, { producer, sequence, types });
          if (step === 1) {
            if (kind !== 'ok') throw new Error(`the next sequence was answered ${kind}`);
            if (compareEntryIds(value, newest) <= 0)
              throw new Error(`${value} does not lie above ${newest}`);
            newest = value;
            last.set(producer, { sequence, id: value });
            for (const type of types) entries.set(type, (entries.get(type) ?? 0) + 1);
          } else if (step === 0 && before.sequence > 0) {
            if (kind !== 'duplicate' || value !== before.id)
              throw new Error(`a repeated sequence was answered ${kind} ${value}`);
          } else if (kind !== 'gap' || value !== String(before.sequence + 1))
            throw new Error(
              `sequence ${sequence} after ${before.sequence} was answered ${kind} ${value}`,
            );
        }
        for (const type of ['a', 'b', 'c']) {
          if ((await look.xlen(eventsKey(type))) !== (entries.get(type) ?? 0))
            throw new Error(`stream ${type} holds another number of entries`);
        }
      }),
      { numRuns: 60 },
    );
    t.pass('60 histories');
  },
);
