/** One poisoned subject among 10,000 events costs itself and nothing else. */
import { join } from 'node:path';
import t from 'tap';
import { deadLetters, settled } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import {
  attemptsOf,
  completions,
  disorder,
  readHistory,
  runsOf,
} from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';

const PARTITIONS = 2;
const EVENTS = 10_000;
const SUBJECTS = 500;
const POISON = 4000;

t.test(
  'one subject poisoned among 10,000 events: all others are done once, none is charged',
  async (t) => {
    const redis = await startRedis(t);
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'handle', history });
    const items = Array.from({ length: EVENTS }, (_, i) => ({
      type: 'test.event',
      id: `event-${i}`,
      data: {
        key: `subject-${i % SUBJECTS}`,
        number: Math.floor(i / SUBJECTS),
        order: i === POISON ? 'exit' : 'ok',
        filler: new Uint8Array(0),
      },
    }));
    for (let at = 0; at < EVENTS; at += 500) await publisher.publishMany(items.slice(at, at + 500));
    t.match(await settled(redis.client(), 'handle', PARTITIONS, EVENTS), {
      appended: EVENTS,
      done: EVENTS - 1,
      dead: 1,
      parked: 0,
    });
    t.equal(await dispatcher.terminate(), 0);
    const runs = runsOf(readHistory(history));
    const done = completions(runs);
    t.equal(done.size, EVENTS - 1);
    t.strictSame(
      [...done].filter(([, times]) => times !== 1),
      [],
      'each once',
    );
    t.strictSame(
      [...new Set(runs.filter((run) => run.attempt > 1).map((run) => run.id))],
      [`event-${POISON}`],
      'nobody else is charged',
    );
    t.strictSame(attemptsOf(runs, `event-${POISON}`), [1, 2, 3]);
    t.strictSame(disorder(runs, { dead: [`event-${POISON}`] }), []);
    t.strictSame(
      (await deadLetters(redis.client(), 'handle', PARTITIONS)).map(
        (letter) => letter.fields['id'],
      ),
      [`event-${POISON}`],
    );
  },
);
