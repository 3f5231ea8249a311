import type { Redis } from 'ioredis';
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { SchemaNotRegisteredError } from '../../src/core/errors/input-errors.ts';
import { listDeadLetters, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import type { Millrace } from '../../src/millrace.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { walkBatch } from '../../src/wire/batch-reader.ts';
import { BatchBuilder } from '../../src/wire/batch-writer.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { BY, idOf, order, orderProto } from './open-registry.ts';
import { HANDLE, HANDLE_BATCH, Shop } from './shop.ts';
import { until, untilTold, countersOf, writesToFile, is, NotYet } from '../../scripts/lab/until.ts';

const FIRST = await idOf(order('string country = 2;'));
const SECOND = await idOf(order('string country = 2;', 'string city = 3;'));

/** Appends as a foreign producer does: with any schema id. */
async function appendWith(
  millrace: Millrace,
  look: Redis,
  schema: number,
  id: string,
  data: object,
): Promise<void> {
  const type = millrace.deployment.catalog.get('order.created');
  const bytes = type.encode(data);
  const builder = new BatchBuilder('elsewhere');
  const subject = type.subjectOf(data) as string;
  builder.add({
    id,
    subject,
    dataBuffer: bytes,
    dataStart: 0,
    dataEnd: bytes.length,
    timeMs: Date.now(),
    source: 'elsewhere',
    schema,
    position: 0,
    extensions: null,
  });
  await look.xadd(
    `mr:{${partitionOf(subject, millrace.deployment.partitions)}}:events:order.created`,
    '*',
    'b',
    builder.finish().bytes,
  );
}

async function letters(millrace: Millrace): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(millrace.deployment)) out.push(letter);
  return out;
}

async function sum(look: Redis, field: string): Promise<number> {
  return (
    Number((await look.hget('mr:{0}:counters', field)) ?? 0) +
    Number((await look.hget('mr:{1}:counters', field)) ?? 0)
  );
}

t.test(
  'in development the first start registers, and events bear the id of the schema they were written with',
  async (t) => {
    const redis = await startRedis(t);
    const shop = new Shop(t, redis.url);
    const old = await shop.connect(['string country = 2;']);
    t.same([...old.deployment.schemas], [['order.created', { id: FIRST, version: 1 }]]);
    const again = await shop.connect(['string country = 2;']);
    t.same(again.deployment.schemas.get('order.created'), { id: FIRST, version: 1 }, 'found again');
    const fresh = await shop.connect(['string country = 2;', 'string city = 3;']);
    t.same(fresh.deployment.schemas.get('order.created'), { id: SECOND, version: 2 });
    t.match(await fresh.deployment.registry.version('order.created', 2), { by: /@/ });

    await old.publisher().publish('order.created', { orderId: 'A', country: 'GB' }, { id: 'v1' });
    await fresh
      .publisher()
      .publish(
        'order.created' as string,
        { orderId: 'A', country: 'GB', city: 'Leeds' },
        { id: 'v2' },
      );
    const ids: [string, number][] = [];
    const look = redis.client();
    const stream = `mr:{${partitionOf('A', 2)}}:events:order.created`;
    for (const [, fields] of await look.xrangeBuffer(stream, '-', '+'))
      walkBatch(fields[1] as Buffer, (header) => void ids.push([header.id, header.schema]));
    t.same(ids, [
      ['v1', FIRST],
      ['v2', SECOND],
    ]);

    await shop.dispatch(old, { old: HANDLE });
    await shop.dispatch(fresh, { fresh: HANDLE });
    await untilTold(writesToFile(shop.history), 'both have seen both', () =>
      is(shop.seen().length, 4),
    );
    t.match(shop.seen('old'), [
      { id: 'v1', data: { orderId: 'A', country: 'GB' } },
      { id: 'v2', schema: SECOND, data: { orderId: 'A', country: 'GB' } },
    ]);
    t.notOk('city' in (shop.seen('old')[1]?.data ?? {}), 'each decodes with its own schema');
    t.match(shop.seen('fresh'), [
      { id: 'v1', schema: FIRST, data: { country: 'GB' } },
      { id: 'v2', data: { city: 'Leeds' } },
    ]);
  },
);

t.test(
  'an incompatible schema is refused at start, with the reason; nothing is registered',
  async (t) => {
    const redis = await startRedis(t);
    const shop = new Shop(t, redis.url);
    const { deployment } = await shop.connect(['int32 amount = 2;']);
    const error = (await shop
      .connect(['string amount = 2;'])
      .catch((e: unknown) => e)) as SchemaNotRegisteredError;
    t.ok(error instanceof SchemaNotRegisteredError);
    t.match(error.message, /order\.created[\s\S]*amount/);
    t.equal((await deployment.registry.versions('order.created')).length, 1);
  },
);

