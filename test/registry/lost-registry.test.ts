import type { Redis } from 'ioredis';
import t from 'tap';
import { SchemaNotRegisteredError } from '../../src/core/errors/input-errors.ts';
import { prepareSchema } from '../../src/registry/schema-tools.ts';
import { listDeadLetters, type DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import type { Millrace } from '../../src/millrace.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { BY, idOf, openRegistry, order, orderProto } from './open-registry.ts';
import { HANDLE, Shop } from './shop.ts';
import { until, untilTold, writesToFile, is } from '../../scripts/lab/until.ts';

const OLD = ['string country = 2;'];
const NEW = ['string country = 2;', 'string city = 3;'];
const OTHERS = ['payment.taken', 'stock.moved', 'user.joined'];

/** Another service's schemas: types that the publisher of orders does not know. */
const otherProto = OTHERS.map(
  (type, i) =>
    `message Other${i} { option (millrace.v1.event) = { type: "${type}", subject: "id" }; string id = 1; }`,
).reduce(
  (text, message) => `${text}${message}\n`,
  'syntax = "proto3";\npackage other.v1;\nimport "millrace/v1/options.proto";\n',
);

async function deadOnes(millrace: Millrace): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(millrace.deployment)) out.push(letter);
  return out;
}

async function dropRegistry(look: Redis): Promise<void> {
  await look.del(...(await look.keys('mr:registry:{schemas}:*')));
}

/** Publishes, although Redis has forgotten flushes. One call gets the error for them. */
async function publish(millrace: Millrace, id: string): Promise<void> {
  const publisher = millrace.publisher();
  await publisher.publish('order.created', { orderId: 'A', country: id }, { id });
  await publisher.close();
}

t.test(
  'the id of a schema follows from the schema: the same in every registry, whatever was registered first',
  async (t) => {
    const one = await openRegistry(t);
    const drafts = [
      order(...OLD),
      order(...NEW),
      ...OTHERS.map((subject) => ({ subject, files: [{ name: 'o.proto', text: otherProto }] })),
    ];
    await one.registry.setLevel(null, 'NONE');
    const forwards = new Map<number, number>();
    for (const [i, draft] of drafts.entries())
      forwards.set(i, (await one.registry.register(draft, BY)).id);
    await one.redis.client().flushall();
    await one.registry.setLevel(null, 'NONE');
    const backwards = new Map<number, number>();
    for (const [i, draft] of [...drafts.entries()].reverse())
      backwards.set(i, (await one.registry.register(draft, BY)).id);
    t.same(Object.fromEntries(backwards), Object.fromEntries(forwards));
    t.equal(new Set(forwards.values()).size, drafts.length);
    for (const id of forwards.values())
      t.ok(
        Number.isInteger(id) && id >= 2 ** 24 && id < 2 ** 31,
        `${id} is a positive 32-bit integer`,
      );
  },
);

t.test('an id that another schema has is not given again', async (t) => {
  const { registry, redis } = await openRegistry(t);
  const taken = await idOf(order(...OLD));
  await redis
    .client()
    .hset(
      'mr:registry:{schemas}:ids',
      taken,
      JSON.stringify({ fingerprint: 'x', message: 'x', files: [], references: [] }),
    );
  const { id } = await registry.register(order(...OLD), BY);
  t.not(id, taken);
  t.equal((await registry.register(order(...OLD), BY)).id, id, 'and stays what it is');
});

