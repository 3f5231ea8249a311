/**
 * An unreadable parked record costs only itself: it is dead-lettered with its bytes, it is counted,
 * and its lane goes on.
 */
import t from 'tap';
import { explain } from '../../../src/explain/explain.ts';
import { readLag } from '../../../src/lag/lag.ts';
import type { DeadLetter } from '../../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import { letters, makeBed, publish, specOf, startLane } from '../bare-lane.ts';

const DAMAGE: Readonly<Record<string, (record: Buffer) => Buffer>> = {
  'random bytes': () => Buffer.from('9f3a00ffb2c4d1e8', 'hex'),
  empty: () => Buffer.alloc(0),
  'one byte': () => Buffer.from([0x0a]),
  truncated: (record) => record.subarray(0, record.length - 1),
  'cut in its event': (record) => record.subarray(0, 6),
  'unknown fields only': () => Buffer.from([0x78, 0x01]),
  'a text that is no protobuf': () => Buffer.from('{"not":"a record"}'),
  'invalid UTF-8 in its subject': (record) => Buffer.concat([record, Buffer.from([0x62, 1, 0xff])]),
  'a number without end': (record) => Buffer.concat([record, Buffer.alloc(11, 0xff)]),
};

t.test(
  'each kind of damage, first in its list and behind another, with one type and with two',
  async (t) => {
    const bed = await makeBed(t, 1);
    const look = bed.redis.client();
    for (const [name, damage] of Object.entries(DAMAGE)) {
      for (const place of [0, 1]) {
        for (const types of [['a.b'], ['c.d', 'a.b']]) {
          await look.flushdb();
          const lane = await startLane(bed, specOf('f', types), 0);
          const label = `${name}, place ${place}, ${types.length} types`;
          await publish(bed, 0, {
            'a.b': [
              { id: 'one', subject: 's' },
              { id: 'two', subject: 's' },
              { id: 'other', subject: 'o' },
            ],
          });
          if (types.length > 1) await publish(bed, 0, { 'c.d': [{ id: 'more', subject: 's' }] });
          await lane.work(({ subject }) => (subject === 's' ? 'retry' : 'done'));
          const key = bed.keys.parked(0, 'f', 's');
          const bytes = damage((await look.lindexBuffer(key, place)) as Buffer);
          await look.lset(key, place, bytes);
          const bad = place === 0 ? 'one' : 'two';
          await lane.drain();
          await publish(bed, 0, { 'a.b': [{ id: 'later', subject: 's' }] });
          await lane.drain();
          const total = 3 + types.length;
          t.match(
            (await readLag(bed)).functions,
            [{ appended: total, done: total - 1, dead: 1, parked: 0, conserved: true }],
            label,
          );
          const [letter, ...more] = await letters(bed);
          t.match(
            {
              more,
              kind: letter?.kind,
              reason: letter?.reason,
              type: letter?.type,
              subject: letter?.subject,
            },
            { more: [], kind: 'record', reason: 'decode', type: 'a.b', subject: 's' },
            label,
          );
          t.ok(letter?.bytes.equals(bytes), 'with its bytes');
          const [told] = (await explain(bed, { eventId: bad })).events;
          t.not(told?.functions[0]?.state, 'done', label);
          await t.rejects(replayDeadLetter(bed, letter as DeadLetter), { code: 'NOT_REPLAYABLE' });
          t.equal(await purgeDeadLetters(bed, [letter as DeadLetter]), 1);
          t.match((await readLag(bed)).functions, [
            { dead: 1, purged: 1, parked: 0, conserved: true },
          ]);
        }
      }
    }
  },
);

t.test('of a function that holds: its subject waits until the letter is purged', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  const lane = await startLane(bed, specOf('f', ['a.b'], { onDead: 'hold' }), 0);
  await publish(bed, 0, {
    'a.b': [
      { id: 'one', subject: 's' },
      { id: 'two', subject: 's' },
    ],
  });
  await lane.work(() => 'retry');
  await look.lset(bed.keys.parked(0, 'f', 's'), 0, 'x');
  await lane.drain();
  t.match((await readLag(bed)).functions, [{ done: 0, dead: 1, parked: 1, conserved: true }]);
  t.equal(await purgeDeadLetters(bed, await letters(bed)), 1);
  await lane.drain();
  t.match((await readLag(bed)).functions, [
    { done: 1, dead: 1, purged: 1, parked: 0, conserved: true },
  ]);
});

t.test('a key that is no list', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, {
    'a.b': [
      { id: 'one', subject: 's' },
      { id: 'two', subject: 's' },
      { id: 'three', subject: 'o' },
    ],
  });
  await lane.work(() => 'retry');
  await look.set(bed.keys.parked(0, 'f', 's'), 'somebody else');
  t.match((await readLag(bed)).functions, [{ parked: 3, conserved: true }]);
  t.equal((await explain(bed, { eventId: 'nobody' })).events.length, 0);
  await lane.drain();
  t.match((await readLag(bed)).functions, [{ done: 1, dead: 2, parked: 0, conserved: true }]);
  t.match(
    (await letters(bed)).map(({ kind, events, bytes }) => [kind, events, String(bytes)]),
    [['record', 2, 'somebody else']],
  );
});
