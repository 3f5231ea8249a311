/** A process that opens and closes parts for years keeps nothing of them but their counts. */
import t from 'tap';
import { ANSWER_SECONDS, Distribution } from '../../src/core/distribution.ts';
import { EndedDispatchers } from '../../src/metrics/ended-dispatchers.ts';
import type { HealthReport } from '../../src/dispatcher/health.ts';
import { connect } from '../../src/millrace.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { is, until } from '../../scripts/lab/until.ts';

t.test('closed parts are forgotten, and their connections closed', async (t) => {
  const redis = await startRedis(t);
  const millrace = await connect({
    environment: {
      REDIS_URL: redis.url,
      MILLRACE_PARTITIONS: 2,
      WORKERS: 1,
      LOG_LEVEL: 'silent',
    },
    protoDir: PROTO_DIR,
    name: 'test',
  });
  t.teardown(() => millrace.close());
  const look = redis.client();
  const names = async (): Promise<string[]> =>
    [...String(await look.client('LIST')).matchAll(/ name=(millrace-\S+)/g)]
      .map(([, name = '']) => name)
      .sort();
  await until('only the first is open', async () => is((await names()).length, 1));
  const before = await names();
  for (let round = 0; round < 3; round++) {
    const dispatcher = millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
    t.equal(millrace.meters.dispatchers().at(-1), dispatcher);
    await dispatcher.start();
    const [publisher, store] = [millrace.publisher(), millrace.store()];
    await publisher.publish('test.event', { key: 'k', order: 'ok' });
    await Promise.all([dispatcher.stop(), publisher.close(), store.close(), publisher.close()]);
    await dispatcher.ended;
    t.match(dispatcher.health(), { started: false, lanes: 0, connection: 'up' });
    await until('their connections are closed', async () => is((await names()).length, 1));
    t.strictSame(await names(), before);
    t.notOk(millrace.meters.dispatchers().includes(dispatcher));
    t.equal(millrace.meters.dispatchers().length, 1, 'one stands for all that have ended');
  }
  const never = millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
  await never.stop();
  await never.ended;
  t.equal(millrace.meters.dispatchers().length, 1);
  t.match(await millrace.metrics(), /millrace_health\{reason="stopping"\} 0/);
  const last = millrace.dispatcher({ functionsDir: functionsDirOf('handle') });
  await last.start();
  await millrace.close();
  await last.ended;
});

t.test('the counts of the ended go on, and a failure stays red', async (t) => {
  const ended = new EndedDispatchers();
  t.strictSame(ended.all, []);
  const one = (count: number, isFailed: boolean) => {
    const schemaWaits = new Distribution(ANSWER_SECONDS);
    schemaWaits.observe(count);
    return {
      functions: [],
      lanesOwned: 7,
      threads: 7,
      busyThreads: 7,
      queuedBatches: 7,
      threadDeaths: count,
      uncaughtErrors: count,
      leaseLosses: count,
      repeats: count,
      schemaWaits,
      isFailed,
      health: () => ({ problems: [`problem ${count}`] }) as unknown as HealthReport,
    };
  };
  const counts = (count: number) => ({
    lanesOwned: 0,
    threads: 0,
    busyThreads: 0,
    queuedBatches: 0,
    threadDeaths: count,
    uncaughtErrors: count,
    leaseLosses: count,
    repeats: count,
    schemaWaits: { sum: count },
  });
  ended.add(one(1, false));
  t.match(ended.all, [counts(1)]);
  t.match(ended.all[0]?.health(), { ok: true, problems: [], reasons: [] });
  ended.add(one(2, true));
  ended.add(one(4, false));
  t.match(ended.all, [counts(7)]);
  t.match(ended.all[0]?.health(), { problems: ['problem 2'] });
});
