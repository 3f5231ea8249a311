import { join } from 'node:path';
import t from 'tap';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, lost, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesToFile, atLeast } from '../../scripts/lab/until.ts';

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
  'kill -9 of the dispatcher in mid batch: nothing is lost, the next one finishes, in order',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const count = 1200;
    const ids = Array.from({ length: count }, (_, i) => `event-${i}`);
    for (let i = 0; i < count; i += 100) {
      await publisher.publishMany(
        Array.from({ length: 100 }, (_, j) =>
          eventAt(i + j, 40, (i + j) % 7 === 0 ? 'throw-once:1' : 'ok:1'),
        ),
      );
    }
    const options = {
      url: redis.url,
      functions: 'handle',
      history,
      environment: { MILLRACE_LEASE_MS: '500', MILLRACE_BATCH_EVENTS: '64' },
    } as const;
    for (const crashAt of [100, 400, 600]) {
      const dispatcher = await startDispatcher(t, options);
      await untilTold(
        writesToFile(history),
        `${crashAt} events have run`,
        () => atLeast(completions(runsOf(readHistory(history))).size, crashAt),
        30_000,
      );
      await dispatcher.kill();
      const now = await totals(look, 'handle', PARTITIONS);
      t.ok(now.done + now.dead + now.parked < count, `killed with ${count - now.done} unfinished`);
    }
    const killed = new Set(readHistory(history).map((line) => line.pid));
    t.equal(killed.size, 3, 'three were killed');
    const last = await startDispatcher(t, options);
    const sums = await settled(look, 'handle', PARTITIONS, count);
    t.match(sums, { appended: count, done: count, dead: 0, parked: 0 });
    t.equal(await last.terminate(), 0);
    const runs = runsOf(readHistory(history));
    t.strictSame(lost(runs, ids), []);
    t.strictSame(disorder(runs), []);
    for (let p = 0; p < PARTITIONS; p++) {
      const [pending] = (await look.xpending(`mr:{${p}}:events:test.event`, 'handle')) as [number];
      t.equal(pending, 0, 'nothing is left pending');
    }
  },
);

t.test(
  'Redis kill -9 and restart with its append-only file, twice, in mid flow: nothing acknowledged is lost',
  async (t) => {
    const redis = await startRedis(t, { appendfsync: 'always' });
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'handle', history });

    const acknowledged: string[] = [];
    const refused: string[] = [];
    let stop = false;
    let sent = 0;
    const flow = (async () => {
      while (!stop) {
        const items = Array.from({ length: 20 }, () => eventAt(sent++, 30, 'ok'));
        await publisher.publishMany(items).then(
          (published) => acknowledged.push(...published.map((p) => p.id)),
          (error: unknown) => {
            refused.push(...items.map((item) => item.id));
            t.comment(String(error));
          },
        );
      }
    })();
    for (const at of [400, 1000]) {
      await until(`${at} events are acknowledged`, () => atLeast(acknowledged.length, at), 30_000);
      await redis.kill();
      await redis.restart();
    }
    await until('the flow has gone on', () => atLeast(acknowledged.length, 1600), 30_000);
    stop = true;
    await flow;
    t.equal(refused.length, 0, 'the publisher outlived it');
    t.equal(new Set(acknowledged).size, sent);
    const sums = await settled(look, 'handle', PARTITIONS, sent);
    t.match(
      sums,
      { appended: sent, done: sent, dead: 0, parked: 0 },
      'appended once each, done once each',
    );
    t.equal(await dispatcher.terminate(), 0, 'the dispatcher outlived it');
    const runs = runsOf(readHistory(history));
    t.strictSame(lost(runs, acknowledged), []);
    t.strictSame(disorder(runs), []);
    t.notMatch(dispatcher.stderr, /LOSS/);
  },
);
