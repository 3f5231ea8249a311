/**
 * A Redis that hangs, and one that is busy with another script. Calls end with their deadline, or
 * succeed within it.
 */
import t from 'tap';
import { sleep } from '../../src/core/clock.ts';
import { UnknownOutcomeError } from '../../src/core/errors/server-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { Snapshots } from '../../src/store/snapshots.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, numberOf, openShop, reserved } from './open-store.ts';
import { defineAggregate, type Aggregate } from '../../src/define/define-aggregate.ts';
import { until, untilTold, writesTo, is } from '../../scripts/lab/until.ts';

const sum = defineAggregate({
  category: 'sum',
  events: ['stock.reserved'],
  initialState: () => ({ sum: 0 }),
  evolve: (state, event) => ({ sum: state.sum + numberOf(event) }),
  snapshot: { version: 1, every: 1 },
});

t.test(
  'a hung Redis: every call ends with its deadline, and says that its outcome is unknown',
  async (t) => {
    const redis = await startRedis(t);
    const deadlineMs = 1000;
    /** Three times the longest time expected, for a busy machine. */
    const mostMs = 3 * (deadlineMs + 1000);
    const millrace = await openShop(t, redis.url, 4);
    const store = millrace.store({ deadlineMs });
    const publisher = millrace.publisher({ deadlineMs });
    const { type, data } = reserved('A', 1);
    await store.append('sum', 'A', [reserved('A', 1)], { expectedRevision: 0 });
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      publish: () => publisher.publish(type, data),
      'publish later': () => publisher.publish(type, data, { delayMs: 60_000 }),
      append: () => store.append('sum', 'A', [reserved('A', 2)], { expectedRevision: 1 }),
      load: () => store.load(sum, 'A'),
      read: () => collect(store.read('sum', 'A')),
      revision: () => store.revision('sum', 'A'),
    };
    for (const doubts of [false, true]) {
      // If the settings of the deployment are in doubt, calls ask for them first.
      if (doubts) millrace.deployment.settings.doubt();
      redis.pause();
      const sentMs = performance.now();
      const ends = await Promise.all(
        Object.entries(calls).map(async ([name, call]) => {
          const error = await call().then(
            () => null,
            (reason: unknown) => reason,
          );
          return [name, error, performance.now() - sentMs] as const;
        }),
      );
      redis.resume();
      for (const [name, error, tookMs] of ends) {
        t.type(error, UnknownOutcomeError, `${name}: ${String(error)}`);
        t.ok(tookMs < mostMs, `${name}: ${Math.round(tookMs)} ms`);
      }
      await until('it answers again', () =>
        store.revision('sum', 'A').then(
          (revision) => revision > 0,
          () => false,
        ),
      );
    }
  },
);

t.test(
  'a busy Redis: publishers and the store try again, and succeed when the script is over',
  async (t) => {
    const redis = await startRedis(t, { args: ['--busy-reply-threshold', '100'] });
    const look = redis.client();
    const millrace = await openShop(t, redis.url, 4);
    const store = millrace.store({ deadlineMs: 60_000 });
    const publisher = millrace.publisher({ deadlineMs: 60_000 });
    await store.append('sum', 'A', [reserved('A', 1)], { expectedRevision: 0 });
    const { type, data } = reserved('A', 1);
    const said: unknown[] = [];
    const { connection, keys } = millrace.deployment;
    const snapshots = new Snapshots(
      { connection, keys, deadlineMs: 60_000 },
      (...line) => void said.push(line),
    );
    millrace.deployment.settings.doubt();

    const running = redis
      .client()
      .eval('while true do end', 0)
      .catch((error: unknown) => String(error));
    await until('Redis is busy', () =>
      look.ping().then(
        () => false,
        (error: unknown) => /^ReplyError: BUSY/.test(String(error)),
      ),
    );
    const at = { partition: partitionOf('A', 4), category: 'sum', id: 'A' };
    t.ok(
      snapshots.offer(sum as unknown as Aggregate<{ sum: number }, never>, at, {
        state: { sum: 1 },
        revision: 1,
        snapshotRevision: 0,
      }),
    );
    const calls = Promise.all([
      publisher.publish(type, data, { id: 'p' }),
      publisher.publish(type, data, { id: 'later', delayMs: 3_600_000 }),
      store.append('sum', 'B', [reserved('B', 7)], { expectedRevision: 'no-stream' }),
      store.load(sum, 'A'),
      store.revision('sum', 'A'),
      collect(store.read('sum', 'A')),
    ]);
    // The refusal is looked up afterwards, because Redis can answer nothing now.
    await sleep(300);
    await look.call('SCRIPT', 'KILL');
    t.match(await running, /killed by user/i);
    const [published, scheduled, appended, loaded, revision, read] = await calls;
    t.not(published.position, '');
    t.ok((scheduled.scheduledMs ?? 0) > 0);
    t.match(appended, { revision: 1 });
    t.match(loaded, { revision: 1, state: { sum: 1 } });
    t.strictSame([revision, read.length], [1, 1]);
    await untilTold(writesTo(look), 'the snapshot is there', async () =>
      is(await look.hget(keys.snapshot(at.partition, 'sum', 'A'), 'revision'), '1'),
    );
    t.strictSame(said, []);
    const refused = Number(/errorstat_BUSY:count=(\d+)/.exec(await look.info('errorstats'))?.[1]);
    t.ok(refused > 7, `all of them were refused meanwhile: ${refused}`);
  },
);
