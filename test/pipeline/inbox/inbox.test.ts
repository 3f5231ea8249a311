/**
 * `dedupe` of a function: a settled event does not run again, whoever sends it again, and all
 * counts add up.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readLag, type FunctionLag } from '../../../src/lag/lag.ts';
import { listDeadLetters } from '../../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import { sendCommit } from '../../../src/pipeline/commit/commit.ts';
import { removeFunction } from '../../../src/upkeep/remove-function.ts';
import { rewindFunction } from '../../../src/rewind/rewind.ts';
import type { Deployment } from '../../../src/deployment.ts';
import { defineFunction } from '../../../src/define/index.ts';
import {
  encodeEvents,
  foreign,
  makeBed,
  publish,
  specOf,
  startLane,
  type Bed,
  type BareLane,
  type Choose,
  type TestEvent,
} from '../bare-lane.ts';
import { settled } from '../../../scripts/lab/counters.ts';
import { openService, startDispatcher, testDir } from '../../../scripts/lab/dispatcher-process.ts';
import { completions, readHistory, runsOf } from '../../../scripts/lab/history.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';
import { until, is } from '../../../scripts/lab/until.ts';

const WINDOW = { windowMs: 600_000, maxIds: 1000 };
const e = (id: string, subject = 's'): TestEvent => ({ id, subject });
async function state(bed: Bed, name = 'f'): Promise<FunctionLag> {
  return (await readLag(bed)).functions.find((fn) => fn.name === name) as FunctionLag;
}
/** Records the events that would have run. */
function runner(outcome: Choose = () => 'done'): {
  readonly ran: string[];
  readonly choose: Choose;
} {
  const ran: string[] = [];
  return { ran, choose: (event) => (ran.push(event.id), outcome(event)) };
}

t.test(
  'sent twice by a foreign producer: in two entries, in one batch, in one entry',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(bed, specOf('f', ['a.b', 'a.c'], { dedupe: WINDOW }), 0);
    const plain = await startLane(bed, specOf('plain', ['a.b', 'a.c']), 0);
    const { ran, choose } = runner();
    await publish(bed, 0, { 'a.b': [e('1'), e('2', 'x')] });
    await lane.drain(choose);
    await foreign(bed, 0, 'a.b', [e('1'), e('3')], true);
    await foreign(bed, 0, 'a.c', [e('2', 'x')]);
    await lane.drain(choose);
    await foreign(bed, 0, 'a.b', [e('4'), e('4'), e('5')]);
    await foreign(bed, 0, 'a.b', [e('5'), e('6')], true);
    await lane.drain(choose);
    await plain.drain();
    t.strictSame(ran, ['1', '2', '3', '4', '5', '6']);
    t.match(await state(bed), {
      appended: 10,
      done: 10,
      skipped: 4,
      parked: 0,
      conserved: true,
      types: [
        { type: 'a.b', done: 9, skipped: 3 },
        { type: 'a.c', done: 1, skipped: 1 },
      ],
    });
    t.match(
      await state(bed, 'plain'),
      { done: 10, skipped: 0, conserved: true },
      'who did not ask runs them all',
    );
    t.strictSame(await bed.connection.command('KEYS', '*inbox:plain*'), []);
    t.match(await bed.connection.command('KEYS', '*inbox:f*'), { length: 1 });
  },
);

t.test(
  'a retry of its own is no duplicate; a second copy waits behind the first, and is skipped when that is settled',
  async (t) => {
    const bed = await makeBed(t, 1);
    for (const ordering of ['key', 'none'] as const) {
      const name = `f-${ordering}`;
      const lane = await startLane(
        bed,
        specOf(name, [`a.${ordering}`], { dedupe: WINDOW, ordering }),
        0,
      );
      const { ran, choose } = runner(({ id, attempts }) =>
        id === 'bad' && attempts < 2 ? 'retry' : 'done',
      );
      await foreign(bed, 0, `a.${ordering}`, [e('bad'), e('bad'), e('good')]);
      await lane.work(choose);
      await foreign(bed, 0, `a.${ordering}`, [e('bad')]);
      await lane.drain(choose);
      t.strictSame(
        ran.filter((id) => id === 'bad'),
        ['bad', 'bad', 'bad'],
        `${ordering}: three attempts of one copy`,
      );
      t.match(
        await state(bed, name),
        { appended: 4, done: 4, skipped: 2, parked: 0, dead: 0, conserved: true },
        ordering,
      );
      t.strictSame(await bed.connection.command('KEYS', `*:parked:${name}:*`), []);
    }
  },
);

