import { join } from 'node:path';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import t from 'tap';
import { assignLanes } from '../../src/pipeline/ownership/members.ts';
import { settled } from '../../scripts/lab/counters.ts';
import {
  openService,
  startDispatcher,
  testDir,
  type DispatcherProcess,
} from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, lost, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';

const PARTITIONS = 8;
const SUBJECTS = 40;
const PER_SUBJECT = 60;

const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 12,
});

t.test('lanes are shared out evenly, by everybody alike', async (t) => {
  fc.assert(
    fc.property(ids, fc.integer({ min: 1, max: 64 }), fc.string(), (members, partitions, fn) => {
      const owners = assignLanes(fn, partitions, members);
      t.equal(owners.length, partitions);
      const counts = members.map((member) => owners.filter((owner) => owner === member).length);
      t.ok(Math.max(...counts) - Math.min(...counts) <= 1, 'evenly');
      t.strictSame(
        assignLanes(fn, partitions, [...members].reverse()),
        owners,
        'whatever the order in which they are told',
      );
    }),
    { numRuns: 100 },
  );
  t.strictSame(assignLanes('f', 4, []), []);
});

t.test('most lanes stay where they are when one of four leaves', async (t) => {
  const members = ['a', 'b', 'c', 'd'];
  const before = assignLanes('f', 64, members);
  const after = assignLanes('f', 64, members.slice(0, 3));
  const moved = before.filter((owner, p) => owner !== 'd' && owner !== after[p]).length;
  t.ok(moved <= 12, `${moved} of the 48 lanes of those that stayed have moved`);
});

t.test('the lanes of a partition prefer one dispatcher', async (t) => {
  const functions = Array.from({ length: 10 }, (_, i) => `function-${i}`);
  for (const count of [2, 3, 4, 5]) {
    const members = Array.from({ length: count }, (_, i) => `member-${i}`);
    const owners = functions.map((fn) => assignLanes(fn, 16, members));
    let together = 0;
    let lanes = 0;
    for (let p = 0; p < 16; p++) {
      const byOwner = new Map<string, number>();
      for (const of of owners)
        byOwner.set(of[p] as string, (byOwner.get(of[p] as string) ?? 0) + 1);
      together += Math.max(...byOwner.values());
      lanes += functions.length;
    }
    t.ok(
      together >= 0.75 * lanes,
      `${together} of ${lanes} lanes are with the most frequent owner`,
    );
  }
});

/** Number of lanes per process id. A lease is `<host>-<pid>-<random>:<epoch>`. */
async function ownersOf(look: Redis): Promise<Map<number, number>> {
  const out = new Map<number, number>();
  for (let p = 0; p < PARTITIONS; p++) {
    const pid = Number(
      /-(\d+)-[0-9a-f]+:\d+$/.exec((await look.get(`mr:{${p}}:lease:ordered`)) ?? '')?.[1] ?? 0,
    );
    out.set(pid, (out.get(pid) ?? 0) + 1);
  }
  return out;
}

async function sharedBy(look: Redis, dispatchers: readonly DispatcherProcess[]): Promise<void> {
  const most = Math.ceil(PARTITIONS / dispatchers.length);
  const least = Math.floor(PARTITIONS / dispatchers.length);
  let owners = new Map<number, number>();
  await until(
    `${dispatchers.length} share the lanes`,
    async () => {
      owners = await ownersOf(look);
      return (
        owners.size === dispatchers.length &&
        dispatchers.every(({ pid }) => {
          const lanes = owners.get(pid) ?? 0;
          return lanes >= least && lanes <= most;
        })
      );
    },
    30_000,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify([...owners])}`, {
      cause: error,
    });
  });
}

t.test(
  'dispatchers join, leave and are killed under load: the lanes are shared anew, and every subject stays in order',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher({ flushEvents: 23 });
    const options = {
      url: redis.url,
      functions: 'ordered',
      history,
      environment: { MILLRACE_LEASE_MS: '1000', MILLRACE_BATCH_EVENTS: '40', WORKERS: '1' },
    } as const;
    const items = Array.from({ length: SUBJECTS * PER_SUBJECT }, (_, i) => ({
      type: i % 3 === 0 ? 'test.other' : 'test.event',
      id: `event-${i}`,
      data: {
        key: `subject-${i % SUBJECTS}`,
        number: Math.floor(i / SUBJECTS),
        order: i % 17 === 0 ? 'throw-once' : i % 4 === 0 ? 'slow:5' : 'ok',
        filler: new Uint8Array(0),
      },
    }));
    // The events are published bit by bit, so that there is load at every change.
    let fed = 0;
    const feed = async (upTo: number): Promise<void> => {
      for (; fed < upTo; fed += 60)
        await publisher.publishMany(items.slice(fed, Math.min(fed + 60, upTo)));
      fed = upTo;
    };
    const part = items.length / 6;

    const first = await startDispatcher(t, options);
    await sharedBy(look, [first]);
    await feed(part);
    const second = await startDispatcher(t, options);
    await feed(2 * part);
    await sharedBy(look, [first, second]);
    const third = await startDispatcher(t, options);
    await feed(3 * part);
    await sharedBy(look, [first, second, third]);
    await feed(4 * part);
    await first.kill();
    await feed(5 * part);
    await sharedBy(look, [second, third]);
    t.equal(await second.terminate(), 0, 'one leaves in order');
    await feed(items.length);
    await sharedBy(look, [third]);

    t.match(await settled(look, 'ordered', PARTITIONS, items.length), {
      appended: items.length,
      done: items.length,
      dead: 0,
    });
    t.equal(await third.terminate(), 0);
    t.strictSame(
      await look.zrange('mr:members:ordered', '0', '-1'),
      [],
      'nobody is left among the members',
    );
    const runs = runsOf(readHistory(history));
    t.strictSame(disorder(runs), []);
    t.strictSame(
      lost(
        runs,
        items.map((item) => item.id),
      ),
      [],
    );
    const ranBy = new Set(runs.map((run) => run.pid));
    t.equal(ranBy.size, 3, 'all three have worked');
    const killed = runs.filter((run) => run.pid === first.pid).map((run) => run.id);
    const again = [...completions(runs)].filter(([id, times]) => times > 1 && !killed.includes(id));
    t.strictSame(again, [], 'only what the killed one had begun ran twice');
  },
);
