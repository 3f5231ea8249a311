import t from 'tap';
import {
  DeletionError,
  IncompatibleSchemaError,
  RegistryInputError,
  SchemaReferencedError,
  UnknownSchemaError,
  UnknownSubjectError,
  UnknownVersionError,
} from '../../src/registry/schema-errors.ts';
import { SchemaRegistry } from '../../src/registry/registry.ts';
import { InvalidSchemaError } from '../../src/registry/schema-tools.ts';
import { BY, idOf, openRegistry, order, orderProto } from './open-registry.ts';

t.test(
  'a schema is registered once, under one id, with who, when and from which revision',
  async (t) => {
    const { registry, redis } = await openRegistry(t);
    const before = Date.now() - 1000;
    const [firstId, second] = [
      await idOf(order('string country = 2;')),
      await idOf(order('string country = 2;', 'string city = 3;')),
    ];
    t.same(await registry.register(order('string country = 2;'), BY), {
      id: firstId,
      version: 1,
      isNew: true,
    });
    t.same(
      await registry.register(order('string country = 2;'), BY),
      { id: firstId, version: 1, isNew: false },
      'the same again',
    );
    const spaced = {
      subject: 'order.created',
      files: [{ name: 'orders.proto', text: orderProto('string country = 2; // where to') }],
    };
    t.same(
      await registry.register(spaced, BY),
      { id: firstId, version: 1, isNew: false },
      'a comment is no other schema',
    );
    t.same(
      await registry.register(order('string country = 2;', 'string city = 3;'), {
        by: 'other',
        gitRevision: '',
      }),
      { id: second, version: 2, isNew: true },
    );

    const latest = await registry.version('order.created', 'latest');
    t.match(latest, {
      version: 2,
      id: second,
      by: 'other',
      revision: '',
      deleted: false,
      schema: { message: 'shop.v1.OrderCreated' },
    });
    const first = await registry.version('order.created', 1);
    t.match(first, { by: 'tester@here', revision: 'abc123' });
    t.ok(first.atMs >= before && first.atMs <= Date.now() + 1000);
    t.same(first.schema.files, order('string country = 2;').files, 'the text as it was registered');
    t.same(await registry.subjects(), ['order.created']);
    t.same(await registry.store.uses(firstId), [{ subject: 'order.created', version: 1 }]);
    t.match(await registry.find(order('string country = 2;')), { version: 1 });
    t.equal(await registry.find(order('string county = 2;')), null);

    const keys = await redis.client().keys('*');
    t.ok(
      keys.length > 0 && keys.every((key) => key.startsWith('mr:registry:{schemas}:')),
      'all keys in one slot',
    );
  },
);

t.test('the same schema in two subjects has one id', async (t) => {
  const { registry } = await openRegistry(t);
  const files = [
    { name: 'a.proto', text: 'syntax = "proto3"; package a; message M { string x = 1; }' },
  ];
  const { id } = await registry.register({ subject: 'a-value', files }, BY);
  t.equal((await registry.register({ subject: 'b-value', files }, BY)).id, id);
  t.same(await registry.store.uses(id), [
    { subject: 'a-value', version: 1 },
    { subject: 'b-value', version: 1 },
  ]);
});

t.test('what is incompatible is refused with every finding, and nothing changes', async (t) => {
  const { registry } = await openRegistry(t);
  await registry.register(order('int32 amount = 2;', 'string note = 3;'), BY);
  const bad = order('string amount = 2;', 'int64 note = 3;');
  const error = await registry.register(bad, BY).catch((e: unknown) => e);
  t.ok(error instanceof IncompatibleSchemaError);
  const { findings, level, message } = error as IncompatibleSchemaError;
  t.equal(level, 'FULL_TRANSITIVE', 'the default');
  t.ok(findings.length >= 2, `${findings.length} findings`);
  t.match(message, /amount[\s\S]*note|note[\s\S]*amount/);
  t.same(
    (await registry.versions('order.created')).map((one) => one.version),
    [1],
  );
  t.match(await registry.check(bad), { compatible: false, against: [1] });

  await registry.setLevel('order.created', 'NONE');
  t.match(
    await registry.register(bad, BY),
    { version: 2, isNew: true },
    'level NONE lets everything in',
  );
});

t.test("levels: the global one, the subject's own, transitive or not", async (t) => {
  const { registry } = await openRegistry(t);
  t.same(await registry.level(), { level: 'FULL_TRANSITIVE', own: false });
  await registry.setLevel(null, 'BACKWARD');
  t.same(await registry.level('order.created'), { level: 'BACKWARD', own: false });
  await registry.setLevel('order.created', 'NONE');
  t.same(await registry.level('order.created'), { level: 'NONE', own: true });
  await t.rejects(registry.setLevel(null, 'backward'), RegistryInputError);

  await registry.register(order('int32 a = 2;'), BY);
  await registry.register(order('string a = 2;'), BY);
  await registry.setLevel('order.created', 'FULL');
  t.same(
    (await registry.check(order('string a = 2;', 'string b = 3;'))).against,
    [2],
    'the last one only',
  );
  await registry.setLevel('order.created', 'FULL_TRANSITIVE');
  t.match(await registry.check(order('string a = 2;', 'string b = 3;')), {
    compatible: false,
    against: [1, 2],
  });
  t.same(
    (await registry.check(order('string a = 2;', 'string b = 3;'), 2)).against,
    [2],
    'a named one only',
  );
  await registry.setLevel('order.created', null);
  t.same(await registry.level('order.created'), { level: 'BACKWARD', own: false });
});

