import t from 'tap';
import fc from 'fast-check';
import { readLag, type LagReport } from '../../src/lag/lag.ts';
import { balance } from '../../src/lag/balance.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { sendCommit } from '../../src/pipeline/commit/commit.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import {
  type BareLane,
  events,
  foreign,
  makeBed,
  publish,
  specOf,
  startLane,
} from '../pipeline/bare-lane.ts';

const only = (report: LagReport) => {
  const [fn] = report.functions;
  if (!fn) throw new Error('no function');
  return fn;
};

t.test('nothing registered', async (t) => {
  const bed = await makeBed(t);
  await publish(bed, 0, { 'a.b': events(3) });
  t.strictSame(await readLag(bed), { functions: [] });
});

t.test('an event through all states', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('f', ['a.b', 'a.c']), 1);
  t.match(only(await readLag(bed)), {
    name: 'f',
    appended: 0,
    lag: 0,
    oldestMs: null,
    conserved: true,
  });
  await publish(bed, 1, { 'a.b': events(3, 'x'), 'a.c': events(2, 'y') });
  await publish(bed, 0, { 'a.b': events(9) });
  t.match(only(await readLag(bed)), { appended: 5, lag: 5, pending: 0, conserved: true });
  const plan = await lane.turn(({ subject }) => (subject === 'x' ? 'retry' : 'dead'));
  if (plan === null || plan === 'stale') throw new Error('nothing taken');
  const pending = only(await readLag(bed));
  t.match(pending, { appended: 5, lag: 0, pending: 5, conserved: true });
  t.ok(pending.oldestMs !== null && pending.oldestMs >= 0 && pending.oldestMs < 60_000);
  await sendCommit(bed.connection, plan);
  await sendCommit(bed.connection, plan);
  const settled = only(await readLag(bed));
  t.match(settled, {
    appended: 5,
    done: 0,
    lag: 0,
    pending: 0,
    parked: 3,
    dead: 2,
    purged: 0,
    conserved: true,
  });
  t.strictSame(
    settled.types.map((r) => [r.type, r.partition, r.appended, r.parked, r.dead]),
    [
      ['a.b', 1, 3, 3, 0],
      ['a.c', 1, 2, 0, 2],
    ],
  );
  t.ok(settled.types[0]?.oldestMs !== null, 'parked events have an age');
  t.equal(settled.types[1]?.oldestMs, null, 'dead ones have none');
  await lane.drain();
  t.match(only(await readLag(bed)), {
    done: 3,
    parked: 0,
    dead: 2,
    oldestMs: null,
    conserved: true,
  });
});

t.test('startFrom end; a second function; entries deleted by hand are noticed', async (t) => {
  const bed = await makeBed(t, 1);
  const first = await startLane(bed, specOf('first', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(10) });
  const late = await startLane(bed, specOf('late', ['a.b'], { startFrom: 'end' }), 0);
  await publish(bed, 0, { 'a.b': events(4) });
  t.strictSame(
    (await readLag(bed)).functions.map((f) => [f.name, f.appended, f.lag, f.conserved]),
    [
      ['first', 14, 14, true],
      ['late', 4, 4, true],
    ],
  );
  await late.drain();
  const id = await publish(bed, 0, { 'a.b': events(2) });
  await publish(bed, 0, { 'a.b': events(1) });
  await bed.connection.command('XDEL', bed.keys.events(0, 'a.b'), id);
  t.strictSame(
    (await readLag(bed)).functions.map((f) => [f.name, f.conserved]),
    [
      ['first', true],
      ['late', false],
    ],
    'a gap right behind what was delivered; further on the ordinals still say it is there',
  );
  await first.drain();
  await late.drain();
  t.strictSame(
    (await readLag(bed)).functions.map((f) => [f.name, f.done, f.conserved]),
    [
      ['first', 15, false],
      ['late', 5, false],
    ],
  );
});

t.test('a trimmed stream, without and with what was not delivered', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  for (let i = 0; i < 5; i++) await publish(bed, 0, { 'a.b': events(2) });
  await lane.drain();
  const client = bed.redis.client();
  await client.xtrim('mr:{0}:events:a.b', 'MAXLEN', '=', 0 as never);
  await client.hincrby('mr:{0}:counters', 'entries:a.b', -5);
  await client.hincrby('mr:{0}:counters', 'trimmed:a.b', 10);
  t.match(only(await readLag(bed)), { appended: 10, done: 10, lag: 0, conserved: true });
  await startLane(bed, specOf('g', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(3) });
  t.strictSame(
    (await readLag(bed)).functions.map((f) => [f.name, f.appended, f.lag, f.conserved]),
    [
      ['f', 13, 3, true],
      ['g', 3, 3, true],
    ],
  );
});

t.test('more undelivered foreign entries, and more pending ones, than are added up', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  const pipeline = bed.redis.client().pipeline();
  for (let i = 0; i < 1500; i++) pipeline.xadd('mr:{0}:events:a.b', '*', 'b', '', 'n', '2');
  await pipeline.exec();
  await publish(bed, 0, { 'a.b': events(3) });
  t.match(only(await readLag(bed)), { appended: 3003, lag: 3003, conserved: true });
  await bed.connection.command(
    'XREADGROUP',
    'GROUP',
    'f',
    'lane',
    'COUNT',
    5000,
    'STREAMS',
    bed.keys.events(0, 'a.b'),
    '>',
  );
  t.match(only(await readLag(bed)), { pending: 3003, lag: 0, conserved: true });
  t.ok(lane);
});

