import { join } from 'node:path';
import t from 'tap';
import { partitionOf } from '../../src/core/partition.ts';
import { countEvents } from '../../src/wire/batch-reader.ts';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { disorder, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { startProxy } from '../../scripts/lab/tcp-proxy.ts';
import { until, atLeast } from '../../scripts/lab/until.ts';

const PARTITIONS = 4;

/** Event `i` of a flow over `subjects` subjects, with a number per subject. */
function eventAt(i: number, subjects: number, order: string) {
  const key = `subject-${i % subjects}`;
  return {
    type: 'test.event',
    id: `event-${i}`,
    data: { key, number: Math.floor(i / subjects), order, filler: new Uint8Array(0) },
  };
}

t.test(
  'the reply to an append is lost: nothing is doubled, and the position is the right one',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const proxy = await startProxy(t, { socket: redis.socket });
    const publisher = (await openService(t, proxy.url, PARTITIONS)).publisher();
    await publisher.publishMany([eventAt(0, 5, 'ok')]);
    let sent = 1;
    for (let round = 0; round < 12; round++) {
      const cut = proxy.dropRepliesThenCut();
      const items = Array.from({ length: 1 + (round % 5) * 10 }, () => eventAt(sent++, 5, 'ok'));
      const published = await publisher.publishMany(items);
      await cut;
      for (const [i, { id, position }] of published.entries()) {
        const [partition, entry = '', place] = position.split('/');
        const [found] = await look.xrangeBuffer(
          `mr:{${partition}}:events:test.event`,
          entry,
          entry,
        );
        if (!found) t.fail(`${id} is not at ${position}`);
        else if (countEvents(found[1][1] as Buffer) <= Number(place))
          t.fail(`${id}: ${position} is beyond its entry`);
        if (Number(partition) !== partitionOf(items[i]?.data.key ?? '', PARTITIONS))
          t.fail(`${id} is in the wrong partition`);
      }
    }
    let events = 0;
    for (let p = 0; p < PARTITIONS; p++) {
      for (const [, fields] of await look.xrangeBuffer(`mr:{${p}}:events:test.event`, '-', '+'))
        events += countEvents(fields[1] as Buffer);
    }
    t.equal(events, sent, 'each event is in a stream once');
    t.equal((await totals(look, 'handle', PARTITIONS)).appended, sent);
  },
);

t.test(
  'replies to takes and commits are lost: each event runs once and is settled once',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const proxy = await startProxy(t, { socket: redis.socket });
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const dispatcher = await startDispatcher(t, {
      url: proxy.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_LEASE_MS: '20000' },
    });
    const count = 1500;
    const done = async (): Promise<number> => (await totals(look, 'handle', PARTITIONS)).done;
    const publishing = (async () => {
      for (let i = 0; i < count; i += 50) {
        await publisher.publishMany(
          Array.from({ length: 50 }, (_, j) =>
            eventAt(i + j, 25, (i + j) % 11 === 0 ? 'throw-once' : 'ok:2'),
          ),
        );
        await until('the dispatcher keeps up', async () => atLeast(await done(), i - 200), 60_000);
      }
    })();
    let cuts = 0;
    for (let now = await done(); now < count - 100; now = await done()) {
      // 1 to 4 pieces of replies are swallowed before the cut. They may be of takes, commits or
      // renewals.
      await proxy.dropRepliesThenCut(1 + (cuts++ % 4));
      await until(
        'it goes on',
        async () => atLeast(await done(), Math.min(now + 100, count)),
        30_000,
      );
    }
    await publishing;
    const sums = await settled(look, 'handle', PARTITIONS, count);
    t.match(sums, { appended: count, done: count, dead: 0, parked: 0 });
    t.ok(cuts >= 5, `${cuts} cuts`);
    t.equal(await dispatcher.terminate(), 0);
    const runs = runsOf(readHistory(history));
    t.equal(
      runs.filter((r) => r.outcome === 'end').length,
      count,
      'each handler succeeded exactly once',
    );
    t.equal(
      sums.retried,
      runs.filter((r) => r.outcome === 'fail').length,
      'each failure is counted once',
    );
    t.strictSame(disorder(runs), []);
  },
);
