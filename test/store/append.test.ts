/** Appends: expectations, atomic publication, repeats, refusals. One server for all. */
import t from 'tap';
import {
  InvalidEventError,
  OversizeError,
  UnknownEventTypeError,
} from '../../src/core/errors/input-errors.ts';
import { RedisReplyError } from '../../src/core/errors/server-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import {
  ConflictError,
  EventIdReusedError,
  HistoryFullError,
  StoreInputError,
} from '../../src/store/store-errors.ts';
import type { ExpectedRevision } from '../../src/store/expected-revision.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, failed, numberOf, openShop, published, reserved } from './open-store.ts';

const P = 4;
const redis = await startRedis(t);
const look = redis.client();
const millrace = await openShop(t, redis.url, P);
const store = millrace.store({ maxEvents: 20 });

t.test('what an append leaves: the history, the streams, the counters', async (t) => {
  const first = await store.append(
    'order',
    'A',
    [reserved('A', 1), failed('A', 'no money'), reserved('A', 2)],
    { expectedRevision: 'no-stream' },
  );
  t.equal(first.revision, 3);
  t.equal(first.repeated, false);
  t.strictSame(
    first.events.map((event) => event.revision),
    [1, 2, 3],
  );
  const p = partitionOf('A', P);
  t.equal(await look.llen(`mr:{${p}}:history:order:A`), 3);
  const events = await collect(store.read('order', 'A'));
  t.strictSame(
    events.map((event) => [event.id, event.position, event.revision]),
    first.events.map((event) => [event.id, event.position, event.revision]),
  );
  t.strictSame(
    events.map((event) => event.type),
    ['stock.reserved', 'payment.failed', 'stock.reserved'],
  );
  t.strictSame(
    events.map((event) => event.source),
    ['millrace', 'millrace', 'millrace'],
  );
  const streams = new Map([
    ...(await published(look, 'stock.reserved')),
    ...(await published(look, 'payment.failed')),
  ]);
  for (const event of events)
    t.equal(
      streams.get(event.position)?.id,
      event.id,
      'the stream holds the same event at the same position',
    );
  t.equal(streams.size, 3);
  const counters = await look.hgetall(`mr:{${p}}:counters`);
  t.strictSame(
    [
      counters['appended:stock.reserved'],
      counters['entries:stock.reserved'],
      counters['appended:payment.failed'],
    ],
    ['2', '1', '1'],
  );
  for (const type of ['stock.reserved', 'payment.failed']) {
    const [entry] = await look.xrange(`mr:{${p}}:events:${type}`, '-', '+');
    t.strictSame(
      [entry?.[1][2], entry?.[1][3], entry?.[1][6], entry?.[1][7]],
      ['n', counters[`appended:${type}`], 'o', counters[`appended:${type}`]],
    );
  }
});

t.test('each expectation, met and not met', async (t) => {
  let number = 0;
  const tryAppend = async (
    id: string,
    expectedRevision: ExpectedRevision,
  ): Promise<number | string> => {
    try {
      return (await store.append('order', id, [reserved(id, ++number)], { expectedRevision }))
        .revision;
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      t.equal(error.expected, expectedRevision);
      return `actual ${error.actual}`;
    }
  };
  t.equal(await tryAppend('B', 'stream-exists'), 'actual 0');
  t.equal(await tryAppend('B', 1), 'actual 0');
  t.equal(await tryAppend('B', 0), 1);
  t.equal(await tryAppend('B', 'no-stream'), 'actual 1');
  t.equal(await tryAppend('B', 0), 'actual 1');
  t.equal(await tryAppend('B', 1), 2);
  t.equal(await tryAppend('B', 'stream-exists'), 3);
  t.equal(await tryAppend('B', 'any'), 4);
  t.equal(await tryAppend('C', 'any'), 1);
  t.equal(await store.revision('order', 'B'), 4);
  t.equal(await store.revision('order', 'nobody'), 0);
});

t.test('an append made again with its ids is answered as the first time', async (t) => {
  const events = [reserved('D', 1, { id: 'd-1' }), reserved('D', 2, { id: 'd-2' })];
  for (const expectedRevision of ['no-stream', 'any'] as const) {
    const id = `D-${expectedRevision}`;
    const given = events.map((event) => ({ ...event, data: { ...event.data, orderId: id } }));
    const first = await store.append('order', id, given, { expectedRevision });
    await store.append('order', id, [reserved(id, 3)], { expectedRevision: 2 });
    const before = await dump(look);
    const again = await store.append('order', id, given, { expectedRevision });
    t.strictSame(again, { ...first, repeated: true });
    t.strictSame(
      await store.append('order', id, given, { expectedRevision: 3 }),
      { ...first, repeated: true },
      'whatever it expects now',
    );
    await t.rejects(
      store.append('order', id, [given[0] as (typeof given)[0]], { expectedRevision: 3 }),
      EventIdReusedError,
    );
    await t.rejects(
      store.append('order', id, [given[0] as (typeof given)[0], reserved(id, 9, { id: 'other' })], {
        expectedRevision: 3,
      }),
      EventIdReusedError,
    );
    const after = await dump(look);
    for (const key of Object.keys(after))
      if (!key.includes(':producer:')) t.equal(after[key], before[key], key);
  }
  const [one, two] = await Promise.all([
    store.append('order', 'D2', [reserved('D2', 1, { id: 'd2' })], { expectedRevision: 'any' }),
    store.append('order', 'D2', [reserved('D2', 1, { id: 'd2' })], { expectedRevision: 'any' }),
  ]);
  t.strictSame(two, { ...one, repeated: true }, 'also within one batch');
});

