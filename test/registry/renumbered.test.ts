/**
 * A registry that was lost may give versions other numbers. Numbers from before and after the loss
 * must not be mixed: an upcast would then write with another schema than it is read with.
 */
import t, { type Test } from 'tap';
import { upcast } from '../../src/define/index.ts';
import type { SchemaDraft } from '../../src/registry/schema-draft.ts';
import { WriterSchemas } from '../../src/registry/writer-schemas.ts';
import { PayloadWays, type Reader, type Way } from '../../src/thread/payload-ways.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { BY, idOf, order } from './open-registry.ts';
import { Shop } from './shop.ts';

const TYPE = 'order.created';
const OLD = ['int32 pounds = 2;'];
const OWN = ['int32 pence = 3;'];
/** The process's own field under another number, and a schema of somebody else. */
const STRANGER = ['int32 pence = 4;'];
const OTHER = ['int32 weight = 5;'];

const toPence = upcast(TYPE, { from: 1, to: 2 }, ({ pounds, ...rest }) => ({
  ...rest,
  pence: Number(pounds) * 100,
}));
const readerOf = (name: string): Reader => ({ spec: { name }, upcasts: [toPence] });

async function openService(t: Test) {
  const redis = await startRedis(t);
  const look = redis.client();
  const shop = new Shop(t, redis.url, { MILLRACE_MODE: 'development' });
  const old = await shop.connect(OLD);
  await old.deployment.registry.setLevel(null, 'NONE');
  const { deployment } = await shop.connect(OWN);
  const { registry, catalog, schemas } = deployment;
  t.match(schemas.get(TYPE), { version: 2 });
  await old.close();

  /** Loses the registry. Afterwards these schemas are registered first. */
  const lose = async (...drafts: readonly SchemaDraft[]): Promise<void> => {
    await look.del(...(await look.keys('mr:registry:{schemas}:*')));
    await registry.setLevel(null, 'NONE');
    for (const draft of drafts) await registry.register(draft, BY);
  };
  const writers = new WriterSchemas({ registry, schemas, schemaWaitMs: 1000, log: () => {} });
  return { deployment, lose, ways: new PayloadWays(catalog, schemas, writers.find) };
}

/** `order_id` "A", `pounds` 3, as the old version writes them. */
const BYTES = Buffer.from([0x0a, 1, 0x41, 0x10, 3]);

const read = (way: Way): unknown =>
  way.kind === 'upcast' ? way.convert(BYTES, 0, BYTES.length) : way.kind;

t.test('an own schema gets another number: old numbers are forgotten', async (t) => {
  const { deployment, lose, ways } = await openService(t);
  const { registry, schemas } = deployment;
  const id = await idOf(order(...OLD));
  t.match(read(await ways.wayOf(readerOf('f'), TYPE, id)), { orderId: 'A', pence: 300 });

  await lose(order(...OTHER), order(...STRANGER));
  await deployment.checkSchemas();
  t.match(schemas.get(TYPE), { version: 3, lost: 1 });
  for (const name of ['f', 'g'])
    t.equal(read(await ways.wayOf(readerOf(name), TYPE, id)), 'unknown', `${name} waits`);

  t.match(await registry.register(order(...OLD), BY), { id, version: 4 });
});

t.test('another process has registered the own schema under another number', async (t) => {
  const { deployment, lose } = await openService(t);
  const { schemas } = deployment;
  const before = schemas.get(TYPE);
  await lose(order(...OTHER), order(...STRANGER), order(...OWN));
  await deployment.checkSchemas();
  t.match(schemas.get(TYPE), { id: before?.id, version: 3, lost: 1 });
  await deployment.checkSchemas();
  t.match(schemas.get(TYPE), { version: 3, lost: 1 }, 'noticed once');
});
