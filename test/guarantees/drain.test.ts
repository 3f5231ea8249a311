import { join } from 'node:path';
import t from 'tap';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { untilTold, writesToFile, atLeast } from '../../scripts/lab/until.ts';

const PARTITIONS = 2;

t.test(
  'SIGTERM: what runs is finished and committed, the rest stays and the next start finishes it',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher({ flushEvents: 10 });
    const count = 600;
    for (let i = 0; i < count; i += 20) {
      await publisher.publishMany(
        Array.from({ length: 20 }, (_, j) => ({
          type: 'test.event',
          id: `event-${i + j}`,
          data: {
            key: `subject-${(i + j) % 30}`,
            number: Math.floor((i + j) / 30),
            order: 'slow:20',
            filler: new Uint8Array(0),
          },
        })),
      );
    }
    const options = {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_BATCH_EVENTS: '20' },
    } as const;
    const first = await startDispatcher(t, options);
    await untilTold(
      writesToFile(history),
      'some have run',
      () => atLeast(completions(runsOf(readHistory(history))).size, 30),
      30_000,
    );
    t.equal(await first.terminate(), 0);

    const runs = runsOf(readHistory(history));
    const sums = await totals(look, 'handle', PARTITIONS);
    t.strictSame(
      runs.filter((run) => run.outcome !== 'end'),
      [],
      'every handler that had begun has ended',
    );
    t.equal(sums.done, runs.length, 'and all of them are committed');
    t.ok(sums.done < count, `${count - sums.done} were left`);
    for (let p = 0; p < PARTITIONS; p++)
      t.equal(await look.exists(`mr:{${p}}:lease:handle`), 0, 'the leases are given back');

    const second = await startDispatcher(t, options);
    t.match(await settled(look, 'handle', PARTITIONS, count), {
      appended: count,
      done: count,
      dead: 0,
    });
    t.equal(await second.terminate(), 0);
    const all = runsOf(readHistory(history));
    t.equal(all.length, count, 'nothing ran twice');
    t.strictSame(disorder(all), []);
  },
);

t.test(
  'a drain that is over its deadline: what runs is thrown away, stays pending, and runs again',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    await publisher.publishMany(
      Array.from({ length: 10 }, (_, i) => ({
        type: 'test.event',
        id: `event-${i}`,
        data: {
          key: `subject-${i}`,
          number: 0,
          order: i < 5 ? 'slow:1200' : 'ok',
          filler: new Uint8Array(0),
        },
      })),
    );
    const hasty = await startDispatcher(t, {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_DRAIN_MS: '0' },
    });
    await untilTold(
      writesToFile(history),
      'slow handlers run',
      () =>
        runsOf(readHistory(history)).some(
          (run) => run.outcome === 'died' && run.order.startsWith('slow'),
        ),
      20_000,
    );
    await hasty.terminate();
    const between = await totals(look, 'handle', PARTITIONS);
    t.ok(between.done < 10, `${between.done} of 10 were committed`);
    t.equal(between.retried, 0, 'nobody is charged');
    const next = await startDispatcher(t, { url: redis.url, functions: 'handle', history });
    t.match(await settled(look, 'handle', PARTITIONS, 10), { done: 10, dead: 0, retried: 0 });
    t.equal(await next.terminate(), 0);
    t.equal(completions(runsOf(readHistory(history))).size, 10);
    t.ok(readHistory(history).every((line) => line.attempt === 1));
  },
);