t.test('a dead event is settled; its replay runs all the same', async (t) => {
  const bed = await makeBed(t, 1);
  for (const onDead of ['continue', 'hold'] as const) {
    const lane = await startLane(
      bed,
      specOf(onDead, [`a.${onDead}`], { dedupe: WINDOW, onDead }),
      0,
    );
    const first = runner(({ id }) => (id === 'dead' ? 'dead' : 'done'));
    await foreign(bed, 0, `a.${onDead}`, [e('dead'), e('dead'), e('x')]);
    await lane.drain(first.choose);
    await foreign(bed, 0, `a.${onDead}`, [e('dead')]);
    await lane.drain(first.choose);
    t.match(await state(bed, onDead), { dead: 1, conserved: true }, `${onDead}: one letter`);
    t.equal(first.ran.filter((id) => id === 'dead').length, 1);
    const again = runner();
    const deployment = bed as unknown as Deployment;
    for await (const letter of listDeadLetters(deployment, { function: onDead }))
      t.equal(await replayDeadLetter(deployment, letter), 'replayed');
    await lane.drain(again.choose);
    t.strictSame(again.ran, ['dead']);
    t.match(await state(bed, onDead), { done: 4, skipped: 2, dead: 0, parked: 0, conserved: true });
  }
});

t.test(
  'remembered with the commit and not before: a lost turn runs again, a repeated commit counts once',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(bed, specOf('f', ['a.b'], { dedupe: WINDOW }), 0);
    const { ran, choose } = runner();
    await publish(bed, 0, { 'a.b': [e('1')] });
    const lost = await lane.turn(choose);
    await lane.acquire();
    if (lost === null || lost === 'stale') throw new Error('no turn');
    t.match(await sendCommit(bed.connection, lost), { kind: 'stale' });
    await foreign(bed, 0, 'a.b', [e('1')]);
    const plan = await lane.turn(choose);
    if (plan === null || plan === 'stale') throw new Error('no turn');
    t.match(await sendCommit(bed.connection, plan), { kind: 'ok', repeated: false });
    t.match(await sendCommit(bed.connection, plan), { kind: 'ok', repeated: true });
    await lane.drain(choose);
    t.strictSame(ran, ['1', '1'], 'what was not committed runs again');
    t.match(await state(bed), { appended: 2, done: 2, skipped: 1, conserved: true });
  },
);

t.test('bounded in number and time; forgotten by a rewind and by removal', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(
    bed,
    specOf('f', ['a.b'], { dedupe: { windowMs: 300, maxIds: 1200 } }),
    0,
  );
  const { ran, choose } = runner();
  const many = Array.from({ length: 1500 }, (_, i) => e(`m${i}`, `s${i}`));
  await publish(bed, 0, { 'a.b': many });
  await lane.drain(choose);
  t.ok(Number(await bed.connection.command('HGET', bed.keys.counters(0), 'unremembered:f')) >= 300);
  await until('all are forgotten', async () =>
    is(((await bed.connection.command('KEYS', '*inbox:f*')) as string[]).length, 0),
  );
  await foreign(bed, 0, 'a.b', [e('m0', 's0')]);
  await lane.drain(choose);
  t.equal(ran.length, 1501, 'beyond the window it is a new event');

  const long = await startLane(bed, specOf('g', ['a.b'], { dedupe: WINDOW }), 0);
  await long.drain();
  await rewindFunction(bed, 'g', { kind: 'start' });
  await long.acquire();
  const again = runner();
  await long.drain(again.choose);
  t.equal(new Set(again.ran).size, 1500, 'rewound: they run again');
  t.match(await state(bed, 'g'), { appended: 1501, done: 1501, skipped: 1, conserved: true });
  await bed.connection.command('DEL', bed.keys.lease(0, 'g'));
  await removeFunction(bed as unknown as Deployment, 'g', false);
  t.strictSame(await bed.connection.command('KEYS', '*inbox:g*'), []);
});

