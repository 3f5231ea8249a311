/** The trend in a real Redis: exact bounds, aligned samples, and marks that come once. */
import fc from 'fast-check';
import t from 'tap';
import { RedisReplyError } from '../../src/core/errors/server-errors.ts';
import { findMarks } from '../../src/trend/find-marks.ts';
import { MOST_MARKS, type Mark } from '../../src/trend/mark.ts';
import { readMarks } from '../../src/trend/read-marks.ts';
import { FUNCTION_FIGURES } from '../../src/trend/trend-figures.ts';
import type { TrendSample } from '../../src/trend/trend-sample.ts';
import { AHEAD_MS, TrendStore, type TrendState } from '../../src/trend/trend-store.ts';
import { keptSamples, MINUTE_MS } from '../../src/trend/trend-times.ts';
import { makeBed } from '../pipeline/bare-lane.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { marksOf, samplesIn } from './start-sampler.ts';

const START_MS = Date.UTC(2026, 10, 29, 12);
const minute = (n: number): number => START_MS + n * MINUTE_MS;

function sampleOf(slotMs: number, appended: number): TrendSample {
  const values = Object.fromEntries(Object.keys(FUNCTION_FIGURES).map((name) => [name, 0]));
  return { slotMs, atMs: slotMs, values: { ...values, appended } };
}

function addOne(store: TrendStore, slotMs: number, appended: number, fn = 'mail'): Promise<void> {
  return store.add('1m', slotMs, new Map([[fn, sampleOf(slotMs, appended)]]));
}

t.test('a stream has at most its bound, and each time once', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  let start = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 250 }),
      async (steps) => {
        await bed.redis.client().del(bed.keys.trendSamples('1m', 'mail'));
        let at = (start += 10_000);
        const times: number[] = [];
        for (const step of steps) {
          at += step;
          const isNew = step > 0 || times.length === 0;
          if (isNew) times.push(minute(at));
          await addOne(store, minute(at), isNew ? times.length : 999_999);
        }
        const kept = await samplesIn(bed, '1m', 'mail');
        t.strictSame(
          kept.map(({ slotMs }) => slotMs),
          times.slice(-keptSamples('1m')),
        );
        t.ok(kept.every(({ slotMs }) => slotMs % MINUTE_MS === 0));
        const first = times.length - kept.length;
        t.strictSame(
          kept.map(({ values }) => values['appended']),
          kept.map((_, i) => first + i + 1),
          'the first sample of a time counts',
        );
      },
    ),
    { numRuns: 4 },
  );
  await addOne(store, minute((start += 10_000)), 1);
  const ttl = await bed.redis.client().pttl(bed.keys.trendSamples('1m', 'mail'));
  t.ok(ttl > 0 && ttl <= 3 * 3_600_000, 'the samples of a removed function end by themselves');
});

t.test('many functions, in chunks', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  const names = Array.from({ length: 250 }, (_, i) => `f${i}`);
  await store.add('10m', minute(0), new Map(names.map((name) => [name, sampleOf(minute(0), 1)])));
  for (const name of names)
    t.equal(await bed.redis.client().xlen(bed.keys.trendSamples('10m', name)), 1, name);
});

t.test('a stream that another program has written costs itself only', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  await bed.redis.client().set(bed.keys.trendSamples('1m', 'b'), 'x');
  const samples = new Map(['a', 'b', 'c'].map((name) => [name, sampleOf(minute(0), 1)]));
  await t.rejects(store.add('1m', minute(0), samples), {
    name: RedisReplyError.name,
    reply: 'WRONGTYPE',
  });
  for (const name of ['a', 'c']) t.equal((await samplesIn(bed, '1m', name)).length, 1, name);
});

t.test('a foreign entry is no sample', async (t) => {
  const bed = await makeBed(t);
  const key = bed.keys.trendSamples('1m', 'mail');
  await bed.redis.client().xadd(key, `${minute(0)}-0`, 'x', 'y');
  await bed.redis.client().xadd(key, `${minute(1)}-0`, 's', 'hello');
  await addOne(new TrendStore(bed, 'a'), minute(2), 1);
  t.match(await samplesIn(bed, '1m', 'mail'), [{ slotMs: minute(2) }]);
  t.equal((await samplesIn(bed, '1m', 'mail')).length, 1);
});

t.test('a clock that was ahead', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  const times = async (): Promise<number[]> =>
    (await samplesIn(bed, '1m', 'mail')).map(({ slotMs }) => slotMs);
  await addOne(store, minute(0), 1);
  await addOne(store, minute(30), 2);
  await addOne(store, minute(1), 3);
  t.strictSame(await times(), [minute(0), minute(30)], 'by half an hour: it is waited for');
  await addOne(store, minute(30) - AHEAD_MS - MINUTE_MS, 4);
  t.strictSame(
    await times(),
    [minute(30) - AHEAD_MS - MINUTE_MS],
    'by more: the stream begins anew',
  );
});

