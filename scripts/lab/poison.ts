/**
 * One bad event among many good ones: what it may cost, for every misbehaviour. Used by
 * test/guarantees/06-*.test.ts.
 */
import { join } from 'node:path';
import type { Test } from 'tap';
import { deadLetters, settled } from './counters.ts';
import { openService, startDispatcher, testDir } from './dispatcher-process.ts';
import {
  attemptsOf,
  batchDisorder,
  completions,
  disorder,
  readHistory,
  runsOf,
} from './history.ts';
import { startRedis, until } from './redis-server.ts';

export interface Misbehaviour {
  readonly order: string;
  /** Of the dead letter; null: the event is done in the end. */
  readonly reason: string | null;
  /** In the dead letter's error. */
  readonly error?: { readonly name?: RegExp; readonly message?: RegExp };
  readonly attempts: number;
}

export const MISBEHAVIOURS: readonly Misbehaviour[] = [
  {
    order: 'throw',
    reason: 'attempts',
    attempts: 3,
    error: { name: /^Error$/, message: /thrown as ordered/ },
  },
  { order: 'reject', reason: 'attempts', attempts: 3, error: { message: /rejected as ordered/ } },
  { order: 'throw-once', reason: null, attempts: 2 },
  {
    order: 'non-retryable',
    reason: 'non-retryable',
    attempts: 1,
    error: { message: /never to be tried again/ },
  },
  {
    order: 'non-error',
    reason: 'attempts',
    attempts: 3,
    error: { name: /NonError/, message: /a string is no error/ },
  },
  { order: 'uncloneable', reason: 'attempts', attempts: 3, error: { message: /cannot be cloned/ } },
  { order: 'hang-polite', reason: 'timeout', attempts: 3, error: { name: /HandlerTimeoutError/ } },
  { order: 'hang', reason: 'timeout', attempts: 3, error: { name: /HandlerTimeoutError/ } },
  { order: 'loop', reason: 'timeout', attempts: 3, error: { name: /HandlerTimeoutError/ } },
  {
    order: 'exit',
    reason: 'thread-death',
    attempts: 3,
    error: { name: /ThreadDeathError/, message: /exit|status 3|code 3/ },
  },
  {
    order: 'oom',
    reason: 'thread-death',
    attempts: 3,
    error: { name: /ThreadDeathError/, message: /heap|memory/i },
  },
  {
    order: 'unhandled:700',
    reason: 'thread-death',
    attempts: 3,
    error: { name: /ThreadDeathError/, message: /nobody handles this/ },
  },
  { order: 'late-throw', reason: null, attempts: 1 },
];

const PARTITIONS = 2;
const EVENTS = 200;
const SUBJECTS = 40;

/**
 * Publishes 199 good events and the poison, waits until all are settled, and checks who was charged
 * for what.
 */
export async function checkPoison(
  t: Test,
  set: 'handle' | 'batch',
  misbehaviours: readonly Misbehaviour[],
): Promise<void> {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
  const dispatcher = await startDispatcher(t, { url: redis.url, functions: set, history });
  let published = 0;
  let dead = 0;
  for (const misbehaviour of misbehaviours) {
    await t.test(misbehaviour.order, async (t) => {
      const name = misbehaviour.order.replace(':', '-');
      const poison = `${name}-poison`;
      const items = Array.from({ length: EVENTS }, (_, i) => ({
        type: 'test.event',
        id: i === 77 ? poison : `${name}-${i}`,
        data: {
          key: `${name}/${i % SUBJECTS}`,
          number: Math.floor(i / SUBJECTS),
          order: i === 77 ? misbehaviour.order : 'ok',
          filler: new Uint8Array(0),
        },
      }));
      const poisoned = items[77]?.data.key as string;
      await publisher.publishMany(items);
      published += EVENTS;
      if (misbehaviour.reason !== null) dead++;
      const sums = await settled(look, set, PARTITIONS, published);
      t.match(sums, { appended: published, done: published - dead, dead, parked: 0 });
      const after = {
        type: 'test.event',
        id: `${name}-after`,
        data: { key: poisoned, number: 99, order: 'ok', filler: new Uint8Array(0) },
      };
      await publisher.publishMany([after]);
      published++;
      await settled(look, set, PARTITIONS, published);
      await until('the history says so', () =>
        readHistory(history).some((line) => line.id === after.id && line.what === 'end'),
      );

      const runs = runsOf(readHistory(history)).filter((run) => run.subject.startsWith(`${name}/`));
      const done = completions(runs);
      const missing = [...items, after].filter((item) => item.id !== poison && !done.has(item.id));
      t.strictSame(
        missing.map((item) => item.id),
        [],
        'all others are done',
      );
      if (set === 'handle') {
        const twice = [...done].filter(([, times]) => times > 1);
        t.strictSame(twice, [], 'each once, where the handlers are called one by one');
      }
      const charged = items.filter(
        (item) => item.id !== poison && attemptsOf(runs, item.id).join() !== '1',
      );
      t.strictSame(
        charged.map((item) => `${item.id}: ${attemptsOf(runs, item.id).join()}`),
        [],
        'nobody else is charged an attempt',
      );
      t.strictSame(
        attemptsOf(runs, poison),
        Array.from({ length: misbehaviour.attempts }, (_, i) => i + 1),
        'its attempts are charged to it',
      );
      const deadIds = misbehaviour.reason === null ? [] : [poison];
      const wrong =
        set === 'batch' ? batchDisorder(runs, deadIds) : disorder(runs, { dead: deadIds });
      t.strictSame(wrong.slice(0, 5), [], 'its subject and all others stay in order');

      const letters = (await deadLetters(look, set, PARTITIONS)).filter((letter) =>
        letter.fields['subject']?.startsWith(`${name}/`),
      );
      if (misbehaviour.reason === null) return t.equal(letters.length, 0);
      t.equal(letters.length, 1);
      const fields = letters[0]?.fields ?? {};
      t.match(fields, {
        id: poison,
        subject: poisoned,
        kind: 'event',
        type: 'test.event',
        reason: misbehaviour.reason,
        attempts: String(misbehaviour.attempts),
      });
      if (misbehaviour.error) t.match(fields, misbehaviour.error);
      t.equal(
        (JSON.parse(fields['history'] ?? '[]') as unknown[]).length,
        misbehaviour.attempts,
        'with the history of its attempts',
      );
    });
  }
  t.equal(await dispatcher.terminate(), 0);
}
