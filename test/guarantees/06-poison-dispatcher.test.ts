import { join } from 'node:path';
import t from 'tap';
import { deadLetters, settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import {
  attemptsOf,
  completions,
  disorder,
  lost,
  readHistory,
  runsOf,
} from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const PARTITIONS = 1;
const EVENTS = 60;

for (const [where, attempts] of [
  ['in the stream', 3],
  ['parked behind a failure', 3],
] as const) {
  t.test(
    `an event that kills the whole dispatcher, ${where}: it is found and dead-lettered, all others are done`,
    async (t) => {
      const redis = await startRedis(t);
      const look = redis.client();
      const history = join(testDir(t), 'history');
      const publisher = (await openService(t, redis.url, PARTITIONS)).publisher({ flushEvents: 7 });
      const options = {
        url: redis.url,
        functions: 'handle',
        history,
        environment: { MILLRACE_LEASE_MS: '500', WORKERS: '1' },
      } as const;
      const parked = where !== 'in the stream';
      const items = Array.from({ length: EVENTS }, (_, i) => ({
        type: 'test.event',
        id: i === 33 ? 'poison' : `event-${i}`,
        data: {
          key: `subject-${i % 10}`,
          number: Math.floor(i / 10),
          order: i === 33 ? 'kill-dispatcher' : parked && i === 23 ? 'throw-once' : 'ok',
          filler: new Uint8Array(0),
        },
      }));
      await publisher.publishMany(items);

      let deaths = 0;
      for (;;) {
        const dispatcher = await startDispatcher(t, options).catch((error: unknown) => {
          if (/ended while it started/.test(String(error))) return null;
          throw error;
        });
        const ended =
          dispatcher === null ||
          (await until(
            'it dies, or all is settled',
            async () => {
              if (dispatcher.dead) return true;
              const sums = await totals(look, 'handle', PARTITIONS);
              return sums.done + sums.dead >= EVENTS && sums.parked === 0 ? 'settled' : null;
            },
            30_000,
          ));
        if (ended === 'settled') {
          t.equal(await dispatcher?.terminate(), 0);
          break;
        }
        if (++deaths > 12) throw new Error('still dying');
      }
      // Three deaths are charged to no event. Then come as many as the function's attempts.
      t.ok(deaths >= 3 && deaths <= 3 + attempts, `${deaths} dispatchers died`);
      t.match(await settled(look, 'handle', PARTITIONS, EVENTS), {
        appended: EVENTS,
        done: EVENTS - 1,
        dead: 1,
        parked: 0,
      });
      const [letter, ...others] = await deadLetters(look, 'handle', PARTITIONS);
      t.strictSame(others, []);
      t.match(letter?.fields, {
        id: 'poison',
        reason: 'dispatcher-death',
        name: 'DispatcherDeathError',
      });
      const runs = runsOf(readHistory(history));
      t.strictSame(
        lost(
          runs,
          items.map((item) => item.id),
          ['poison'],
        ),
        [],
      );
      t.strictSame(disorder(runs, { dead: ['poison'] }), []);
      const charged = items.filter(
        (item) =>
          item.data.order === 'ok' && attemptsOf(runs, item.id).some((attempt) => attempt !== 1),
      );
      t.strictSame(
        charged.map((item) => item.id),
        [],
        'no innocent is charged an attempt',
      );
      t.ok(completions(runs).size === EVENTS - 1);
      const counters = await look.hgetall('mr:{0}:counters');
      t.notOk('crash:handle' in counters || 'suspect:handle' in counters, 'the search is over');
    },
  );
}