t.test(
  'through a dispatcher: each id completes once, whatever happens to it; a corrupt entry is no duplicate of anything',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const publisher = (await openService(t, redis.url, 1)).publisher();
    const dispatcher = await startDispatcher(t, {
      url: redis.url,
      functions: 'inbox',
      history,
      environment: { WORKERS: '2' },
    });
    const data = (order: string, key: string) => ({
      key,
      number: 0,
      order,
      filler: new Uint8Array(0),
    });
    const orders = ['ok', 'throw-once', 'throw', 'non-retryable', 'slow:30', 'exit'];
    const items = Array.from({ length: 120 }, (_, i) => ({
      type: 'test.event',
      id: `e${i}`,
      data: data(i % 40 === 39 ? 'exit' : (orders[i % 5] as string), `k${i % 11}`),
    }));
    await publisher.publishMany(items);
    await publisher.publishMany([...items, ...items]);
    await look.xadd(
      'mr:{0}:events:test.event',
      '*',
      'b',
      encodeEvents([e('e0', 'k0')]),
      'n',
      '1',
      'c',
      '1',
    );
    await look.xadd('mr:{0}:events:test.event', '*', 'b', encodeEvents([e('e0', 'k0')]), 'n', '2');
    const failing = items.filter(
      ({ data: { order } }) => order === 'throw' || order === 'non-retryable' || order === 'exit',
    ).length;
    await settled(look, 'inbox', 1, 363);
    await publisher.publishMany(items);
    const end = await settled(look, 'inbox', 1, 483);
    t.equal(end.dead, failing + 3, 'one letter per id, and the corrupt entries');
    const skipped = Number(await look.hget('mr:{0}:counters', 'skipped:inbox:test.event'));
    t.equal(skipped, 360);
    t.equal(await dispatcher.terminate(), 0);
    const done = completions(runsOf(readHistory(history)));
    t.equal(done.size, 120 - failing);
    t.ok(
      [...done.values()].every((times) => times === 1),
      'each completed once',
    );
  },
);

t.test('whatever is sent how often and turns out how: an id is settled once', async (t) => {
  const bed = await makeBed(t, 1);
  let run = 0;
  const outcome = fc.constantFrom(
    'done' as const,
    'done' as const,
    'retry' as const,
    'dead' as const,
  );
  const step = fc.oneof(
    fc.record({
      do: fc.constant('send' as const),
      ids: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 5 }),
    }),
    fc.record({
      do: fc.constant('work' as const),
      outcomes: fc.array(outcome, { minLength: 1, maxLength: 4 }),
      n: fc.integer({ min: 1, max: 6 }),
    }),
    fc.record({ do: fc.constant('crash' as const), n: fc.integer({ min: 1, max: 6 }) }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 20 }),
      fc.constantFrom('key' as const, 'none' as const),
      async (steps, ordering) => {
        const [fn, type] = [`f${++run}`, `t.${run}`];
        const lane: BareLane = await startLane(
          bed,
          specOf(fn, [type], { dedupe: WINDOW, ordering }),
          0,
        );
        const sent = new Set<string>();
        for (const one of steps) {
          if (one.do === 'send') {
            const events = one.ids.map((n) => e(`${run}-${n}`, `s${n % 2}`));
            events.forEach(({ id }) => sent.add(id));
            await foreign(bed, 0, type, events);
          } else if (one.do === 'work') {
            let at = 0;
            await lane.work(() => one.outcomes[at++ % one.outcomes.length] as 'done', one.n);
          } else {
            await lane.turn(() => 'done', one.n);
            await lane.acquire();
          }
        }
        await lane.drain();
        const end = await state(bed, fn);
        if (!end.conserved || end.parked > 0 || end.done - end.skipped + end.dead !== sent.size)
          throw new Error(JSON.stringify({ end: { ...end, types: [] }, sent: sent.size }));
        await bed.connection.command('DEL', bed.keys.counters(0));
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});

t.test('dedupe is checked', (t) => {
  const define = (dedupe: unknown) => () =>
    defineFunction({
      name: 'f',
      on: ['test.event'],
      dedupe: dedupe as { windowMs: number },
      handle: () => undefined,
    });
  for (const bad of [
    null,
    5,
    {},
    { windowMs: 10 },
    { windowMs: 1e9 },
    { windowMs: 1000, maxIds: 0 },
    { windowMs: 1000, what: 1 },
  ])
    t.throws(define(bad), { code: 'CONFIG' }, JSON.stringify(bad));
  t.strictSame(define({ windowMs: 1000 })().spec.dedupe, { windowMs: 1000, maxIds: 200_000 });
  t.end();
});
