/**
 * handleBatch: events that succeeded behind a failed one of their subject run again exactly where
 * order asks for it.
 */
import { join } from 'node:path';
import t from 'tap';
import { deadLetters, settled } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { batchDisorder, completions, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { randomOf } from '../../scripts/lab/random.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

const PARTITIONS = 2;
const SUBJECTS = 30;
const PER_SUBJECT = 12;
const DEAD = ['reject', 'non-retryable'];

/** In a third of the subjects a failing event is dead at once. */
function flow(random: (below: number) => number) {
  return Array.from({ length: SUBJECTS * PER_SUBJECT }, (_, i) => {
    const subject = i % SUBJECTS;
    const luck = random(10);
    const order =
      luck > 2
        ? 'ok'
        : subject % 3 === 0
          ? 'non-retryable'
          : (['reject', 'non-retryable', 'throw-once'] as const)[luck as 0 | 1 | 2];
    return {
      type: 'test.event',
      id: `event-${i}`,
      data: {
        key: `subject-${subject}`,
        number: Math.floor(i / SUBJECTS),
        order,
        filler: new Uint8Array(0),
      },
    };
  });
}

t.test('a success behind a failed event of its subject', async (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1e6);
  t.comment(`TEST_SEED=${seed}`);
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const items = flow(randomOf(seed));
  const dead = items.filter((i) => DEAD.includes(i.data.order)).map((i) => i.id);
  const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
  await publisher.publishMany(items);
  const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'named', history });
  for (const fn of ['named', 'named-unordered']) {
    t.match(await settled(look, fn, PARTITIONS, items.length), {
      done: items.length - dead.length,
      dead: dead.length,
    });
    t.equal((await deadLetters(look, fn, PARTITIONS)).length, dead.length);
  }
  t.equal(await dispatcher.terminate(), 0);

  const runs = runsOf(readHistory(history));
  const ordered = runs.filter(({ fn }) => fn === 'named');
  // A call starts all of its events before the first ends. A dead event counts from the end of its
  // last attempt.
  const settledRuns = ordered.map((run) =>
    DEAD.includes(run.order) ? { ...run, outcome: 'end' as const } : run,
  );
  t.strictSame(
    batchDisorder(settledRuns),
    [],
    "the last success of each comes in its subject's order",
  );
  const done = completions(ordered);
  const retried = new Set(
    items
      .filter(({ data }) => data.order === 'reject' || data.order === 'throw-once')
      .map(({ data }) => data.key),
  );
  const again = items.filter(({ id, data }) => data.order === 'ok' && (done.get(id) ?? 0) > 1);
  t.ok(
    again.some(({ data }) => retried.has(data.key)),
    'behind one that is tried again it runs again, after that',
  );
  t.ok(
    again.some(({ data }) => !retried.has(data.key)),
    'and behind a dead one: the handler may have skipped it',
  );
  t.ok(
    ordered.every(({ order, attempt }) => order !== 'ok' || attempt === 1),
    'which is no attempt of its own',
  );

  const unordered = completions(runs.filter(({ fn }) => fn === 'named-unordered'));
  t.strictSame(
    [...unordered].filter(([, times]) => times !== 1),
    [],
    "ordering 'none': each success once",
  );
});