t.test('in production a schema must have been registered', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url, { MILLRACE_MODE: 'production' });
  const refused = (await shop
    .connect(['int32 a = 2;'])
    .catch((e: unknown) => e)) as SchemaNotRegisteredError;
  t.ok(refused instanceof SchemaNotRegisteredError);
  t.match(refused.message, /millrace schema register order\.created/);
  const developer = await shop.connect(['int32 a = 2;'], { MILLRACE_MODE: 'development' });
  const { deployment } = await shop.connect(['int32 a = 2;']);
  const first = { id: await idOf(order('int32 a = 2;')), version: 1 };
  t.same(deployment.schemas.get('order.created'), first);
  const commented = await shop.connect(['// only a comment\n  int32 a = 2;']);
  t.same(commented.deployment.schemas.get('order.created'), first);
  const incompatible = (await shop
    .connect(['string a = 2;'])
    .catch((e: unknown) => e)) as SchemaNotRegisteredError;
  t.match(incompatible.message, /not compatible/);
  await developer.deployment.registry.register(order('int32 a = 2;', 'string b = 3;'), BY);
  t.equal(
    (await shop.connect(['int32 a = 2;', 'string b = 3;'])).deployment.schemas.get('order.created')
      ?.version,
    2,
  );
});

for (const [kind, options] of [
  ['handle', HANDLE],
  ['handleBatch', HANDLE_BATCH],
] as const) {
  t.test(
    `${kind}: events of a schema nobody knows wait without an attempt, and run once it is registered`,
    async (t) => {
      const redis = await startRedis(t);
      const look = redis.client();
      const shop = new Shop(t, redis.url);
      const millrace = await shop.connect(['string country = 2;']);
      await appendWith(millrace, look, SECOND, 'early', { orderId: 'A', country: 'FR' });
      const publisher = millrace.publisher();
      await publisher.publish('order.created', { orderId: 'A' }, { id: 'behind' });
      await publisher.publish('order.created', { orderId: 'B' }, { id: 'other' });
      await appendWith(millrace, look, 0, 'unstamped', { orderId: 'C' });
      await shop.dispatch(millrace, { f: options });
      await untilTold(writesToFile(shop.history), 'the others have run', () =>
        is(shop.seen().length, 2),
      );
      await untilTold(countersOf(look), 'two are parked', async () =>
        is(await sum(look, 'parked:f:order.created'), 2),
      );
      t.same(
        shop
          .seen()
          .map((one) => one.id)
          .sort(),
        ['other', 'unstamped'],
      );
      await until('the alarm was given', () =>
        shop.logged.some((line) => /UNKNOWN SCHEMA/.test(String(line['msg']))),
      );
      t.match(
        shop.logged.find((line) => /UNKNOWN SCHEMA/.test(String(line['msg']))),
        { level: 50, schema: String(SECOND) },
      );
      t.equal(await sum(look, 'retried:f'), 0, 'no attempt was made');

      const { events } = await explain(
        millrace.deployment,
        { eventId: 'early' },
        { scan: 1000, limit: 10 },
      );
      t.match(events[0]?.functions, [
        {
          function: 'f',
          state: 'parked',
          attempts: 0,
          why: new RegExp(`waits for its schema, id ${SECOND}, which the registry does not know`),
        },
      ]);

      t.equal(
        (
          await millrace.deployment.registry.register(
            order('string country = 2;', 'string city = 3;'),
            BY,
          )
        ).id,
        SECOND,
      );
      await untilTold(writesToFile(shop.history), 'they have run', () => is(shop.seen().length, 4));
      t.match(shop.seen().slice(2), [
        { id: 'early', attempt: 1, schema: SECOND, data: { country: 'FR' } },
        { id: 'behind', attempt: 1 },
      ]);
      await untilTold(countersOf(look), 'nothing is parked', async () =>
        is(await sum(look, 'parked:f:order.created'), 0),
      );
      t.same(await letters(millrace), []);
    },
  );
}

t.test(
  'a schema that stays unknown: dead after its time, what is behind goes on, and replay works once it is registered',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const shop = new Shop(t, redis.url, { MILLRACE_SCHEMA_WAIT_MS: 700 });
    const millrace = await shop.connect(['string country = 2;']);
    for (const id of ['lost-1', 'lost-2', 'lost-3'])
      await appendWith(millrace, look, SECOND, id, { orderId: 'A', country: 'FR' });
    await millrace.publisher().publish('order.created', { orderId: 'A' }, { id: 'behind' });
    await shop.dispatch(millrace, { f: HANDLE });
    await untilTold(writesToFile(shop.history), 'the one behind has run', () =>
      is(shop.seen().length, 1),
    );
    const dead = await until('three are dead', async () => {
      const found = await letters(millrace);
      return found.length === 3 ? found : new NotYet(found);
    });
    t.match(
      dead,
      ['lost-1', 'lost-2', 'lost-3'].map((eventId) => ({
        eventId,
        reason: 'schema',
        attempts: 0,
        error: { name: 'UnknownSchemaError', message: new RegExp(`schema id ${SECOND}`) },
      })),
    );
    t.ok(
      dead.every((letter) => letter.lastFailedMs - letter.firstFailedMs >= 700),
      'each had its time',
    );

    await millrace.deployment.registry.register(
      order('string country = 2;', 'string city = 3;'),
      BY,
    );
    for (const letter of dead) await replayDeadLetter(millrace.deployment, letter);
    await untilTold(writesToFile(shop.history), 'they have run', () => is(shop.seen().length, 4));
    t.same(await letters(millrace), []);
  },
);

