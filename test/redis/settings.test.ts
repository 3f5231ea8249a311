/** Redis loses the fixed settings of a deployment under living processes. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { readSettings, SettingsGuard, settleSettings } from '../../src/redis/settings.ts';
import { functionsDirOf, openService, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, is, moreThan } from '../../scripts/lab/until.ts';

const DATA = { number: 1, order: 'ok', filler: new Uint8Array(0) };
const items = (count: number): { type: string; data: object }[] =>
  Array.from({ length: count }, (_, i) => ({
    type: 'test.event',
    data: { ...DATA, key: `k${i}` },
  }));

t.test('the older of two deployments counts, whoever looks first', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.close());
  const keys = createKeys('mr');
  t.equal(await readSettings(connection, keys), null);
  const old = await settleSettings(connection, keys, 4);
  t.strictSame(await settleSettings(connection, keys, 9), old, 'settled once');
  const guard = new SettingsGuard(connection, keys, old);
  t.equal(guard.verify(), null, 'fresh: nothing to ask');
  guard.doubt();
  await guard.verify();

  await look.flushall();
  guard.doubt();
  await guard.verify();
  t.strictSame(await readSettings(connection, keys), old, 'written down again');

  await look.flushall();
  // The server's clock counts ms. A newcomer within the same ms would not be newer.
  await until('a later ms', async () =>
    moreThan(
      Number((await look.time())[0]) * 1000 + Number((await look.time())[1]) / 1000,
      Number(old.created) + 2,
    ),
  );
  const young = await settleSettings(connection, keys, 16);
  t.equal(young.partitions, 16);
  const newcomer = new SettingsGuard(connection, keys, young);
  guard.doubt();
  await guard.verify();
  t.strictSame(await readSettings(connection, keys), old, 'the older one counts');
  newcomer.doubt();
  await t.rejects(Promise.resolve(newcomer.verify()), {
    code: 'SETTINGS_CHANGED',
    partitions: 16,
    stored: 4,
  });
  await t.rejects(Promise.resolve(newcomer.verify()), { code: 'SETTINGS_CHANGED' }, 'for good');
  await look.hset('mr:registry:settings', 'partitions', '5', 'created', '1');
  guard.doubt();
  await t.rejects(Promise.resolve(guard.verify()), {
    code: 'SETTINGS_CHANGED',
    partitions: 4,
    stored: 5,
  });
});

t.test(
  'FLUSHALL, and a publisher without the setting is faster: it ends, and what it sent to partitions that nobody serves is red',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    process.env['TEST_HISTORY'] ??= `${testDir(t)}/history`;
    const service = await openService(t, redis.url, 4, { MILLRACE_UPKEEP_MS: 100, WORKERS: 1 });
    const dispatcher = service.dispatcher({ functionsDir: functionsDirOf('unordered') });
    await dispatcher.start();
    const older = service.publisher();
    await older.publishMany(items(4));
    await until('a later ms', () => delay(3).then(() => true));

    await look.flushall();
    const codeOf = (error: { code: string }): string => error.code;
    // The older settings may come back at any time: while the stranger opens, too.
    const stranger = await openService(t, redis.url, 16, { MILLRACE_PARTITIONS: undefined }).catch(
      codeOf,
    );
    const publisher = typeof stranger === 'string' ? null : stranger.publisher();
    const sent = publisher?.publishMany(items(40)).then(() => 'sent', codeOf);
    const outcome = await (sent ?? stranger);
    t.match(outcome, /^(sent|SETTINGS_CHANGED)$/);
    await untilTold(writesTo(look), 'the settings are the older ones', async () =>
      is(await look.hget('mr:registry:settings', 'partitions'), '4'),
    );
    if (publisher !== null)
      await until('it is told', async () =>
        publisher.publishMany(items(1)).then(
          () => false,
          (error: { code: string }) => error.code === 'SETTINGS_CHANGED',
        ),
      );
    if (outcome === 'sent') {
      await until('health is red', () =>
        dispatcher
          .health()
          .problems.some(({ problem }) =>
            /which nobody reads: this deployment has 4 partitions/.test(problem),
          ),
      );
      const { functions, unserved } = await readLag(service.deployment);
      t.ok((unserved ?? []).length > 0);
      t.equal(functions[0]?.conserved, false);
      t.equal(
        functions[0]?.types
          .filter(({ partition }) => partition >= 4)
          .reduce((sum, row) => sum + row.lag, 0),
        (unserved ?? []).reduce((sum, one) => sum + one.events, 0),
        'counted as behind',
      );
    }
    await until('the older publisher goes on', async () =>
      older.publishMany(items(2)).then(
        () => true,
        () => false,
      ),
    );
  },
);

t.test('a dispatcher whose deployment is another one now stops itself, and says why', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, 2, { WORKERS: 1 });
  const dispatcher = service.dispatcher({ functionsDir: functionsDirOf('unordered') });
  await dispatcher.start();
  await look.hset('mr:registry:settings', 'partitions', '5', 'created', '1');
  t.match(await dispatcher.failed, { code: 'SETTINGS_CHANGED', partitions: 2, stored: 5 });
  t.match(dispatcher.health(), { ok: false, started: false });
  t.equal(dispatcher.lanesOwned, 0);
});
