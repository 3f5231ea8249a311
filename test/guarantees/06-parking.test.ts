/** onDead: 'hold', the bounds of parking, and maxConcurrency. */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import {
  listDeadLetters,
  type DeadLetter,
  type DeadLetterSource,
} from '../../src/pipeline/dead/dead-letters.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { settled, totals } from '../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../scripts/lab/dispatcher-process.ts';
import { completions, disorder, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import {
  until,
  untilTold,
  writesTo,
  countersOf,
  writesToFile,
  is,
} from '../../scripts/lab/until.ts';

const PARTITIONS = 1;

function event(subject: string, number: number, order = 'ok') {
  return {
    type: 'test.event',
    id: `${subject}-${number}`,
    data: { key: subject, number, order, filler: new Uint8Array(0) },
  };
}

async function letters(source: DeadLetterSource): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(source)) out.push(letter);
  return out;
}

async function parkedIs(look: Redis, count: number): Promise<void> {
  await untilTold(countersOf(look), `${count} events are parked`, async () =>
    is((await totals(look, 'hold', PARTITIONS)).parked, count),
  );
}

t.test(
  "onDead 'hold': a subject waits for the operator, through restarts; replayed first, or discarded",
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const source = { connection, keys: createKeys('mr'), partitions: PARTITIONS };
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
    const options = {
      url: redis.url,
      functions: 'hold',
      history,
      environment: { MILLRACE_LEASE_MS: '500' },
    } as const;
    let dispatcher = await startDispatcher(t, options);
    const ran = (id: string): boolean => completions(runsOf(readHistory(history))).has(id);

    // One event dies at once with others behind it in the same batch. One dies after its retries.
    // One has nothing behind it.
    await publisher.publishMany([
      event('at-once', 0),
      event('at-once', 1, 'non-retryable'),
      event('at-once', 2),
      event('at-once', 3),
      event('retried', 0, 'throw'),
      event('retried', 1),
      event('lonely', 0, 'non-retryable'),
      event('fine', 0),
      event('fine', 1),
    ]);
    await untilTold(countersOf(look), 'three are dead', async () =>
      is((await totals(look, 'hold', PARTITIONS)).dead, 3),
    );
    await parkedIs(look, 3);
    await dispatcher.kill();
    dispatcher = await startDispatcher(t, options);
    await publisher.publishMany([
      event('at-once', 4),
      event('retried', 2),
      event('lonely', 1),
      event('fine', 2),
    ]);
    await until('what is not held runs', () => ran('fine-2'));
    await parkedIs(look, 6);
    t.notOk(
      ['at-once-2', 'at-once-4', 'retried-1', 'retried-2', 'lonely-1'].some(ran),
      'what is held does not run, whenever it came',
    );
    t.strictSame(Object.keys(await look.hgetall('mr:{0}:held:hold')).sort(), [
      'at-once',
      'lonely',
      'retried',
    ]);
    const dead = new Map((await letters(source)).map((letter) => [letter.eventId, letter]));

    const service = await openService(t, redis.url, PARTITIONS);
    const [told] = (await explain(service.deployment, { eventId: 'at-once-4' })).events;
    t.match(
      told?.functions.find((fn) => fn.function === 'hold'),
      { state: 'parked', why: /held by dead letter hold.*dlq replay/ },
    );

    // The replayed event runs first. It fails again, and holds again.
    t.equal(await replayDeadLetter(source, dead.get('at-once-1') as DeadLetter), 'replayed');
    await until('it has died again', async () =>
      (await letters(source)).some(
        (letter) =>
          letter.eventId === 'at-once-1' && letter.letterId !== dead.get('at-once-1')?.letterId,
      ),
    );
    t.notOk(ran('at-once-2'));
    const again = (await letters(source)).find(
      (letter) => letter.eventId === 'at-once-1',
    ) as DeadLetter;
    t.equal(await purgeDeadLetters(source, [again]), 1);
    await until('the rest of the subject runs', () => ran('at-once-4'));
    t.equal(
      await purgeDeadLetters(source, [
        dead.get('lonely-0') as DeadLetter,
        dead.get('retried-0') as DeadLetter,
      ]),
      2,
    );
    await settled(look, 'hold', PARTITIONS, 10);
    await publisher.publishMany([event('lonely', 2), event('at-once', 5)]);
    await until(
      'a subject that was let go runs as any other',
      () => ran('lonely-2') && ran('at-once-5'),
    );
    t.strictSame(await look.hgetall('mr:{0}:held:hold'), {});
    t.equal(await dispatcher.terminate(), 0);
    t.strictSame(
      disorder(runsOf(readHistory(history)), { dead: ['at-once-1', 'retried-0', 'lonely-0'] }),
      [],
    );
  },
);