t.test('what is refused, and that nothing has changed', async (t) => {
  const before = await dump(look);
  const bad = (
    error: new (...args: never[]) => Error,
    append: () => Promise<unknown>,
    message: RegExp,
  ) => t.rejects(append(), { name: error.name, message });
  await bad(
    InvalidEventError,
    () => store.append('order', 'E', [reserved('F', 1)], { expectedRevision: 'any' }),
    /the subject of a history's events is the history's id, "E"; it is "F"/,
  );
  await bad(
    UnknownEventTypeError,
    () =>
      store.append('order', 'E', [{ type: 'nope', data: {} } as never], {
        expectedRevision: 'any',
      }),
    /not declared/,
  );
  await bad(
    InvalidEventError,
    () =>
      store.append(
        'order',
        'E',
        [reserved('E', 1), { type: 'stock.reserved', data: { orderId: 'E', lines: 7 } } as never],
        { expectedRevision: 'any' },
      ),
    /lines/,
  );
  await bad(
    InvalidEventError,
    () => store.append('order', 'E', [reserved('E', 1, { id: '' })], { expectedRevision: 'any' }),
    /id is empty/,
  );
  await bad(
    OversizeError,
    () =>
      store.append(
        'order',
        'E',
        Array.from({ length: 1001 }, () => reserved('E', 1)),
        { expectedRevision: 'any' },
      ),
    /limit is 1000, it has 1001 events/,
  );
  await bad(
    StoreInputError,
    () => store.append('order', 'E', [], { expectedRevision: 'any' }),
    /at least one event/,
  );
  await bad(
    StoreInputError,
    () => store.append('Order', 'E', [reserved('E', 1)], { expectedRevision: 'any' }),
    /category/,
  );
  await bad(
    StoreInputError,
    () => store.append('order', '', [reserved('', 1)], { expectedRevision: 'any' }),
    /missing or empty/,
  );
  await bad(
    OversizeError,
    () => store.append('order', 'x'.repeat(1025), [reserved('x', 1)], { expectedRevision: 'any' }),
    /1024/,
  );
  for (const expectedRevision of [-1, 1.5, NaN, 'none' as never, undefined as never]) {
    await bad(
      StoreInputError,
      () => store.append('order', 'E', [reserved('E', 1)], { expectedRevision }),
      /expectedRevision must be/,
    );
  }
  t.strictSame(await dump(look), before);
});

t.test('a history takes so many events and no more, and says what to do', async (t) => {
  await store.append(
    'order',
    'G',
    Array.from({ length: 18 }, (_, i) => reserved('G', i)),
    { expectedRevision: 'no-stream' },
  );
  const refused = store.append(
    'order',
    'G',
    [reserved('G', 18), reserved('G', 19), reserved('G', 20)],
    { expectedRevision: 18 },
  );
  await t.rejects(refused, {
    name: 'HistoryFullError',
    code: 'HISTORY_FULL',
    actual: 18,
    limit: 20,
    message: /go on under a new id .*raise maxEvents/,
  });
  t.equal(
    (
      await store.append('order', 'G', [reserved('G', 18), reserved('G', 19)], {
        expectedRevision: 18,
      })
    ).revision,
    20,
  );
  await t.rejects(
    store.append('order', 'G', [reserved('G', 20)], { expectedRevision: 'any' }),
    HistoryFullError,
  );
});

