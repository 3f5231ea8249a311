import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { deadLetters, dump, settled } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, lost, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesToFile, moreThan } from '../../scripts/lab/until.ts';

const PARTITIONS = 2;

/**
 * Dumps everything but the owners of lanes and the times of reads: after it continues, the zombie
 * gets its share of the lanes again.
 */
async function dumpOutcomes(look: Redis): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = await dump(look);
  for (const key of Object.keys(all)) {
    if (key.includes(':events:')) {
      const groups = (await look.xinfo('GROUPS', key)) as (string | number)[][];
      all[key] = {
        entries: await look.xrangeBuffer(key, '-', '+'),
        groups: groups.map((flat) =>
          ['name', 'pending', 'last-delivered-id'].map((field) => flat[flat.indexOf(field) + 1]),
        ),
      };
    }
    if (!key.endsWith(':counters')) continue;
    all[key] = Object.fromEntries(
      Object.entries(await look.hgetall(key)).filter(
        ([field]) => !/^(epoch|open|opener|presumed|crash|suspect|lives):/.test(field),
      ),
    );
  }
  return all;
}

for (const thawWhen of ['its heir has begun', 'its heir has finished'] as const) {
  t.test(
    `a dispatcher stopped beyond its lease, and continued when ${thawWhen}: its commits change nothing`,
    async (t) => {
      const redis = await startRedis(t);
      const look = redis.client();
      const history = join(testDir(t), 'history');
      const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
      const options = {
        url: redis.url,
        functions: 'handle',
        history,
        environment: { MILLRACE_LEASE_MS: '500', MILLRACE_UPKEEP_MS: '3600000' },
      } as const;
      const zombie = await startDispatcher(t, options);
      const heir = await startDispatcher(t, options);
      // Every kind of outcome: done, dead at once, retried. All handlers still run when the process
      // is stopped.
      const orders = ['slow:600', 'non-retryable:600', 'throw-once:600', 'throw:600', 'slow:600'];
      const items = Array.from({ length: 40 }, (_, i) => ({
        type: 'test.event',
        id: `event-${i}`,
        data: {
          key: `subject-${i % 20}`,
          number: Math.floor(i / 20),
          order: orders[i % orders.length] as string,
          filler: new Uint8Array(0),
        },
      }));
      const dead = items
        .filter((item) => /^(non-retryable|throw):/.test(item.data.order))
        .map((item) => item.id);
      await publisher.publishMany(items);
      const openRuns = (): ReturnType<typeof runsOf> =>
        runsOf(readHistory(history)).filter(
          (run) => run.outcome === 'died' && run.pid === zombie.pid,
        );
      await until("the zombie's handlers run", () => moreThan(openRuns().length, 0), 20_000);
      zombie.freeze();
      const open = openRuns();
      t.ok(open.length > 0, `${open.length} handlers were running`);

      if (thawWhen === 'its heir has begun') {
        await untilTold(
          writesToFile(history),
          'the heir runs what the zombie had begun',
          () => {
            const heirs = new Set(
              readHistory(history)
                .filter((line) => line.pid === heir.pid)
                .map((line) => line.id),
            );
            return open.every((run) => heirs.has(run.id));
          },
          30_000,
        );
        zombie.thaw();
        await settled(look, 'handle', PARTITIONS, items.length);
      } else {
        await settled(look, 'handle', PARTITIONS, items.length);
        const before = await dumpOutcomes(look);
        zombie.thaw();
        await zombie.logged(/lease lost/);
        t.equal(await zombie.terminate(), 0, 'it ends in order');
        t.strictSame(
          await dumpOutcomes(look),
          before,
          'no key has changed but who owns which lane',
        );
      }

      const again = items.slice(0, 20).map((item, i) => ({
        ...item,
        id: `later-${i}`,
        data: { ...item.data, number: 3, order: 'ok' },
      }));
      await publisher.publishMany(again);
      const sums = await settled(look, 'handle', PARTITIONS, items.length + again.length);
      await zombie.terminate();
      t.equal(await heir.terminate(), 0);
      t.match(sums, { appended: 60, done: 60 - dead.length, dead: dead.length, parked: 0 });
      t.match(await settled(look, 'handle', PARTITIONS, 60), sums, 'and nothing came after that');
      t.strictSame(
        (await deadLetters(look, 'handle', PARTITIONS)).map((letter) => letter.fields['id']).sort(),
        [...dead].sort(),
        'one letter each',
      );
      const runs = runsOf(readHistory(history));
      t.strictSame(
        lost(
          runs,
          [...items, ...again].map((i) => i.id),
          dead,
        ),
        [],
      );
      const times = completions(runs);
      for (const { id } of again)
        if (times.get(id) !== 1) t.fail(`${id} ran ${times.get(id)} times`);
    },
  );
}
