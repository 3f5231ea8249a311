import fc from 'fast-check';
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { retain } from '../../src/upkeep/retention.ts';
import { InvalidLimitError, readTypeLimits, setTypeLimits } from '../../src/upkeep/type-limits.ts';
import {
  events,
  foreign,
  makeBed,
  publish,
  specOf,
  startLane,
  type Bed,
} from '../pipeline/bare-lane.ts';

const ALL = { maxEvents: 0 } as const;
const left = async (bed: Bed, type = 'a.b'): Promise<number> =>
  (await bed.connection.command('XLEN', bed.keys.events(0, type))) as number;
const counter = async (bed: Bed, name: string): Promise<number> =>
  Number(await bed.connection.command('HGET', bed.keys.counters(0), name));
const state = async (bed: Bed, name: string) => {
  const fn = (await readLag(bed)).functions.find((one) => one.name === name);
  return (
    fn && {
      appended: fn.appended,
      done: fn.done,
      pending: fn.pending,
      lag: fn.lag,
      conserved: fn.conserved,
    }
  );
};

t.test(
  'keeps what one function has not read, and what another one has pending; says who',
  async (t) => {
    const bed = await makeBed(t, 1);
    const slow = await startLane(bed, specOf('slow', ['a.b']), 0);
    const quick = await startLane(bed, specOf('quick', ['a.b', 'a.c']), 0);
    const ids: string[] = [];
    for (let i = 0; i < 10; i++) ids.push(await publish(bed, 0, { 'a.b': events(3) }));
    await quick.drain();
    t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', ALL), {
      events: 0,
      held: { function: 'slow', entryId: ids[0] },
    });
    t.equal(await left(bed), 10);

    // Four entries are settled, and four more are delivered but not settled.
    for (let i = 0; i < 4; i++) await slow.work(() => 'done', 1);
    const underWay = await slow.turn(() => 'done', 12);
    if (underWay === null || underWay === 'stale') throw new Error('nothing taken');
    t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', ALL), {
      events: 12,
      held: { function: 'slow', entryId: ids[4] },
    });
    t.equal(await left(bed), 6);
    t.match(await state(bed, 'slow'), { appended: 30, done: 12, conserved: true });
    t.match(await state(bed, 'quick'), { appended: 30, done: 30, lag: 0, conserved: true });

    await slow.acquire().catch(() => undefined);
    await bed.connection.command('DEL', bed.keys.lease(0, 'slow'));
    await slow.acquire();
    await slow.drain();
    t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', ALL), { events: 18, held: null });
    t.equal(await left(bed), 0);
    t.equal(await counter(bed, 'trimmed:a.b'), 30);
    t.match(await state(bed, 'slow'), {
      appended: 30,
      done: 30,
      pending: 0,
      lag: 0,
      conserved: true,
    });
  },
);

t.test('a function that comes later starts at what is left, and its sum is right', async (t) => {
  const bed = await makeBed(t, 1);
  const first = await startLane(bed, specOf('first', ['a.b']), 0);
  for (let i = 0; i < 6; i++) await publish(bed, 0, { 'a.b': events(2) });
  await first.drain();
  await retain({ ...bed, partitions: 1 }, 0, 'a.b', { maxEvents: 5 });
  t.equal(await left(bed), 2, 'whole entries: four events are the most that are no more than five');
  const late = await startLane(bed, specOf('late', ['a.b']), 0);
  t.match(await state(bed, 'late'), { appended: 4, lag: 4, conserved: true });
  await publish(bed, 0, { 'a.b': events(3) });
  await late.drain();
  t.match(await state(bed, 'late'), { appended: 7, done: 7, lag: 0, conserved: true });
});

t.test('by age; foreign entries too; more than a page', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  for (let i = 0; i < 130; i++) {
    if (i % 3 === 0) await foreign(bed, 0, 'a.b', events(2), i % 2 === 0);
    else await publish(bed, 0, { 'a.b': events(1) });
  }
  await lane.drain();
  t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', { maxAgeMs: 3_600_000 }), {
    events: 0,
    held: null,
  });
  // Trims as on a server whose clock is an hour ahead: entries cannot be written into the past.
  const before = await left(bed);
  await bed.connection.command('XADD', bed.keys.events(0, 'a.b'), '99999999999999-0', 'b', '');
  t.equal(await left(bed), before + 1);
  await lane.drain();
  t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', { maxAgeMs: 1 }), { held: null });
  t.equal(await left(bed), 1, 'all but what is younger');
  t.match(await state(bed, 'f'), { lag: 0, pending: 0, conserved: true });
});

