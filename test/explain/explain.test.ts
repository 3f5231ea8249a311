import t from 'tap';
import { partitionOf } from '../../src/core/partition.ts';
import { explain } from '../../src/explain/explain.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { events, foreign, makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

const later = {
  retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
};

t.test('every state, with why', async (t) => {
  const bed = await makeBed(t, 2);
  const p = partitionOf('x', 2);
  const lane = await startLane(bed, specOf('f', ['a.b'], later), p);
  await publish(bed, p, {
    'a.b': [
      { id: 'one', subject: 'x' },
      { id: 'two', subject: 'x' },
      { id: 'three', subject: 'y' },
      { id: 'four', subject: 'z' },
    ],
  });
  await publish(bed, p, { 'a.b': [{ id: 'five', subject: 'z' }] });
  t.match((await explain(bed, { eventId: 'four' })).events, [
    {
      id: 'four',
      subject: 'z',
      partition: p,
      index: 3,
      inStream: true,
      functions: [
        {
          function: 'f',
          state: 'lag',
          eventsBefore: 3,
          dispatcher: 'test',
          why: /3 events of a.b are before it/,
        },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'one' })).events, [
    { functions: [{ state: 'lag', eventsBefore: 0, why: /the next one/ }] },
  ]);
  t.match((await explain(bed, { eventId: 'five' })).events, [
    { functions: [{ state: 'lag', eventsBefore: 4 }] },
  ]);

  await lane.work(({ id }) => (id === 'one' ? 'retry' : id === 'three' ? 'dead' : 'done'), 1);
  t.match((await explain(bed, { eventId: 'one' })).events, [
    {
      functions: [
        {
          state: 'parked',
          attempts: 1,
          place: 0,
          behind: null,
          history: [{ attempt: 1, name: 'TestError' }],
          why: /attempt 1 failed .* due in \d+ ms/,
        },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'two' })).events, [
    {
      functions: [
        {
          state: 'parked',
          attempts: 0,
          place: 1,
          behind: 'one',
          why: /waits behind event one of the same subject/,
        },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'three' })).events, [
    {
      functions: [
        {
          state: 'dead',
          reason: 'non-retryable',
          attempts: 1,
          history: [{ attempt: 1 }],
          why: /dlq replay f\//,
        },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'four' })).events, [{ functions: [{ state: 'done' }] }]);
  await lane.turn(() => 'done');
  t.match((await explain(bed, { eventId: 'five' })).events, [
    { functions: [{ state: 'pending', deliveries: 1, dispatcher: 'test', why: /running/ }] },
  ]);
  await bed.connection.command('DEL', bed.keys.lease(p, 'f'));
  t.match((await explain(bed, { eventId: 'five' })).events, [
    { functions: [{ state: 'pending', dispatcher: null, why: /no dispatcher owns lane/ }] },
  ]);

  t.match(
    (await explain(bed, { subject: 'x' })).events.map((e) => [e.id, e.functions[0]?.state]),
    [
      ['one', 'parked'],
      ['two', 'parked'],
    ],
  );
  t.match(await explain(bed, { eventId: 'nine' }), {
    events: [],
    searched: { events: 5, partitions: 2, complete: true },
  });
  t.match(await explain(bed, { subject: 'nobody' }), { events: [], searched: { partitions: 1 } });

  for await (const letter of listDeadLetters(bed)) await replayDeadLetter(bed, letter);
  t.match((await explain(bed, { eventId: 'three' })).events, [
    { functions: [{ state: 'parked', attempts: 0, why: /replayed/ }] },
  ]);
});

