/** An event may be in a record that cannot be read. Explain then says so, and claims nothing. */
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

const later = {
  retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
};

t.test('a parked record that cannot be read, and is not set aside yet', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  const lane = await startLane(bed, specOf('f', ['a.b'], later), 0);
  await publish(bed, 0, {
    'a.b': ['one', 'two', 'three'].map((id) => ({ id, subject: 's' })),
  });
  await lane.work(() => 'retry');
  await look.lset(bed.keys.parked(0, 'f', 's'), 0, 'nonsense');

  t.match((await explain(bed, { eventId: 'one' })).events, [
    {
      functions: [
        {
          state: 'unknown',
          why: 'it is done, or it is in a record that could not be read: 1 parked record of f in partition 0',
        },
      ],
    },
  ]);
  const [two] = (await explain(bed, { eventId: 'two' })).events;
  t.match(two?.functions, [
    {
      state: 'parked',
      place: 1,
      behind: null,
      why: /^it waits behind an unreadable record of the same subject \(place 1/,
    },
  ]);

  await look.lset(bed.keys.parked(0, 'f', 's'), 1, 'nonsense');
  await look.del(bed.keys.events(0, 'a.b'));
  const { events, searched } = await explain(bed, { eventId: 'one' });
  t.strictSame(events, []);
  t.match(searched, {
    complete: false,
    unseen: ['f in partition 0: unreadable parked records: 2'],
  });
});

t.test('a parked list that is no list, and is not set aside yet', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  const lane = await startLane(bed, specOf('f', ['a.b'], later), 0);
  await publish(bed, 0, { 'a.b': [{ id: 'one', subject: 's' }] });
  await lane.work(() => 'retry');
  await look.set(bed.keys.parked(0, 'f', 's'), 'somebody else');
  t.match((await explain(bed, { eventId: 'one' })).events, [
    { functions: [{ state: 'unknown', why: /: 1 parked list of f in partition 0$/ }] },
  ]);
});

t.test('records of the schedule and of an outbox', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  await look.hset(bed.keys.scheduledEvents(0), 'one', 'nonsense');
  await look.xadd(bed.keys.outbox(0), '*', 'to', 'nonsense');
  for (const query of [{ eventId: 'one' }, { subject: 's' }]) {
    t.match(await explain(bed, query), {
      waiting: [],
      searched: {
        complete: false,
        unseen: [
          'partition 0: unreadable scheduled event: 1',
          'partition 0: unreadable outbox record: 1',
        ],
      },
    });
  }
});

t.test('a parked record that cannot be read, and is set aside as a dead letter', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  const { counters, dead, events } = bed.keys;
  const lane = await startLane(bed, specOf('f', ['a.b'], later), 0);
  await publish(bed, 0, { 'a.b': [{ id: 'one', subject: 's' }] });
  await lane.work(() => 'done');
  await look.xadd(dead(0, 'f'), '*', 'kind', 'record', 'type', 'a.b', 'subject', 's');
  await look.xadd(dead(0, 'f'), '*', 'kind', 'entry', 'type', 'a.b', 'entry', '1-1');
  await look.del(events(0, 'a.b'));
  t.ok(await look.exists(counters(0)));

  const unseen = (count: string): object => ({
    events: [],
    searched: { complete: false, unseen: [`f in partition 0: unreadable ${count}`] },
  });
  t.match(await explain(bed, { eventId: 'two' }), unseen('dead letters: 2'));
  t.match(await explain(bed, { subject: 's' }), unseen('dead letters: 2'));
  t.match(await explain(bed, { subject: 'other' }), unseen('dead letter: 1'), 'it names its own');
});

t.test('a stream entry that cannot be read, and holds the id', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  await startLane(bed, specOf('f', ['a.b'], later), 0);
  const corrupt = Buffer.from('\xff nonsense with the id two in it', 'latin1');
  await look.xadd(bed.keys.events(0, 'a.b'), '*', 'b', corrupt);
  for (const query of [{ eventId: 'two' }, { subject: 'two' }]) {
    t.match(await explain(bed, query), {
      events: [],
      searched: { complete: false, unseen: ['partition 0: unreadable stream entry: 1'] },
    });
  }
  t.match(await explain(bed, { eventId: 'three' }), { searched: { complete: true } });
});