t.test('a lost group holds what it had not committed; other groups hold nothing', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await bed.connection.command(
    'XGROUP',
    'CREATE',
    bed.keys.events(0, 'a.b'),
    'somebody',
    '0',
    'MKSTREAM',
  );
  for (let i = 0; i < 4; i++) await publish(bed, 0, { 'a.b': events(1) });
  await lane.work(() => 'done', 1);
  await lane.work(() => 'done', 1);
  await bed.connection.command('XGROUP', 'DESTROY', bed.keys.events(0, 'a.b'), 'f');
  const done = await counter(bed, 'done:f:a.b');
  t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', ALL), {
    events: done,
    held: { function: 'f' },
  });
  t.equal(await left(bed), 4 - done);
});

t.test('out of memory: trimming works, and is counted', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  for (let i = 0; i < 4; i++) await publish(bed, 0, { 'a.b': events(5) });
  await lane.drain();
  await bed.connection.command('CONFIG', 'SET', 'maxmemory', '1');
  t.match(await retain({ ...bed, partitions: 1 }, 0, 'a.b', ALL), { events: 20 });
  await bed.connection.command('CONFIG', 'SET', 'maxmemory', '0');
  t.equal(await counter(bed, 'trimmed:a.b'), 20);
  t.match(await state(bed, 'f'), { appended: 20, done: 20, conserved: true });
});

t.test(
  'whatever happens in whatever order, nothing unsettled is trimmed and everything adds up',
  async (t) => {
    const bed = await makeBed(t, 1);
    let run = 0;
    const step = fc.oneof(
      fc.record({ do: fc.constant('publish' as const), n: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constant('foreign' as const), n: fc.integer({ min: 1, max: 4 }) }),
      fc.record({
        do: fc.constantFrom('work a' as const, 'work b' as const),
        n: fc.integer({ min: 1, max: 6 }),
      }),
      fc.record({ do: fc.constantFrom('take a' as const), n: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ do: fc.constant('trim' as const), n: fc.integer({ min: 0, max: 6 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const type = `t.${run++}`;
        const [a, b] = [`a${run}`, `b${run}`];
        const lanes = {
          a: await startLane(bed, specOf(a, [type]), 0),
          b: await startLane(bed, specOf(b, [type]), 0),
        };
        const seen = { a: new Set<string>(), b: new Set<string>() };
        const all = new Set<string>();
        const work = async (name: 'a' | 'b', n: number): Promise<string> =>
          lanes[name].work(({ id }) => (seen[name].add(id), 'done'), n);
        for (const one of steps) {
          const made = events(one.n);
          if (one.do === 'publish') {
            await publish(bed, 0, { [type]: made });
            made.forEach(({ id }) => all.add(id));
          } else if (one.do === 'foreign') {
            await foreign(bed, 0, type, made);
            made.forEach(({ id }) => all.add(id));
          } else if (one.do === 'work a') await work('a', one.n);
          else if (one.do === 'work b') await work('b', one.n);
          else if (one.do === 'take a') {
            // The entry is delivered and its owner dies: the entry is pending.
            await lanes.a.turn(() => 'done', one.n);
            await bed.connection.command('DEL', bed.keys.lease(0, a));
            await lanes.a.acquire();
          } else await retain({ ...bed, partitions: 1 }, 0, type, { maxEvents: one.n });
        }
        for (const name of ['a', 'b'] as const)
          while ((await work(name, 100)) === 'ok') {
            /* to the end */
          }
        for (const name of ['a', 'b'] as const)
          if (seen[name].size !== all.size)
            throw new Error(`${name} saw ${seen[name].size} of ${all.size}`);
        for (const fn of (await readLag(bed)).functions)
          if ((fn.name === a || fn.name === b) && (!fn.conserved || fn.done !== all.size))
            throw new Error(JSON.stringify(fn));
        await bed.connection.command('DEL', bed.keys.counters(0));
      }),
      { numRuns: 40 },
    );
    t.pass();
  },
);

t.test('limits: checked, kept, taken away', async (t) => {
  const bed = await makeBed(t, 1);
  await setTypeLimits(bed, 'a.b', { maxAgeMs: 60_000, maxBacklog: 10 });
  await bed.connection.command(
    'HSET',
    bed.keys.limits(),
    'broken',
    '{',
    'evil',
    '{"maxEvents":-1}',
  );
  t.strictSame(
    await readTypeLimits(bed),
    new Map([['a.b', { maxAgeMs: 60_000, maxBacklog: 10 }]]),
    'what makes no sense limits nothing',
  );
  for (const bad of [
    { maxAgeMs: 10 },
    { maxEvents: -1 },
    { maxEvents: 1.5 },
    { maxBacklog: 0 },
    { other: 1 } as object,
  ])
    await t.rejects(setTypeLimits(bed, 'a.b', bad), InvalidLimitError);
  await t.rejects(setTypeLimits(bed, 'No Name', { maxEvents: 1 }), InvalidLimitError);
  await setTypeLimits(bed, 'a.b', null);
  t.equal((await readTypeLimits(bed)).size, 0);
});