t.test('balance', (t) => {
  const zero = {
    appended: 0,
    done: 0,
    dead: 0,
    purged: 0,
    parked: 0,
    pending: 0,
    lag: 0,
    even: true,
    pendingExact: true,
    lagExact: true,
  };
  t.match(
    balance({ ...zero, appended: 10, done: 4, dead: 1, purged: 1, parked: 1, pending: 1, lag: 2 }),
    { dead: 2, conserved: true },
  );
  t.match(balance({ ...zero, appended: 10, done: 4 }), { conserved: false });
  t.match(
    balance({ ...zero, appended: 4, done: 5, dead: -1 }),
    { conserved: false },
    'a negative state',
  );
  t.match(balance({ ...zero, appended: 10, done: 4, lag: 2, lagExact: false }), {
    lag: 6,
    conserved: true,
  });
  t.match(balance({ ...zero, appended: 10, done: 9, lag: 2, lagExact: false }), {
    conserved: false,
  });
  t.match(balance({ ...zero, appended: 10, pending: 4, pendingExact: false, lag: 1 }), {
    pending: 9,
    lag: 1,
    conserved: true,
  });
  t.match(balance({ ...zero, appended: 10, done: 10, lag: 3, even: false }), {
    appended: 13,
    lag: 3,
    conserved: true,
  });
  t.end();
});

type Step =
  | { readonly kind: 'publish' | 'foreign'; readonly events: number }
  | {
      readonly kind: 'work';
      readonly retry: number;
      readonly dead: number;
      readonly budget: number;
      readonly send: 'once' | 'twice' | 'lost';
    }
  | { readonly kind: 'replay' | 'purge' | 'restart' }
  | { readonly kind: 'rewind'; readonly to: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('publish', 'foreign'),
      events: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('work'),
      retry: fc.integer({ min: 0, max: 4 }),
      dead: fc.integer({ min: 0, max: 3 }),
      budget: fc.integer({ min: 1, max: 12 }),
      send: fc.constantFrom('once', 'once', 'twice', 'lost'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('replay', 'purge', 'restart') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rewind'), to: fc.nat(20) }) },
) as fc.Arbitrary<Step>;

t.test(
  'conservation under any sequence of appends, turns, retries, deaths, replays, purges, rewinds',
  async (t) => {
    const bed = await makeBed(t, 1);
    const client = bed.redis.client();
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.constantFrom('key', 'none'),
        async (steps, ordering) => {
          await client.flushall();
          const spec = specOf('f', ['a.b', 'a.c'], { ordering });
          let lane: BareLane = await startLane(bed, spec, 0);
          const ids: string[] = ['0-0'];
          let seed = 0;
          for (const [i, s] of steps.entries()) {
            if (s.kind === 'publish')
              ids.push(
                await publish(
                  bed,
                  0,
                  i % 2 === 0
                    ? { 'a.b': events(s.events) }
                    : { 'a.b': events(1), 'a.c': events(s.events) },
                ),
              );
            else if (s.kind === 'foreign')
              ids.push(await foreign(bed, 0, 'a.b', events(s.events), i % 2 === 0));
            else if (s.kind === 'work') {
              const plan = await lane.turn(() => {
                const x = seed++ % 10;
                return x < s.retry ? 'retry' : x < s.retry + s.dead ? 'dead' : 'done';
              }, s.budget);
              if (plan === 'stale' || plan === null) {
                if (plan === 'stale') await lane.acquire();
              } else if (s.send !== 'lost') {
                const reply = await sendCommit(bed.connection, plan);
                if (reply.kind === 'ok' && reply.missing.length > 0)
                  throw new Error('an entry was not pending');
                if (s.send === 'twice') await sendCommit(bed.connection, plan);
              } else await lane.acquire();
            } else if (s.kind === 'restart') {
              lane = await startLane(bed, spec, 0);
            } else if (s.kind === 'rewind') {
              const id = ids[s.to % ids.length] as string;
              await rewindFunction(
                bed,
                'f',
                s.to === 20
                  ? { kind: 'end' }
                  : s.to === 19
                    ? { kind: 'start' }
                    : { kind: 'entry', partition: null, entryId: id },
              );
            } else {
              for await (const letter of listDeadLetters(bed, { limit: 2 })) {
                if (s.kind === 'replay') {
                  await replayDeadLetter(bed, letter);
                  await replayDeadLetter(bed, letter);
                } else {
                  await purgeDeadLetters(bed, [letter]);
                  await purgeDeadLetters(bed, [letter]);
                }
              }
            }
            const fn = only(await readLag(bed));
            const sum = fn.done + fn.parked + fn.dead + fn.pending + fn.lag;
            if (!fn.conserved || sum !== fn.appended)
              throw new Error(`after ${JSON.stringify(s)}: ${JSON.stringify(fn)}`);
            if (fn.parked + fn.pending + fn.lag > 0 !== (fn.oldestMs !== null))
              throw new Error(`age of the oldest: ${JSON.stringify(fn)}`);
            const letters = (await client.xlen('mr:{0}:dead:f')) + fn.purged;
            if (letters !== fn.dead) throw new Error(`${letters} letters, but dead is ${fn.dead}`);
            let inLists = 0;
            for (const key of await client.keys('mr:{0}:parked:*'))
              inLists += await client.llen(key);
            if (inLists !== fn.parked)
              throw new Error(`${inLists} records in lists, but parked is ${fn.parked}`);
          }
          await lane.acquire();
          await lane.drain();
          const fn = only(await readLag(bed));
          if (fn.parked + fn.pending + fn.lag !== 0 || fn.oldestMs !== null || !fn.conserved)
            throw new Error(`in the end: ${JSON.stringify(fn)}`);
        },
      ),
      { numRuns: 120 },
    );
    t.pass('holds');
  },
);