for (const [lost, lose] of [
  ['everything', (look: Redis) => look.flushall()],
  ['the registry alone, events in flight remain', dropRegistry],
] as const) {
  t.test(
    `lost: ${lost}. Another service registers first, the old publisher lives on, and each of its events is read`,
    async (t) => {
      const redis = await startRedis(t);
      const look = redis.client();
      const shop = new Shop(t, redis.url);
      const old = await shop.connect(OLD);
      await publish(old, 'before');
      await lose(look);
      const stranger = await shop.connect(otherProto);
      t.equal(stranger.deployment.schemas.size, OTHERS.length);
      await publish(old, 'after-1');
      // A new process with another version of the type. It knows nothing of the lost registry.
      const fresh = await shop.connect(NEW);
      await shop.dispatch(fresh, { f: HANDLE });
      await publish(old, 'after-2');
      const expected = [...(lost === 'everything' ? [] : ['before']), 'after-1', 'after-2'];
      await untilTold(writesToFile(shop.history), 'all have run', () =>
        is(shop.seen().length, expected.length),
      );
      t.same(
        shop.seen().map(({ id, data }) => [id, data['country']]),
        expected.map((id) => [id, id]),
      );
      t.same(await deadOnes(fresh), []);
      t.match(
        shop.logged.find((line) => /LOSS: the schema registry/.test(String(line['msg']))),
        { level: 40, type: 'order.created', hadVersion: 1 },
      );
      t.match(await fresh.deployment.registry.find(order(...OLD)), {
        id: old.deployment.schemas.get('order.created')?.id,
      });
    },
  );
}

t.test('versions come back under their numbers where they are free', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const shop = new Shop(t, redis.url, { MILLRACE_MODE: 'production' });
  const dev = { MILLRACE_MODE: 'development' } as const;
  const old = await shop.connect(OLD, dev);
  const fresh = await shop.connect(NEW, dev);
  await dropRegistry(look);
  await fresh.deployment.checkSchemas();
  t.match(await fresh.deployment.registry.versions('order.created'), [{ version: 2 }]);
  await old.deployment.checkSchemas();
  t.match(await fresh.deployment.registry.versions('order.created'), [
    { version: 1 },
    { version: 2 },
  ]);
  t.match(old.deployment.schemas.get('order.created'), {
    id: await idOf(order(...OLD)),
    version: 1,
  });
  const third = await shop.connect([...NEW, 'string zip = 4;'], dev);
  t.equal(third.deployment.schemas.get('order.created')?.version, 3);

  // It works in production too, because the schema had been registered.
  const service = await shop.connect(OLD);
  await dropRegistry(look);
  await service.deployment.checkSchemas();
  t.match(await service.deployment.registry.versions('order.created'), [{ version: 1 }]);
});

t.test('a version that was deleted on purpose does not come back', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url);
  const { deployment } = await shop.connect(OLD);
  await deployment.registry.delete('order.created', 1);
  await deployment.registry.delete('order.created', 1, true);
  await deployment.checkSchemas();
  t.same(await deployment.registry.subjects(true), []);
  t.same(shop.logged, []);
});

t.test('a version that was deleted for good, behind a newer one of the same schema', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url);
  const { deployment } = await shop.connect(OLD);
  const { registry, schemas } = deployment;
  const before = schemas.get('order.created');
  await registry.delete('order.created', 1);
  t.match(await registry.register(order(...OLD), BY), { id: before?.id, version: 2 });
  await deployment.checkSchemas();
  t.same(schemas.get('order.created'), before);
  await registry.delete('order.created', 1, true);
  await deployment.checkSchemas();
  t.same(schemas.get('order.created'), { ...before, version: 2 }, 'nothing was lost');
  t.same(shop.logged, []);
});

t.test(
  'a schema that contradicts what is registered now: publishing says so, and no event is misread',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const shop = new Shop(t, redis.url);
    const old = await shop.connect(OLD);
    const publisher = old.publisher();
    await dropRegistry(look);
    await shop.connect(['int64 country = 2;']);
    await old.deployment.checkSchemas();
    await t.rejects(publisher.publish('order.created', { orderId: 'A' }), {
      code: 'SCHEMA_NOT_REGISTERED',
      message: /order\.created: the registry has lost its schema[\s\S]*country/,
    });
    t.ok(
      await publisher.publish('order.created', { orderId: 'A' }).then(
        () => false,
        (error: unknown) => error instanceof SchemaNotRegisteredError,
      ),
    );
    t.equal((await old.deployment.registry.versions('order.created')).length, 1);
    t.equal((await look.keys('mr:*:events:*')).length, 0);
  },
);

