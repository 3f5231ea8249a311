/** A lease that was taken or given back on purpose is no loss. */
import { join } from 'node:path';
import t from 'tap';
import { rewindFunction } from '../../../src/rewind/rewind.ts';
import { totals } from '../../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../../scripts/lab/dispatcher-process.ts';
import { readHistory } from '../../../scripts/lab/history.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';
import { untilTold, countersOf, writesToFile, is } from '../../../scripts/lab/until.ts';

const PARTITIONS = 4;
const WARNING = /lease lost: the running turn/;
const event = (id: string, order: string) => ({
  type: 'test.event',
  id,
  data: { key: id, number: 0, order, filler: new Uint8Array(0) },
});

t.test(
  'no warning of a lost lease after a rewind, nor while a drain waits for one lane',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const service = await openService(t, redis.url, PARTITIONS);
    const publisher = service.publisher();
    const dispatcher = await startDispatcher(t, {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_LEASE_MS: '500' },
    });
    await publisher.publishMany(Array.from({ length: 40 }, (_, i) => event(`e${i}`, 'ok')));
    await untilTold(countersOf(look), 'all are done', async () =>
      is((await totals(look, 'handle', PARTITIONS)).done, 40),
    );

    await rewindFunction(service.deployment, 'handle', { kind: 'start' });
    await untilTold(writesToFile(history), 'all have come again', () =>
      is(readHistory(history).filter(({ what }) => what === 'end').length, 80),
    );
    await dispatcher.logged(/lease lost to a rewind/);
    t.notMatch(dispatcher.stderr, WARNING);

    // The other lanes are given back long before. Renewals go on, so that the slow lane keeps its
    // lease.
    await publisher.publishMany([event('slow', 'slow:1500')]);
    await untilTold(writesToFile(history), 'it runs', () =>
      readHistory(history).some(({ id }) => id === 'slow'),
    );
    t.equal(await dispatcher.terminate(), 0);
    t.notMatch(dispatcher.stderr, WARNING);
    t.equal((await totals(look, 'handle', PARTITIONS)).done, 41, 'its commit was not refused');
  },
);

t.test('a lease that somebody took is a loss', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const dispatcher = await startDispatcher(t, {
    url: redis.url,
    functions: 'handle',
    history: join(testDir(t), 'history'),
    environment: { MILLRACE_LEASE_MS: '500' },
  });
  await look.set('mr:{0}:lease:handle', 'somebody:99', 'PX', 2000);
  await dispatcher.logged(WARNING);
  t.equal(await dispatcher.terminate(), 0);
});
