/**
 * Guarantee 3, for views: rows are written exactly once, whichever process is killed or comes back.
 */
import { join } from 'node:path';
import t from 'tap';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import type { Tally } from '../../scripts/lab/misbehaving-functions/tally/tally.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { event, listAll, TallyModel } from '../views/tally-model.ts';
import { untilTold, countersOf } from '../../scripts/lab/until.ts';

const PARTITIONS = 2;
const FN = 'tally@1';
type Assertions = Pick<typeof t, 'strictSame'>;

/** A small generator that gives the same numbers each time. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

t.test(
  'dispatchers killed again and again while they fold; a zombie that comes back',
  { timeout: 120_000 },
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const service = await openService(t, redis.url, PARTITIONS);
    const publisher = service.publisher({ flushEvents: 20 });
    const model = new TallyModel();
    const options = {
      url: redis.url,
      functions: 'tally',
      history: join(testDir(t), 'history'),
      environment: {
        MILLRACE_LEASE_MS: '500',
        WORKERS: '1',
        MILLRACE_BATCH_EVENTS: '40',
        MILLRACE_UPKEEP_MS: '3600000',
      },
    } as const;
    let published = 0;
    const publish = async (next: (below: number) => number, count: number): Promise<void> => {
      const items = Array.from({ length: count }, () => {
        const order = next(40) === 0 ? 'drop' : 'ok';
        return {
          ...event(
            next(2) === 0 ? 'test.event' : 'test.other',
            `s${next(50)}`,
            next(100) - 30,
            order,
          ),
          id: `e${published++}`,
        };
      });
      await publisher.publishMany(items);
      for (const { type, data } of items) model.fold(type, data);
    };
    const check = async (t: Assertions): Promise<void> => {
      const view = service.view<Tally>('tally');
      const all = await listAll(view, {});
      t.strictSame(
        new Map(all.map(({ id, row }) => [id, row])),
        new Map([...model.rows].sort(([a], [b]) => (a < b ? -1 : 1))),
        'each row is the fold over its events',
      );
      for (const size of ['small', 'large']) {
        t.strictSame(
          (await listAll(view, { index: 'size', equals: size })).map(({ id }) => id),
          model.sorted(
            (row) => row.size === size,
            (row) => row.sum,
            'asc',
          ),
        );
      }
    };

    for (const seed of [1, 2, 3]) {
      await t.test(`killed at random, seed ${seed}`, async (t) => {
        const next = random(seed);
        let done = (await totals(look, FN, PARTITIONS)).done;
        const publishing = (async () => {
          for (let i = 0; i < 20; i++) await publish(next, 60);
        })();
        for (let kills = 0; kills < 2; kills++) {
          const victim = await startDispatcher(t, options);
          const goal = done + 1 + next(400);
          await untilTold(
            countersOf(look),
            'some are folded',
            async () => ((done = (await totals(look, FN, PARTITIONS)).done) >= goal ? true : null),
            20_000,
          );
          await victim.kill();
        }
        const heir = await startDispatcher(t, options);
        await publishing;
        await settled(look, FN, PARTITIONS, published);
        await check(t);
        t.equal(await heir.terminate(), 0);
      });
    }

    await t.test('stopped beyond its lease, continued when its heir works', async (t) => {
      const next = random(9);
      const zombie = await startDispatcher(t, options);
      const heir = await startDispatcher(t, options);
      const publishing = (async () => {
        for (let i = 0; i < 30; i++) await publish(next, 60);
      })();
      const { done } = await totals(look, FN, PARTITIONS);
      await untilTold(
        countersOf(look),
        'it works',
        async () => ((await totals(look, FN, PARTITIONS)).done > done + 100 ? true : null),
        20_000,
      );
      zombie.freeze();
      await publishing;
      await settled(look, FN, PARTITIONS, published);
      zombie.thaw();
      await zombie.logged(/lease lost/);
      await publish(next, 200);
      await settled(look, FN, PARTITIONS, published);
      await check(t);
      t.equal(await zombie.terminate(), 0);
      t.equal(await heir.terminate(), 0);
    });
  },
);