t.test(
  'a schema that contradicts what is registered now: emitting says so, as publishing does',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const shop = new Shop(t, redis.url);
    const abandoned =
      'message OrderAbandoned { option (millrace.v1.event) = { type: "order.abandoned", subject: "order_id" }; string order_id = 1; }';
    const old = await shop.connect(`${orderProto(...OLD)}${abandoned}\n`);
    await shop.dispatch(old, {
      remind: `on: ['order.abandoned'], retry: { attempts: 1 }, handle(event, ctx) {
        if (event.subject === 'kill') process.exit(1);
        ctx.emit('order.created', { orderId: event.subject, country: 'x' });
      }`,
    });
    const publisher = old.publisher();
    await publisher.publish('order.abandoned', { orderId: 'before' });
    const orders = (): Promise<string[]> => look.keys('mr:*:events:order.created');
    await until('one is emitted', async () => is((await orders()).length, 1));

    await dropRegistry(look);
    await look.del(...(await orders()));
    await shop.connect(['int64 country = 2;']);
    await old.deployment.checkSchemas();
    const dies = async (subject: string, letters: number): Promise<void> => {
      await publisher.publish('order.abandoned', { orderId: subject });
      await until(`${subject} is dead`, async () => is((await deadOnes(old)).length, letters));
    };
    await dies('in the old thread', 1);
    await dies('kill', 2);
    await dies('in a new thread', 3);
    const errors = new Map(
      (await deadOnes(old)).map((letter) => [letter.subject, letter.error] as const),
    );
    for (const subject of ['in the old thread', 'in a new thread'])
      t.match(errors.get(subject), {
        name: 'SchemaNotRegisteredError',
        message: /"order\.created"[^]*order\.created: the registry has lost its schema[^]*country/,
      });
    t.same(await orders(), [], 'nothing is written that nobody could read');
  },
);

t.test(
  'ids that were counted up by earlier releases stay, also when the registry is lost',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const key = (part: string): string => `mr:registry:{schemas}:${part}`;
    // The form that an earlier release has written.
    const { files } = order(...OLD);
    const { meaning } = await prepareSchema('order.created', files);
    await look.hset(key('meta'), 'last', 1);
    await look.hset(
      key('ids'),
      1,
      JSON.stringify({
        fingerprint: meaning,
        message: 'shop.v1.OrderCreated',
        files,
        references: [],
      }),
    );
    await look.hset(key('fingerprints'), meaning, 1);
    await look.hset(key('subjects'), 'order.created', 1);
    await look.hset(key('uses'), 1, '1 order.created\n');
    await look.hset(
      key('subject:order.created'),
      'revision',
      1,
      'id:1',
      1,
      'at:1',
      1,
      'by:1',
      'x',
      'git:1',
      '',
    );

    const shop = new Shop(t, redis.url);
    const old = await shop.connect(`// a comment\n${orderProto(...OLD)}`);
    t.same(
      old.deployment.schemas.get('order.created'),
      { id: 1, version: 1 },
      'found, although the text and the form of fingerprints are others',
    );
    await dropRegistry(look);
    await shop.connect(OLD);
    const fresh = await shop.connect(NEW);
    t.equal(
      fresh.deployment.schemas.get('order.created')?.id,
      await idOf(order(...NEW)),
      'new ones are not counted up',
    );
    await publish(old, 'after');
    await shop.dispatch(fresh, { f: HANDLE });
    await untilTold(writesToFile(shop.history), 'it has run', () => is(shop.seen().length, 1));
    t.match(shop.seen(), [{ id: 'after', schema: 1 }]);
    t.match(await fresh.deployment.registry.store.uses(1), [{ subject: 'order.created' }]);
  },
);