t.test('found aside when the stream is trimmed; a scan that ends early says so', async (t) => {
  const bed = await makeBed(t, 2);
  const lane = await startLane(bed, specOf('f', ['a.b'], later), 1);
  const none = await startLane(bed, specOf('n', ['a.b'], { ...later, ordering: 'none' }), 1);
  await publish(bed, 1, {
    'a.b': [
      { id: 'parked', subject: 's' },
      { id: 'dead', subject: 't' },
      { id: 'done', subject: 'u' },
    ],
  });
  const choose = ({ id }: { id: string }) =>
    id === 'parked' ? ('retry' as const) : id === 'dead' ? ('dead' as const) : ('done' as const);
  await lane.drain(choose);
  await none.drain(choose);
  await bed.connection.command('XTRIM', bed.keys.events(1, 'a.b'), 'MAXLEN', 0);
  t.match((await explain(bed, { eventId: 'parked' })).events, [
    {
      inStream: false,
      functions: [
        { function: 'f', state: 'parked' },
        { function: 'n', state: 'parked' },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'dead' })).events, [
    { inStream: false, functions: [{ state: 'dead' }, { state: 'dead' }] },
  ]);
  t.match((await explain(bed, { eventId: 'done' })).events, []);
  for (let i = 0; i < 100; i++) await publish(bed, 1, { 'a.b': events(2) });
  t.match(await explain(bed, { eventId: 'nine' }, { scan: 50 }), {
    events: [],
    searched: { complete: false },
  });
  t.match(await explain(bed, { eventId: 'nine' }), {
    events: [],
    searched: { events: 200, complete: true },
  });
});

t.test(
  "before a function's start; foreign entries; corrupt entries; a lost group; nobody consumes it",
  async (t) => {
    const bed = await makeBed(t, 1);
    await publish(bed, 0, {
      'a.b': [{ id: 'early', subject: 's' }],
      'z.z': [{ id: 'unread', subject: 's' }],
    });
    await startLane(bed, specOf('late', ['a.b'], { startFrom: 'end' }), 0);
    t.match((await explain(bed, { eventId: 'early' })).events, [
      { functions: [{ state: 'skipped', why: /before the place/ }] },
    ]);
    t.strictSame((await explain(bed, { eventId: 'unread' })).events[0]?.functions, []);
    await bed.connection.command(
      'XADD',
      bed.keys.events(0, 'a.b'),
      '*',
      'b',
      'rubbish with far in it',
      'n',
      3,
    );
    await foreign(bed, 0, 'a.b', [
      { id: 'near', subject: 's' },
      { id: 'far', subject: 's' },
    ]);
    t.match((await explain(bed, { eventId: 'far' })).events, [
      { functions: [{ state: 'lag', eventsBefore: 4 }] },
    ]);
    await bed.connection.command('XGROUP', 'DESTROY', bed.keys.events(0, 'a.b'), 'late');
    t.match((await explain(bed, { eventId: 'far' })).events, [
      { functions: [{ state: 'lag', why: /consumer group is gone/ }] },
    ]);
    t.match((await explain(bed, { subject: 's' }, { limit: 2 })).events.length, 2);
  },
);

t.test('the unsettled events of the function, by state, with the age of the oldest', async (t) => {
  const bed = await makeBed(t, 2);
  const p = partitionOf('x', 2);
  const lane = await startLane(bed, specOf('f', ['a.b'], { ...later, onDead: 'hold' }), p);
  await publish(bed, p, {
    'a.b': [
      { id: 'one', subject: 'x' },
      { id: 'two', subject: 'x' },
      { id: 'three', subject: 'y' },
      { id: 'five', subject: 'z' },
    ],
  });
  const stateOf = async (eventId: string) =>
    (await explain(bed, { eventId })).events[0]?.functions[0];
  t.match(await stateOf('one'), {
    state: 'lag',
    unsettled: { lag: { events: 4, oldestMs: Number }, parked: { events: 0, oldestMs: null } },
  });
  await lane.work(({ id }) => (id === 'one' ? 'retry' : id === 'three' ? 'dead' : 'done'), 1);
  await publish(bed, p, { 'a.b': [{ id: 'four', subject: 'y' }] });
  await lane.work(() => 'done', 1);
  await publish(bed, p, { 'a.b': [{ id: 'six', subject: 'z' }] });
  const states = {
    lag: { events: 1, oldestMs: Number },
    pending: { events: 0, oldestMs: null },
    parked: { events: 2, oldestMs: Number },
    held: { events: 1, oldestMs: Number },
  };
  for (const id of ['one', 'four', 'six']) t.match(await stateOf(id), { unsettled: states }, id);
  const [parked, lag] = await Promise.all([stateOf('one'), stateOf('six')]);
  t.ok((parked?.unsettled?.parked.oldestMs ?? 0) >= (lag?.unsettled?.lag.oldestMs ?? Infinity));
  for (const id of ['three', 'five']) t.notOk('unsettled' in ((await stateOf(id)) ?? {}), id);
});
