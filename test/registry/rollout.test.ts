/**
 * A second version of a shop event is rolled out under load. Old and new publishers and consumers
 * run side by side, and lanes move from the old dispatcher to the new one. Nothing is
 * dead-lettered, retried, lost or out of order. Each consumer sees the data of its own schema.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import type { Millrace } from '../../src/millrace.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { orderVersions } from '../../scripts/demo/versions.ts';
import { projectDir, startRedis, type TestRedis } from '../../scripts/lab/redis-server.ts';
import { HANDLE, HANDLE_BATCH, Shop, type Seen } from './shop.ts';
import { until, untilTold, writesToFile, moreThan } from '../../scripts/lab/until.ts';

const { first: V1, second: V2 } = orderVersions(join(projectDir, 'proto/shop/v1/orders.proto'));

const SUBJECTS = 40;

interface Load {
  readonly published: number;
  stop(): Promise<void>;
}

/** Publishes until it is stopped. Each subject's events are numbered in the order of publishing. */
function load(millrace: Millrace, tag: string, data: (n: number) => object): Load {
  const publisher = millrace.publisher();
  let going = true;
  let published = 0;
  const run = (async () => {
    for (let n = 0; going; n += SUBJECTS) {
      await publisher.publishMany(
        Array.from({ length: SUBJECTS }, (_, i) => ({
          type: 'order.created',
          id: `${tag}-${n + i}`,
          data: {
            orderId: `${tag}${i}`,
            userId: String(n),
            country: 'GB',
            total: { amount: n, currency: 'GBP' },
            ...data(n),
          },
        })),
      );
      published += SUBJECTS;
    }
  })();
  return {
    get published() {
      return published;
    },
    async stop() {
      going = false;
      await run;
    },
  };
}

/** Nothing is parked, dead or retried, and the counters add up. */
async function nothingFailed(t: Test, fresh: Millrace, redis: TestRedis): Promise<void> {
  const { functions } = await readLag(fresh.deployment);
  t.match(
    functions.map(({ name, parked, dead, conserved }) => ({ name, parked, dead, conserved })),
    ['new-audit', 'old-audit', 'shipping'].map((name) => ({
      name,
      parked: 0,
      dead: 0,
      conserved: true,
    })),
  );
  const letters: unknown[] = [];
  for await (const letter of listDeadLetters(fresh.deployment)) letters.push(letter);
  t.same(letters, [], 'nothing is dead');
  let retried = 0;
  for (let p = 0; p < 4; p++)
    for (const fn of ['shipping', 'old-audit', 'new-audit'])
      retried += Number((await redis.client().hget(`mr:{${p}}:counters`, `retried:${fn}`)) ?? 0);
  t.equal(retried, 0, 'nothing was retried');
}

/** Each consumer sees the data of its own schema. `first`: id of version 1's schema. */
function eachSeesItsSchema(t: Test, all: readonly Seen[], first: number | undefined): void {
  const wrong = (fn: string, test: (one: Seen) => boolean): number =>
    all.filter((one) => one.fn === fn && !test(one)).length;
  t.equal(
    wrong('old-audit', ({ data }) => !('channel' in data) && !('voucher' in data)),
    0,
    'the old consumer sees the old fields of every event',
  );
  t.equal(
    wrong('new-audit', ({ schema, data }) =>
      schema === first
        ? data['channel'] === 0 && data['voucher'] === null
        : data['channel'] === 2 && data['voucher'] === '',
    ),
    0,
    'the new one the new fields: as written, else unset',
  );
  t.equal(
    wrong(
      'new-audit',
      ({ data }) => !('description' in ((data['items'] as object[])[0] as object)),
    ),
    0,
    'and none that is gone',
  );
  t.equal(
    wrong(
      'old-audit',
      ({ schema, data }) =>
        ((data['items'] as { description: string }[])[0]?.description !== '') ===
        (schema === first),
    ),
    0,
    'unset where nobody wrote it',
  );
}

/**
 * Returns how many events of a subject ran after a later one. An event may run again if a lane
 * moved between its run and its commit. Then its first run counts.
 */
function disorderOf(all: readonly Seen[]): number {
  let disorder = 0;
  for (const fn of ['shipping', 'new-audit', 'old-audit']) {
    const last = new Map<string, number>();
    const met = new Set<string>();
    for (const one of all) {
      if (one.fn !== fn || met.has(one.id)) continue;
      met.add(one.id);
      const n = Number(one.data['userId']);
      if (n <= (last.get(one.subject) ?? -1)) disorder++;
      last.set(one.subject, n);
    }
  }
  return disorder;
}

t.test('a second version rolls out under load', async (t) => {
  const redis = await startRedis(t);
  const shop = new Shop(t, redis.url, { MILLRACE_PARTITIONS: 4 });
  const item = { sku: 'x', quantity: 1, unitPrice: 5 };

  const old = await shop.connect(V1);
  // `shipping` runs in both versions of the service. The other two run in one version each.
  const oldDispatcher = await shop.dispatch(old, { shipping: HANDLE, 'old-audit': HANDLE_BATCH });
  const oldLoad = load(old, 'old', () => ({ items: [{ ...item, description: 'a thing' }] }));
  await untilTold(writesToFile(shop.history), 'there is load', () =>
    moreThan(shop.seen('shipping').length, 500),
  );

  const fresh = await shop.connect(V2);
  const [first, second] = [old, fresh].map(
    ({ deployment }) => deployment.schemas.get('order.created')?.id,
  );
  t.equal(
    fresh.deployment.schemas.get('order.created')?.version,
    2,
    'the start of the new service has registered it',
  );
  const freshDispatcher = await shop.dispatch(fresh, { shipping: HANDLE, 'new-audit': HANDLE });
  const freshLoad = load(fresh, 'new', () => ({ items: [item], channel: 2, voucher: '' }));
  const before = shop.seen().length;
  await untilTold(
    writesToFile(shop.history),
    'both audits see events of both versions',
    () =>
      ['old-audit', 'new-audit'].every((fn) => {
        const seen = shop.seen(fn);
        return [first, second].every((schema) => seen.some((one) => one.schema === schema));
      }),
    30_000,
  );
  await untilTold(
    writesToFile(shop.history),
    'it goes on under load',
    () => moreThan(shop.seen().length, before + 2000),
    30_000,
  );

  // The old service stops: its lanes of `shipping` move in the middle of the load.
  await oldLoad.stop();
  await oldDispatcher.stop();
  const alone = freshLoad.published;
  await until(
    'the new one goes on alone',
    () => moreThan(freshLoad.published, alone + 1000),
    30_000,
  );
  await freshLoad.stop();
  const total = oldLoad.published + freshLoad.published;
  await until(
    'everything is done',
    async () => {
      const { functions } = await readLag(fresh.deployment);
      return functions.filter((fn) => fn.name !== 'old-audit').every((fn) => fn.done === total);
    },
    30_000,
  );

  await nothingFailed(t, fresh, redis);
  t.ok(freshDispatcher.lanesOwned === 8, 'all lanes moved');
  const all = shop.seen();
  t.equal(new Set(all.filter((one) => one.fn === 'shipping').map((one) => one.id)).size, total);
  eachSeesItsSchema(t, all, first);
  t.equal(disorderOf(all), 0, 'each subject in order');
  t.comment(
    `${total} events, ${oldLoad.published} of version 1 and ${freshLoad.published} of version 2`,
  );
});