t.test('a full memory refuses neither samples nor marks', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  await addOne(store, minute(0), 1);
  await bed.redis.client().config('SET', 'maxmemory', '1');
  await addOne(store, minute(1), 2);
  await addOne(store, minute(1), 2, 'new');
  t.equal((await samplesIn(bed, '1m', 'mail')).length, 2);
  t.equal((await samplesIn(bed, '1m', 'new')).length, 1);
  t.match(await store.hold(10_000), { isOwner: true });
  const state = await store.load();
  t.ok(await store.save(state, next(0), [markOf('while it is full')]));
  t.match(await marksOf(bed), [{ text: 'while it is full' }]);
});

function markOf(text: string): Mark {
  return { atMs: START_MS, kind: 'change', function: null, type: null, text, from: 'audit 1-0' };
}

/** A state after a look at this minute. */
function next(n: number): Parameters<TrendStore['save']>[1] {
  const facts = {
    nowMs: minute(n),
    lag: { functions: [] },
    appended: 0,
    dispatchers: new Map<string, 'left'>(),
    registered: null,
    masters: null,
    changes: null,
    losses: null,
    alerts: null,
  };
  return { sampledMs: minute(n), foldedMs: 0, known: findMarks(null, facts).known };
}

t.test('marks and their state are written together, or not at all', async (t) => {
  const bed = await makeBed(t);
  const [a, b] = [new TrendStore(bed, 'a'), new TrendStore(bed, 'b')];
  const [first, second] = [await a.load(), await b.load()];
  t.match(first, { revision: '', sampledMs: 0, known: null });
  const saved = await a.save(first, next(1), [markOf('one')]);
  t.equal(await b.save(second, next(1), [markOf('one')]), null, 'the state is another one');
  t.strictSame(
    (await marksOf(bed)).map(({ text }) => text),
    ['one'],
  );
  const found: TrendState = await b.load();
  t.match(found, { sampledMs: minute(1), known: { atMs: minute(1) } });
  const later = await b.save(found, next(2), [markOf('two')]);
  t.ok(later);
  t.equal(await a.save(saved as TrendState, next(2), [markOf('two')]), null);
  t.strictSame((await marksOf(bed)).map(({ text }) => text).sort(), ['one', 'two']);
  t.ok(await b.save(later as TrendState, next(3), []), 'who has written goes on');
});

t.test('the newest marks are kept, and reads are bounded', async (t) => {
  const bed = await makeBed(t);
  const store = new TrendStore(bed, 'a');
  let state = await store.load();
  for (let n = 0; n < 6; n++) {
    const marks = Array.from({ length: 100 }, (_, i) => ({
      ...markOf(`${n * 100 + i}`),
      atMs: minute(n * 100 + i),
      function: i === 0 ? 'mail' : i === 1 ? 'bill' : null,
      kind: i < 2 ? ('deploy' as const) : ('change' as const),
    }));
    state = (await store.save(state, next(n), marks)) as TrendState;
  }
  t.equal(await bed.redis.client().xlen(bed.keys.trend('marks')), MOST_MARKS);
  const newest = await readMarks(bed, { hours: null, most: 3 });
  t.match(newest, { isCut: true, marks: [{ text: '599' }, { text: '598' }, { text: '597' }] });
  t.equal(newest.marks.length, 3);
  const all = await readMarks(bed, { hours: null, most: 10_000 });
  t.match(all, { isCut: false, marks: { length: MOST_MARKS } });
  const deploys = await readMarks(bed, {
    hours: null,
    most: 500,
    function: 'mail',
    kinds: ['deploy'],
  });
  t.strictSame(
    deploys.marks.map(({ text }) => text),
    ['500', '400', '300', '200', '100'],
    'those of another function are left out',
  );
});

t.test('one process has the lease', async (t) => {
  const bed = await makeBed(t);
  const [a, b] = [new TrendStore(bed, 'a'), new TrendStore(bed, 'b')];
  t.match(await a.hold(60_000), { isOwner: true });
  t.match(await b.hold(60_000), { isOwner: false });
  await b.release();
  t.match(await a.hold(60_000), { isOwner: true }, 'nobody else gives it back');
  await a.release();
  t.match(await b.hold(50), { isOwner: true });
  await until('the lease has ended', async () => is((await a.hold(60_000)).isOwner, true));
  t.match(await b.hold(60_000), { isOwner: false });
});