t.test("an event that bears another type's schema is dead at once", async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const shop = new Shop(t, redis.url);
  const millrace = await shop.connect(['string country = 2;']);
  const files = [
    { name: 'x.proto', text: 'syntax = "proto3"; package x; message Other { string x = 1; }' },
  ];
  const { id } = await millrace.deployment.registry.register({ subject: 'other-value', files }, BY);
  await appendWith(millrace, look, id, 'wrong', { orderId: 'A' });
  await shop.dispatch(millrace, { f: HANDLE });
  await until('it is dead', async () => is((await letters(millrace)).length, 1));
  t.match(await letters(millrace), [
    {
      eventId: 'wrong',
      reason: 'schema',
      error: { name: 'SchemaMismatchError', message: /other-value/ },
    },
  ]);
  t.same(shop.seen(), []);
});

t.test('upcasters: old events become what the function expects, step by step', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const shop = new Shop(t, redis.url);
  // Version 1: whole pounds and one name. Version 2: pence. Version 3: the name in two fields.
  const v1 = ['int64 pounds = 2;', 'string name = 3;'];
  const v2 = ['reserved 2; reserved "pounds";', 'string name = 3;', 'int64 pence = 4;'];
  const v3 = [
    'reserved 2, 3; reserved "pounds", "name";',
    'int64 pence = 4;',
    'string first = 5;',
    'string last = 6;',
  ];
  const first = await shop.connect(v1);
  await first.deployment.registry.setLevel(null, 'NONE');
  await first
    .publisher()
    .publish(
      'order.created' as string,
      { orderId: 'A', pounds: 7, name: 'Ada Lovelace' },
      { id: 'v1' },
    );
  await first
    .publisher()
    .publish('order.created' as string, { orderId: 'B', pounds: -1, name: 'x' }, { id: 'bad' });
  await (
    await shop.connect(v2)
  )
    .publisher()
    .publish(
      'order.created' as string,
      { orderId: 'A', name: 'Alan Turing', pence: 250 },
      { id: 'v2' },
    );
  const now = await shop.connect(v3);
  await now
    .publisher()
    .publish(
      'order.created' as string,
      { orderId: 'A', pence: 5, first: 'Grace', last: 'Hopper' },
      { id: 'v3' },
    );
  const steps = `
    upcasts: [
      upcast('order.created', { from: 1, to: 2 }, ({ pounds, ...rest }) => {
        if (pounds < 0) throw new RangeError('negative');
        return { ...rest, pence: pounds * 100 };
      }),
      upcast('order.created', { from: 2, to: 3 }, ({ name, ...rest }) => {
        const [first, last] = name.split(' ');
        return { ...rest, first, last };
      }),
    ],`;
  await shop.dispatch(now, { each: steps + HANDLE, together: steps + HANDLE_BATCH });
  await untilTold(writesToFile(shop.history), 'all have run', () => is(shop.seen().length, 6));
  for (const fn of ['each', 'together']) {
    t.same(
      shop.seen(fn).map(({ id, data }) => [id, data]),
      [
        ['v1', { orderId: 'A', pence: 700, first: 'Ada', last: 'Lovelace' }],
        ['v2', { orderId: 'A', pence: 250, first: 'Alan', last: 'Turing' }],
        ['v3', { orderId: 'A', pence: 5, first: 'Grace', last: 'Hopper' }],
      ],
      fn,
    );
  }
  await until('the bad one is dead for both', async () => is((await letters(now)).length, 2));
  t.match(await letters(now), [
    { eventId: 'bad', reason: 'schema', error: { name: 'RangeError', message: 'negative' } },
    { eventId: 'bad' },
  ]);

  // A fourth version is compatible with the third. The chain ends at 3, and version 4 reads its
  // events as those of version 3.
  const later = await shop.connect([...v3, 'string note = 7;']);
  await shop.dispatch(later, { later: steps + HANDLE });
  await untilTold(writesToFile(shop.history), 'it has run', () => is(shop.seen('later').length, 3));
  t.same(shop.seen('later')[0]?.data, {
    orderId: 'A',
    pence: 700,
    first: 'Ada',
    last: 'Lovelace',
    note: '',
  });
  t.equal(await sum(look, 'retried:each'), 0);
});

t.test('an upcaster whose result does not fit is told so in the dead letter', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url);
  const old = await shop.connect(orderProto('string name = 2;'));
  await old
    .publisher()
    .publish('order.created' as string, { orderId: 'A', name: 'x' }, { id: 'v1' });
  const now = await shop.connect(orderProto('string name = 2;', 'string more = 3;'));
  await shop.dispatch(now, {
    f: `upcasts: [upcast('order.created', { from: 1, to: 2 }, (data) => ({ ...data, moer: 'typo' }))], ${HANDLE}`,
  });
  await until('it is dead', async () => is((await letters(now)).length, 1));
  t.match(await letters(now), [
    { reason: 'schema', error: { message: /field moer: no such field/ } },
  ]);
});
