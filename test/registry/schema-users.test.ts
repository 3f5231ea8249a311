/** Writers and readers of a schema's versions, while two versions of a service run. */
import t from 'tap';
import { judgeChange, judgeDeletion } from '../../src/registry/schema-change.ts';
import { readSchemaUsers } from '../../src/registry/schema-users.ts';
import { UnknownVersionError } from '../../src/registry/schema-errors.ts';
import { DataShapes } from '../../src/registry/data-shapes.ts';
import { showData } from '../../src/payload/show-data.ts';
import { textDifferences } from '../../src/registry/text-difference.ts';
import { judge, prepareSchema } from '../../src/registry/schema-tools.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { NotYet, until } from '../../scripts/lab/until.ts';
import { BY, idOf, openRegistry, order } from './open-registry.ts';
import { HANDLE, Shop } from './shop.ts';

const V1 = ['string country = 2;'];
const V2 = ['string country = 2;', 'string city = 3;'];

t.test('writers from live ids, readers from the dispatchers', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url);
  const old = await shop.connect(V1);
  const fresh = await shop.connect(V2);
  const [first, second] = [await idOf(order(...V1)), await idOf(order(...V2))];
  const publisher = old.publisher({ source: 'old-service' });
  for (let i = 0; i < 5; i++) await publisher.publish('order.created', { orderId: `o${i}` });
  await fresh.publisher({ source: 'new-service' }).publish('order.created', { orderId: 'n' });
  await shop.dispatch(old, { audit: HANDLE });
  await shop.dispatch(fresh, { shipping: HANDLE });

  const users = await until('both dispatchers tell what they read with', async () => {
    const now = await readSchemaUsers(old.deployment, 'order.created');
    const told = now.readers.flatMap(({ dispatchers }) =>
      dispatchers.flatMap(({ schema }) => schema ?? []),
    );
    return told.length === 2 ? now : new NotYet(now.readers);
  });
  t.match(users, {
    versions: [
      { version: 1, id: first },
      { version: 2, id: second },
    ],
    written: [
      { schema: first, version: 1, events: 5, sources: ['old-service'] },
      { schema: second, version: 2, events: 1, sources: ['new-service'] },
    ],
    sample: { events: 6, unreadable: 0, partitions: 2 },
    readers: [
      { name: 'audit', dispatchers: [{ schema: first, version: 1 }] },
      { name: 'shipping', dispatchers: [{ schema: second, version: 2 }] },
    ],
  });
  const few = await readSchemaUsers(old.deployment, 'order.created', { entries: 1 });
  t.ok(few.sample.entries <= 2);
  t.equal(few.sample.ofEntries, users.sample.ofEntries);

  // A change that nobody can live with: each version says on which side it breaks.
  const bad = await judgeChange(old.deployment, order('int32 country = 2;'), users);
  t.equal(bad.verdict.compatible, false);
  t.strictSame(
    bad.versions.map(({ version, unreadable, misread }) => [
      version,
      unreadable.some(({ rule }) => rule === 'FIELD_TYPE_CHANGED'),
      misread.some(({ rule }) => rule === 'FIELD_TYPE_CHANGED'),
    ]),
    [
      [2, true, true],
      [1, true, true],
    ],
  );
  t.match(bad.versions[1]?.readers, [/^audit in /]);
  t.match(bad.text, [{ name: 'orders.proto', kind: 'changed' }]);
  const good = await judgeChange(old.deployment, order(...V2, 'string note = 4;'), users);
  t.equal(good.verdict.compatible, true);
  t.ok(good.versions.every(({ unreadable, misread }) => unreadable.length + misread.length === 0));

  t.match(await judgeDeletion(old.deployment, 1, users), {
    version: 1,
    written: { events: 5, sources: ['old-service'] },
    readers: [/^audit in /],
    isLast: false,
    referencedBy: [],
  });
  await t.rejects(judgeDeletion(old.deployment, 7, users), UnknownVersionError);
});

t.test('a mask makes a new version, and covers older events', async (t) => {
  const { registry } = await openRegistry(t);
  const open = order('string email = 2;');
  const masked = order('string email = 2 [(millrace.v1.masked) = true];');
  const first = await registry.register(open, BY);
  const shapes = new DataShapes(registry, { types: new Map() } as never);
  // order_id "A", email "SECRET"
  const bytes = Buffer.from('0a0141 1206534543524554'.replace(' ', ''), 'hex');
  const before = await shapes.find('order.created', first.id);
  t.match(before && showData(before, bytes, 'masked'), {
    fields: [{}, { value: { kind: 'text', text: 'SECRET' } }],
  });

  const second = await registry.register(masked, BY);
  t.match(second, { version: 2, isNew: true });
  t.not(second.id, first.id);
  const later = new DataShapes(registry, { types: new Map() } as never);
  const after = await later.find('order.created', first.id);
  t.notMatch(JSON.stringify(after && showData(after, bytes, 'masked')), /SECRET/);
  t.equal(await later.find('order.created', 77), null, 'an id that nobody has registered');

  const verdict = await judge('FULL_TRANSITIVE', await prepareSchema('order.created', open.files), [
    await prepareSchema('order.created', masked.files),
  ]);
  t.match(verdict, { compatible: true, warnings: [{ rule: 'MASK_REMOVED' }] });
});

t.test('differences of texts', async (t) => {
  const before = [
    { name: 'a.proto', text: 'one\ntwo\nthree\n' },
    { name: 'gone.proto', text: 'x\n' },
  ];
  const after = [
    { name: 'a.proto', text: 'one\n2\nthree\n' },
    { name: 'new.proto', text: 'y\n' },
  ];
  t.strictSame(textDifferences(before, before), []);
  t.match(textDifferences(before, after), [
    {
      name: 'a.proto',
      kind: 'changed',
      more: false,
      hunks: [
        {
          before: 1,
          after: 1,
          lines: [
            { kind: 'same', text: 'one' },
            { kind: 'removed', text: 'two' },
            { kind: 'added', text: '2' },
            { kind: 'same', text: 'three' },
          ],
        },
      ],
    },
    { name: 'gone.proto', kind: 'removed' },
    { name: 'new.proto', kind: 'added' },
  ]);
});
