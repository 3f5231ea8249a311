/**
 * One bad event among many good ones, for every misbehaviour: the bad event alone is charged. Used
 * by test/guarantees/06-*.test.ts.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { Test } from 'tap';
import type { Publisher } from '../../src/pipeline/append/publisher.ts';
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
import { startRedis } from './redis-server.ts';
import { untilTold, writesToFile } from './until.ts';

export interface Misbehaviour {
  readonly order: string;
  /** The dead letter's reason; null: the event is done in the end. */
  readonly reason: string | null;
  /** Patterns of the dead letter's error. */
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
/** Index of the bad event among the good ones. */
const POISON_AT = 77;

type HandlerSet = 'handle' | 'batch';

interface Item {
  readonly type: string;
  readonly id: string;
  readonly data: {
    readonly key: string;
    readonly number: number;
    readonly order: string;
    readonly filler: Uint8Array;
  };
}

/** One function set with its server, and the counters of all scenarios before. */
interface Bed {
  readonly set: HandlerSet;
  readonly look: Redis;
  readonly history: string;
  readonly publisher: Publisher;
  published: number;
  dead: number;
}

/** One misbehaviour's events: 199 good ones, the poison, and a later one of its subject. */
interface Scenario {
  readonly misbehaviour: Misbehaviour;
  /** The start of its subjects and ids. */
  readonly name: string;
  readonly items: readonly Item[];
  readonly poison: Item;
  readonly after: Item;
}

/** For each misbehaviour, checks which events one bad event among good ones affects. */
export async function checkPoison(
  t: Test,
  set: HandlerSet,
  misbehaviours: readonly Misbehaviour[],
): Promise<void> {
  const redis = await startRedis(t);
  const history = join(testDir(t), 'history');
  const publisher = (await openService(t, redis.url, PARTITIONS)).publisher();
  const bed: Bed = { set, look: redis.client(), history, publisher, published: 0, dead: 0 };
  const dispatcher = await startDispatcher(t, { url: redis.url, functions: set, history });
  for (const misbehaviour of misbehaviours) {
    await t.test(misbehaviour.order, async (t) => {
      const scenario = scenarioOf(misbehaviour);
      await play(t, bed, scenario);
      checkRuns(t, bed, scenario);
      await checkDeadLetter(t, bed, scenario);
    });
  }
  t.equal(await dispatcher.terminate(), 0);
}

function scenarioOf(misbehaviour: Misbehaviour): Scenario {
  const name = misbehaviour.order.replace(':', '-');
  const item = (id: string, data: Omit<Item['data'], 'filler'>): Item => ({
    type: 'test.event',
    id: `${name}-${id}`,
    data: { ...data, filler: new Uint8Array(0) },
  });
  const items = Array.from({ length: EVENTS }, (_, i) =>
    item(i === POISON_AT ? 'poison' : String(i), {
      key: `${name}/${i % SUBJECTS}`,
      number: Math.floor(i / SUBJECTS),
      order: i === POISON_AT ? misbehaviour.order : 'ok',
    }),
  );
  const poison = items[POISON_AT] as Item;
  const after = item('after', { key: poison.data.key, number: 99, order: 'ok' });
  return { misbehaviour, name, items, poison, after };
}

/** Publishes the events, waits until all are settled, then publishes the later one. */
async function play(t: Test, bed: Bed, { misbehaviour, items, after }: Scenario): Promise<void> {
  await bed.publisher.publishMany(items);
  bed.published += items.length;
  if (misbehaviour.reason !== null) bed.dead++;
  const { published, dead } = bed;
  const sums = await settled(bed.look, bed.set, PARTITIONS, published);
  t.match(sums, { appended: published, done: published - dead, dead, parked: 0 });

  await bed.publisher.publishMany([after]);
  bed.published++;
  await settled(bed.look, bed.set, PARTITIONS, bed.published);
  await untilTold(writesToFile(bed.history), 'the history has the end of the last event', () =>
    readHistory(bed.history).some((line) => line.id === after.id && line.what === 'end'),
  );
}

/** Checks in the history that only the poison is charged, and that each subject kept its order. */
function checkRuns(
  t: Test,
  bed: Bed,
  { misbehaviour, name, items, poison, after }: Scenario,
): void {
  const runs = runsOf(readHistory(bed.history)).filter((run) => run.subject.startsWith(`${name}/`));
  const good = items.filter((item) => item !== poison);

  const done = completions(runs);
  const missing = [...good, after].filter((item) => !done.has(item.id));
  t.strictSame(
    missing.map((item) => item.id),
    [],
    'all others are done',
  );
  if (bed.set === 'handle') {
    const twice = [...done].filter(([, times]) => times > 1);
    t.strictSame(twice, [], 'each once, where the handlers are called one by one');
  }

  const charges = good
    .map((item) => ({ id: item.id, attempts: attemptsOf(runs, item.id).join() }))
    .filter(({ attempts }) => attempts !== '1');
  t.strictSame(charges, [], 'nobody else is charged an attempt');
  t.strictSame(
    attemptsOf(runs, poison.id),
    Array.from({ length: misbehaviour.attempts }, (_, i) => i + 1),
    'its attempts are charged to it',
  );

  const dead = misbehaviour.reason === null ? [] : [poison.id];
  const wrong = bed.set === 'batch' ? batchDisorder(runs, dead) : disorder(runs, { dead });
  t.strictSame(wrong.slice(0, 5), [], 'its subject and all others stay in order');
}

/** Checks that only the poison left a dead letter, with its reason, error and history. */
async function checkDeadLetter(
  t: Test,
  bed: Bed,
  { misbehaviour, name, poison }: Scenario,
): Promise<void> {
  const letters = (await deadLetters(bed.look, bed.set, PARTITIONS)).filter((letter) =>
    letter.fields['subject']?.startsWith(`${name}/`),
  );
  if (misbehaviour.reason === null) {
    t.equal(letters.length, 0);
    return;
  }
  t.equal(letters.length, 1);
  const fields = letters[0]?.fields ?? {};
  t.match(fields, {
    id: poison.id,
    subject: poison.data.key,
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
}
