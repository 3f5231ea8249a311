/**
 * A damaged record of the registry affects nothing but itself. The others are served, and a request
 * for the damaged one gets the error.
 */
import t from 'tap';
import { inProcess } from '../../scripts/lab/cli-in-process.ts';
import { registerSchema } from '../../src/cli/commands/schema.ts';
import { PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { toApiError } from '../../src/admin/registry-errors.ts';
import type { SchemaDraft } from '../../src/registry/schema-draft.ts';
import { WriterSchemas } from '../../src/registry/writer-schemas.ts';
import { BY, openRegistry, order, orderProto } from './open-registry.ts';

const other: SchemaDraft = {
  subject: 'other',
  files: [
    {
      name: 'other.proto',
      text: orderProto('int32 other = 2;')
        .replaceAll('order.created', 'other')
        .replaceAll('OrderCreated', 'Other'),
    },
  ],
};
const IDS = 'mr:registry:{schemas}:ids';

const SCHEMAS: Readonly<Record<string, string | Buffer>> = {
  'no JSON': 'x',
  empty: '',
  'the word null': 'null',
  'a number': '5',
  'a list': '[]',
  'an empty object': '{}',
  'files that are a text': '{"fingerprint":"f","message":"m","files":"x","references":[]}',
  'a file without a text':
    '{"fingerprint":"f","message":"m","files":[{"name":"a"}],"references":[]}',
  'references that are null': '{"fingerprint":"f","message":"m","files":[],"references":null}',
  'random bytes': Buffer.from('9f3a00ffb2c4d1e8', 'hex'),
};

t.test('a schema', async (t) => {
  const { redis, registry, store } = await openRegistry(t);
  const look = redis.client();
  const run = inProcess(registerSchema, { REDIS_URL: redis.url }, PROTO_DIR);
  const draft = order('int32 n = 2;');
  const { id } = await registry.register(draft, BY);
  const good = await registry.register(other, BY);
  const text = (await look.hget(IDS, String(id))) as string;
  const named = {
    code: 'CORRUPT_DATA',
    message: new RegExp(
      `^schema id ${id} of the registry cannot be read: .*millrace schema register`,
    ),
  };
  for (const [what, value] of Object.entries(SCHEMAS)) {
    await look.hset(IDS, String(id), value);
    await t.rejects(registry.schema(id), named, what);
    await t.rejects(registry.version('order.created', 'latest'), named, what);
    t.match(await registry.schema(good.id), { id: good.id });
    t.match(await registry.version('other', 'latest'), { version: 1 });
    t.strictSame(await registry.subjects(), ['order.created', 'other']);
    t.match(await registry.versions('order.created'), [{ version: 1, id }]);
    t.equal(await registry.isIdOf(id, draft), false);
    const listed = await run('schema', 'list', '--json');
    t.match(
      [JSON.parse(listed.out), listed.failed, listed.error],
      [{ subject: 'other' }, true, null],
    );
    t.match(listed.err, /order\.created: schema id/);
    // The damaged version cannot be compared with. A wrong verdict would be worse than none.
    await t.rejects(registry.register(order('int32 n = 2;', 'int32 more = 3;'), BY), named, what);
    t.match(await registry.check(draft), { compatible: true });
    const log: unknown[] = [];
    const writers = new WriterSchemas({
      registry,
      schemas: new Map(),
      schemaWaitMs: 1000,
      log: (...line) => void log.push(line),
    });
    t.equal(await writers.find(`id:${id}`), null);
    t.equal(await writers.find(`id:${id}`), null);
    t.match(await writers.find(`id:${good.id}`), { id: good.id });
    t.equal(log.length, 1, 'said once');
    t.match(
      await registry.register(draft, BY),
      { id, version: 1, isNew: false },
      'registered again',
    );
    t.equal(await look.hget(IDS, String(id)), text, `it is written anew: ${what}`);
  }
  await look.hset(IDS, String(id), 'x');
  t.equal((await store.ids()).length, 2);
  await look.hset(IDS, 'garbage', 'x');
  t.strictSame((await store.ids()).sort(), [id, good.id].sort(), 'maxId is a number');
  t.strictSame(await registry.delete('order.created', 'all'), [1], 'and can be deleted');
});

t.test('a version of a subject, and a subject', async (t) => {
  const { redis, registry, keys } = await openRegistry(t);
  const look = redis.client();
  await registry.register(order('int32 n = 2;'), BY);
  await registry.register(order('int32 n = 2;', 'int32 more = 3;'), BY);
  await registry.register(other, BY);
  const key = keys.registrySubject('order.created');
  const kept = await look.hgetall(key);
  for (const value of ['x', '', '1.5', '-1', 'NaN', '{}']) {
    for (const version of [1, 2]) {
      const whole = 3 - version;
      await look.hset(key, { ...kept, [`id:${version}`]: value });
      const named = {
        code: 'CORRUPT_DATA',
        message: new RegExp(`^version ${version} of "order.created" cannot be read`),
      };
      await t.rejects(registry.version('order.created', version), named);
      t.match(await registry.version('order.created', whole), {
        version: whole,
        schema: { message: 'shop.v1.OrderCreated' },
      });
      t.match(
        (await registry.versions('order.created')).map((one) => one.version),
        [whole],
      );
      if (version === 2)
        await t.rejects(
          registry.version('order.created', 'latest'),
          named,
          'not an older one instead',
        );
      t.strictSame(await registry.subjects(), ['order.created', 'other']);
      await t.rejects(
        registry.check(order('int32 n = 2;', 'int32 third = 4;')),
        named,
        'not judged without it',
      );
    }
  }
  await look.hset(key, { ...kept, 'at:1': 'once', 'id:x': '5', 'id:': '5' });
  t.match(await registry.versions('order.created'), [{ version: 1, atMs: 0 }, { version: 2 }]);
  // The last version that was given. A new version must not take the number of an existing one.
  await look.hset('mr:registry:{schemas}:subjects', 'order.created', 'x');
  t.match(
    await registry.register(order('int32 n = 2;', 'int32 more = 3;', 'int32 third = 4;'), BY),
    { version: 3 },
  );

  await look.hset('mr:registry:{schemas}:levels', 'order.created', 'WRONG');
  await t.rejects(registry.level('order.created'), {
    code: 'CORRUPT_DATA',
    message: /millrace schema level order\.created/,
  });
  t.match(await registry.level('other'), { own: false });
  await look.del(key);
  await look.set(key, 'x');
  const named = {
    code: 'CORRUPT_DATA',
    message:
      /^subject "order\.created" of the registry cannot be read: its key .*subject:order\.created is of another type/,
  };
  await t.rejects(registry.versions('order.created'), named);
  const error: unknown = await registry.versions('order.created').catch((e: unknown) => e);
  t.match(toApiError(error), { status: 500, errorCode: 50001, message: named.message });
  t.strictSame(await registry.subjects(), ['order.created', 'other']);
  t.match(await registry.version('other', 1), { version: 1 });
});

t.test('fingerprints and hashes of texts that name no id', async (t) => {
  const { redis, registry, store } = await openRegistry(t);
  const look = redis.client();
  const draft = order('int32 n = 2;');
  const { id } = await registry.register(draft, BY);
  for (const part of ['fingerprints', 'texts']) {
    const key = `mr:registry:{schemas}:${part}`;
    for (const field of await look.hkeys(key)) await look.hset(key, field, 'x');
  }
  t.equal(
    await store.idOfFingerprint(
      Object.keys(await look.hgetall('mr:registry:{schemas}:fingerprints'))[0] as string,
    ),
    null,
  );
  t.match(await store.idsOfTexts(await look.hkeys('mr:registry:{schemas}:texts')), [null]);
  await look.hset('mr:registry:{schemas}:uses', String(id), 'x\n1 order.created\n\n9x y\n');
  t.strictSame(await store.uses(id), [{ version: 1, subject: 'order.created' }]);
  const again = await registry.register(draft, BY);
  t.ok(Number.isSafeInteger(again.id) && Number.isSafeInteger(again.version), 'a new id is found');
});