t.test('of two incompatible schemas registered at the same time one gets in', async (t) => {
  const { registry, store } = await openRegistry(t);
  const others = Array.from({ length: 4 }, () => new SchemaRegistry(store));
  for (let round = 0; round < 5; round++) {
    const subject = `race.${round}`;
    const draft = (type: string) => ({
      subject,
      files: [
        {
          name: 'r.proto',
          text: orderProto(`${type} x = 2;`)
            .replace('order.created', subject)
            .replace('OrderCreated', `R${round}`),
        },
      ],
    });
    const outcomes = await Promise.allSettled(
      ['int32', 'string', 'double', 'bool'].map((type, i) =>
        (others[i] as SchemaRegistry).register(draft(type), BY),
      ),
    );
    t.equal(outcomes.filter((one) => one.status === 'fulfilled').length, 1);
    t.equal((await registry.versions(subject)).length, 1);
  }
  // With level NONE all of them are registered, each under its own number.
  await registry.setLevel('order.created', 'NONE');
  const draft = (i: number) => order('string country = 2;', `string f${i} = ${10 + i};`);
  await Promise.all(
    Array.from({ length: 6 }, (_, i) => (others[i % 4] as SchemaRegistry).register(draft(i), BY)),
  );
  const versions = await registry.versions('order.created');
  t.equal(versions.length, 6);
  t.same(
    versions.map((one) => one.version),
    versions.map((_, i) => i + 1),
    'numbered without gaps',
  );
});

t.test('deleting: softly, then for good; the schema stays under its id', async (t) => {
  const { registry } = await openRegistry(t);
  await registry.setLevel(null, 'NONE');
  const one = order('int32 a = 2;');
  const { id } = await registry.register(one, BY);
  await registry.register(order('int32 a = 2;', 'string b = 3;'), BY);
  await t.rejects(
    registry.delete('order.created', 1, true),
    DeletionError,
    'for good only what is deleted softly',
  );
  t.same(await registry.delete('order.created', 1), [1]);
  await t.rejects(registry.delete('order.created', 1), DeletionError);
  t.same(
    (await registry.versions('order.created')).map((v) => v.version),
    [2],
  );
  t.same(
    (await registry.versions('order.created', true)).map((v) => v.deleted),
    [true, false],
  );
  await t.rejects(registry.version('order.created', 1), UnknownVersionError);
  t.match(await registry.version('order.created', 1, true), { id });

  t.same(
    await registry.register(one, BY),
    { id, version: 3, isNew: true },
    'registered again: a new version under the old id',
  );
  t.same(await registry.delete('order.created', 'all'), [2, 3]);
  await t.rejects(registry.versions('order.created'), UnknownSubjectError);
  t.same(await registry.subjects(), []);
  t.same(await registry.subjects(true), ['order.created']);
  t.same(await registry.delete('order.created', 'all', true), [1, 2, 3]);
  t.same(await registry.subjects(true), []);
  t.match(await registry.schema(id), { message: 'shop.v1.OrderCreated' }, 'events bear its id');
  t.same(await registry.store.uses(id), []);
  t.same(
    await registry.register(one, BY),
    { id, version: 4, isNew: true },
    'numbers are never used again',
  );
  await t.rejects(registry.schema(99), UnknownSchemaError);
  await t.rejects(registry.delete('nothing', 'all'), UnknownSubjectError);
});

t.test('a version that another schema imports is not deleted', async (t) => {
  const { registry } = await openRegistry(t);
  const money = {
    name: 'money.proto',
    text: 'syntax = "proto3"; package a; message Money { int64 amount = 1; }',
  };
  await registry.register({ subject: 'money.proto', files: [money] }, BY);
  const user = {
    name: 'user.proto',
    text: 'syntax = "proto3"; package a; import "money.proto"; message User { Money m = 1; }',
  };
  await registry.register(
    {
      subject: 'user-value',
      files: [user, money],
      references: [{ name: 'money.proto', subject: 'money.proto', version: 1 }],
    },
    BY,
  );
  t.same(await registry.store.referencedBy('money.proto', 1), [
    { subject: 'user-value', version: 1 },
  ]);
  await t.rejects(registry.delete('money.proto', 1), SchemaReferencedError);
  await registry.delete('user-value', 1);
  t.same(await registry.delete('money.proto', 1), [1]);
});

t.test('bad input is refused and changes nothing', async (t) => {
  const { registry, redis } = await openRegistry(t);
  await t.rejects(
    registry.register({ subject: 'x', files: [{ name: 'x.proto', text: 'message {' }] }, BY),
    InvalidSchemaError,
  );
  for (const subject of ['', 'a\nb', 'x'.repeat(256)]) {
    await t.rejects(registry.register({ ...order(), subject }, BY), RegistryInputError);
  }
  t.same(await redis.client().keys('*'), []);
});

t.test('Redis out of memory: refused, nothing half written', async (t) => {
  const { registry, redis } = await openRegistry(t);
  const look = redis.client();
  await registry.register(order('string a = 2;'), BY);
  const dump = async (): Promise<string> => {
    const keys = (await look.keys('*')).sort();
    return JSON.stringify(
      await Promise.all(keys.map(async (key) => [key, await look.hgetall(key)])),
    );
  };
  const before = await dump();
  await look.config('SET', 'maxmemory', '1');
  const more = order('string a = 2;', 'string b = 3;');
  await t.rejects(registry.register(more, BY), { message: /OOM/, retryable: true }, 'said at once');
  t.equal(await dump(), before);
  await look.config('SET', 'maxmemory', '0');
  t.match(await registry.register(more, BY), { version: 2 });
});
