import { join } from 'node:path';
import t from 'tap';
import { settled } from '../../scripts/lab/counters.ts';
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
import { untilTold, writesToFile, atLeast } from '../../scripts/lab/until.ts';

const PARTITIONS = 4;
const SUBJECTS = 24;
const PER_SUBJECT = 40;

/**
 * A flow with numbers per subject over both types. A round goes out as several calls of publishMany
 * without waiting.
 */
function flow() {
  const items: {
    type: string;
    id: string;
    data: { key: string; number: number; order: string; filler: Uint8Array };
  }[] = [];
  for (let number = 0; number < PER_SUBJECT; number++) {
    for (let s = 0; s < SUBJECTS; s++) {
      const i = items.length;
      const order = i % 13 === 0 ? 'throw-once' : i % 5 === 0 ? 'slow:3' : 'ok';
      items.push({
        type: (number * 7 + s * 3) % 5 < 2 ? 'test.other' : 'test.event',
        id: `event-${i}`,
        data: { key: `subject-${s}`, number, order, filler: new Uint8Array(i % 50) },
      });
    }
  }
  return items;
}

for (const crash of [false, true]) {
  t.test(
    `one subject in order across types and retries${crash ? ', while dispatchers are killed' : ''}`,
    async (t) => {
      const redis = await startRedis(t);
      const look = redis.client();
      const history = join(testDir(t), 'history');
      // Small flushes make many entries, with each subject's events spread over them.
      const publisher = (await openService(t, redis.url, PARTITIONS)).publisher({
        flushEvents: 17,
      });
      const options = {
        url: redis.url,
        functions: 'ordered',
        history,
        environment: { MILLRACE_LEASE_MS: '500', MILLRACE_BATCH_EVENTS: '50' },
      } as const;
      const items = flow();
      let dispatcher = await startDispatcher(t, options);
      const publishing = (async () => {
        for (let at = 0; at < items.length;) {
          const calls: Promise<unknown>[] = [];
          for (let call = 0; call < 3; call++) {
            const size = 1 + ((at * 31 + call) % 37);
            calls.push(publisher.publishMany(items.slice(at, at + size)));
            at += size;
          }
          await Promise.all(calls);
        }
      })();
      if (crash) {
        for (const part of [0.2, 0.5]) {
          await untilTold(
            writesToFile(history),
            'a part has run',
            () => atLeast(completions(runsOf(readHistory(history))).size, items.length * part),
            40_000,
          );
          await dispatcher.kill();
          dispatcher = await startDispatcher(t, options);
        }
      }
      await publishing;
      t.match(await settled(look, 'ordered', PARTITIONS, items.length), {
        appended: items.length,
        done: items.length,
        dead: 0,
      });
      t.equal(await dispatcher.terminate(), 0);
      const runs = runsOf(readHistory(history));
      t.strictSame(disorder(runs), []);
      t.strictSame(
        lost(
          runs,
          items.map((i) => i.id),
        ),
        [],
      );
      t.equal(new Set(runs.map((run) => run.type)).size, 2);
      for (const { id, data } of items) {
        if (data.order !== 'throw-once' && attemptsOf(runs, id).join() !== '1')
          t.fail(`${id}, which never failed, has attempts ${attemptsOf(runs, id).join()}`);
      }
      if (!crash) {
        for (const [id, times] of completions(runs))
          if (times !== 1) t.fail(`${id} succeeded ${times} times`);
      }
    },
  );
}

t.test("ordering 'none': a failing event holds up nothing of its subject", async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
  await publisher.publishMany(
    Array.from({ length: 100 }, (_, i) => ({
      type: 'test.event',
      id: `event-${i}`,
      data: {
        key: 'the only one',
        number: i,
        order: i % 10 === 0 ? 'throw' : 'ok',
        filler: new Uint8Array(0),
      },
    })),
  );
  const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'unordered', history });
  t.match(await settled(look, 'unordered', PARTITIONS, 100), { done: 90, dead: 10, parked: 0 });
  t.equal(await dispatcher.terminate(), 0);
  const runs = runsOf(readHistory(history));
  const firstRetry = runs.find((run) => run.attempt === 2);
  t.ok(firstRetry, 'there were retries');
  const doneBefore = runs.filter(
    (run) => run.outcome === 'end' && run.endedAt < (firstRetry?.startedAt ?? 0),
  ).length;
  t.equal(doneBefore, 90, 'all others were done before the first retry');
  for (const run of runs)
    if (run.order === 'throw' && attemptsOf(runs, run.id).join() !== '1,2,3')
      t.fail(`${run.id}: attempts ${attemptsOf(runs, run.id).join()}`);
});