t.test(
  'too many behind one failure are dead-lettered; too many in all stop the reading, and nothing else',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const source = { connection, keys: createKeys('mr'), partitions: PARTITIONS };
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, PARTITIONS)).publisher({ flushEvents: 10 });
    const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'hold', history });
    const bad = ['a', 'b', 'c', 'd'];
    await publisher.publishMany(bad.map((subject) => event(subject, 0, 'non-retryable')));
    await untilTold(writesTo(look), 'four hold', async () =>
      is(await look.hlen('mr:{0}:held:hold'), 4),
    );

    await publisher.publishMany(Array.from({ length: 40 }, (_, i) => event('a', i + 1)));
    await untilTold(countersOf(look), 'ten are too many', async () =>
      is((await totals(look, 'hold', PARTITIONS)).dead, 14),
    );
    const over = (await letters(source)).filter((letter) => letter.reason === 'parked-limit');
    t.strictSame(
      over.map((letter) => letter.eventId),
      Array.from({ length: 10 }, (_, i) => `a-${i + 31}`),
      'the last ones, in order',
    );
    t.match(over[0]?.error, {
      name: 'ParkedLimitError',
      message: /30 events of subject a wait.*dlq replay/,
    });

    // 30 of a, 25 of b and 25 of c make 80.
    await publisher.publishMany(
      ['b', 'c'].flatMap((subject) => Array.from({ length: 25 }, (_, i) => event(subject, i + 1))),
    );
    await dispatcher.logged(/maxParkedPerPartition/);
    await publisher.publishMany([event('fine', 0), event('d', 1)]);
    await untilTold(countersOf(look), 'it is in the stream', async () =>
      is((await totals(look, 'hold', PARTITIONS)).appended, 96),
    );
    t.equal((await totals(look, 'hold', PARTITIONS)).done, 0);
    const holder = (await letters(source)).find((letter) => letter.eventId === 'b-0') as DeadLetter;
    await purgeDeadLetters(source, [holder]);
    await untilTold(
      writesToFile(history),
      'retries run while nothing new is read, then the lane reads on',
      () => completions(runsOf(readHistory(history))).has('fine-0'),
      20_000,
    );
    await untilTold(countersOf(look), 'b is done', async () =>
      is((await totals(look, 'hold', PARTITIONS)).done, 26),
    );
    t.equal(await dispatcher.terminate(), 0);
  },
);

t.test('maxConcurrency holds over all threads', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const publisher = (await openService(t, redis.url, 4)).publisher({ flushEvents: 5 });
  await publisher.publishMany(Array.from({ length: 60 }, (_, i) => event(`s${i}`, 0, 'slow:20')));
  const dispatcher = await startDispatcher(t, { url: redis.url, functions: 'hold', history });
  await settled(look, 'hold', 4, 60);
  t.equal(await dispatcher.terminate(), 0);
  let running = 0;
  let most = 0;
  for (const line of readHistory(history)) {
    running += line.what === 'start' ? 1 : -1;
    most = Math.max(most, running);
  }
  t.equal(most, 3);
});