t.test('appends of one batch share the round trip, not the fate', async (t) => {
  // All ids are in one partition, and so in one batch.
  const ids = Array.from({ length: 200 }, (_, i) => `H-${i}`)
    .filter((id) => partitionOf(id, P) === 1)
    .slice(0, 8);
  const [a, b, c, d, e, f, g, h] = ids as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  await look.set(`mr:{1}:history:order:${c}`, 'not a list');
  await store.append(
    'order',
    d,
    Array.from({ length: 20 }, (_, i) => reserved(d, i)),
    { expectedRevision: 0 },
  );
  const entries = await look.xlen('mr:{1}:events:stock.reserved');
  const outcomes = await Promise.allSettled([
    store.append('order', a, [reserved(a, 1)], { expectedRevision: 0 }),
    store.append('order', b, [reserved(b, 1)], { expectedRevision: 7 }),
    store.append('order', c, [reserved(c, 1)], { expectedRevision: 'any' }),
    store.append('order', d, [reserved(d, 1)], { expectedRevision: 20 }),
    store.append('order', e, [reserved(e, 1), failed(e, 'x'), reserved(e, 2)], {
      expectedRevision: 0,
    }),
    store.append('order', a, [reserved(a, 2)], { expectedRevision: 1 }),
    store.append('order', a, [reserved(a, 3)], { expectedRevision: 1 }),
    store.append('order', f, [failed(f, 'y')], { expectedRevision: 0 }),
  ]);
  t.strictSame(
    outcomes.map((o) => (o.status === 'fulfilled' ? o.value.revision : (o.reason as Error).name)),
    [1, 'ConflictError', 'RedisReplyError', 'HistoryFullError', 3, 2, 'ConflictError', 1],
  );
  t.ok(
    outcomes[2]?.status === 'rejected' &&
      outcomes[2].reason instanceof RedisReplyError &&
      /WRONGTYPE/.test(outcomes[2].reason.message),
  );
  t.equal(
    await look.xlen('mr:{1}:events:stock.reserved'),
    entries + 3,
    'accepted ones have an entry each, where one was refused',
  );
  t.strictSame((await collect(store.read('order', a))).map(numberOf), [1, 2]);
  const streams = new Map([
    ...(await published(look, 'stock.reserved')),
    ...(await published(look, 'payment.failed')),
  ]);
  for (const id of [a, e, f])
    for (const event of await collect(store.read('order', id)))
      t.equal(streams.get(event.position)?.id, event.id);
  await look.del(`mr:{1}:history:order:${c}`);

  await Promise.all(
    [g, h].map((id) => store.append('order', id, [reserved(id, 1)], { expectedRevision: 0 })),
  );
  t.equal(
    await look.xlen('mr:{1}:events:stock.reserved'),
    entries + 4,
    'where all are accepted they share one',
  );
});

t.test('a stream that cannot be written to refuses its own type only', async (t) => {
  const ids = Array.from({ length: 200 }, (_, i) => `S-${i}`)
    .filter((id) => partitionOf(id, P) === 2)
    .slice(0, 3) as [string, string, string];
  const key = 'mr:{2}:events:payment.failed';
  const kept = await look.dumpBuffer(key);
  await look.del(key);
  await look.set(key, 'not a stream');
  const outcomes = await Promise.allSettled([
    store.append('order', ids[0], [reserved(ids[0], 1)], { expectedRevision: 0 }),
    store.append('order', ids[1], [reserved(ids[1], 1), failed(ids[1], 'x')], {
      expectedRevision: 0,
    }),
    store.append('order', ids[1], [reserved(ids[1], 2)], { expectedRevision: 2 }),
    store.append('order', ids[2], [reserved(ids[2], 1)], { expectedRevision: 0 }),
  ]);
  t.strictSame(
    outcomes.map((o) => (o.status === 'fulfilled' ? o.value.revision : (o.reason as Error).name)),
    [1, 'RedisReplyError', 'RedisReplyError', 1],
  );
  t.strictSame(await collect(store.read('order', ids[1])), [], 'nothing of it is in its history');
  await look.del(key);
  if (kept) await look.restore(key, 0, kept);
  t.equal(
    (await store.append('order', ids[1], [failed(ids[1], 'x')], { expectedRevision: 0 })).revision,
    1,
  );
});

t.test('ids and data of any shape come back as they were', async (t) => {
  const id = 'Bestellung/ä {x}:\u0000 🙂';
  const sent = await store.append(
    'order',
    id,
    [
      reserved(id, 5, { id: 'é'.repeat(100) }),
      {
        ...failed(id, 'why: ' + 'w'.repeat(20_000)),
        source: 'gateway',
        time: 1234,
        extensions: { actor: 'ann', why: 'asked' },
      },
    ],
    { expectedRevision: 0 },
  );
  const [one, two] = await collect(store.read('order', id));
  t.equal(one?.id, 'é'.repeat(100));
  t.equal(one?.subject, id);
  t.strictSame(one?.data, { orderId: id, lines: [{ sku: 'SKU', quantity: 5 }] }, 'plain data');
  t.strictSame(
    [two?.source, two?.time.getTime(), { ...two?.extensions }, two?.position],
    ['gateway', 1234, { actor: 'ann', why: 'asked' }, sent.events[1]?.position],
  );
  t.ok((await collect(store.histories('order'))).includes(id));
});
