/** Lists may be longer than explain reads. Explain then says so, and claims nothing. */
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

/** Explain looks at 10,000 letters, and at 313 pages of 32 records. */
const EVENTS = 10_103;

t.test('an event that is parked or dead beyond the records looked at', async (t) => {
  const bed = await makeBed(t, 1);
  const retry = { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false };
  const parks = await startLane(
    bed,
    specOf('parks', ['a.b'], { retry, maxParkedPerSubject: 20_000 }),
    0,
  );
  const kills = await startLane(bed, specOf('kills', ['a.b']), 0);
  for (let first = 0; first < EVENTS; first += 1000) {
    const count = Math.min(1000, EVENTS - first);
    await publish(bed, 0, {
      'a.b': Array.from({ length: count }, (_, i) => ({ id: `e${first + i}`, subject: 's' })),
    });
  }
  await parks.drain(() => 'retry');
  await kills.drain(() => 'dead');

  t.match((await explain(bed, { eventId: 'e5' })).events, [
    {
      functions: [
        { function: 'kills', state: 'dead' },
        { function: 'parks', state: 'parked', place: 5 },
      ],
    },
  ]);
  t.match((await explain(bed, { eventId: 'e10100' })).events, [
    {
      functions: [
        { function: 'kills', state: 'unknown', why: /10000 of 10103 dead letters/ },
        { function: 'parks', state: 'unknown', why: /10016 of 10103 parked records/ },
      ],
    },
  ]);

  await bed.connection.command('DEL', bed.keys.events(0, 'a.b'));
  const { events, searched } = await explain(bed, { eventId: 'e10100' });
  t.strictSame(events, []);
  t.match(searched, {
    complete: false,
    unseen: [
      /kills in partition 0: 10000 of 10103 dead letters/,
      /parks in partition 0: 10000 of 10103 parked events/,
    ],
  });
});
