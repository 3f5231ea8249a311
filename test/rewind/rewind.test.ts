import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { sendCommit } from '../../src/pipeline/commit/commit.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { UnknownFunctionError } from '../../src/redis/counters.ts';
import { defineScript } from '../../src/redis/script.ts';
import {
  idBefore,
  parseRewindTarget,
  recount,
  rewindFunction,
  RewindTargetError,
} from '../../src/rewind/rewind.ts';
import { dump } from '../../scripts/lab/counters.ts';
import {
  events,
  foreign,
  makeBed,
  publish,
  specOf,
  startLane,
  type Bed,
} from '../pipeline/bare-lane.ts';

const script = defineScript({
  url: new URL('../../src/rewind/rewind.lua', import.meta.url),
  keys: 'variable',
});
const state = async (bed: Bed) => {
  const [fn] = (await readLag(bed)).functions;
  return (
    fn && {
      appended: fn.appended,
      done: fn.done,
      parked: fn.parked,
      dead: fn.dead,
      pending: fn.pending,
      lag: fn.lag,
      conserved: fn.conserved,
    }
  );
};

t.test('targets', (t) => {
  t.strictSame(parseRewindTarget('start'), { kind: 'start' });
  t.strictSame(parseRewindTarget('end'), { kind: 'end' });
  t.strictSame(parseRewindTarget('1795450694309'), { kind: 'time', ms: 1795450694309 });
  t.strictSame(parseRewindTarget('2026-01-31T12:00:00Z'), {
    kind: 'time',
    ms: Date.UTC(2026, 0, 31, 12),
  });
  t.strictSame(parseRewindTarget('2026-01-31T12:00:00.5+01:00'), {
    kind: 'time',
    ms: Date.UTC(2026, 0, 31, 11) + 500,
  });
  t.strictSame(parseRewindTarget('2026-01-31'), { kind: 'time', ms: Date.UTC(2026, 0, 31) });
  t.strictSame(parseRewindTarget('17-3'), { kind: 'entry', partition: null, entryId: '17-3' });
  t.strictSame(parseRewindTarget('3/017-003'), { kind: 'entry', partition: 3, entryId: '17-3' });
  t.strictSame(parseRewindTarget('3/17-3/5'), { kind: 'entry', partition: 3, entryId: '17-3' });
  for (const bad of [
    '',
    'START',
    'yesterday',
    '1.5',
    '-1',
    '12345678901234567',
    '2026-01-31T12:00:00',
    '2026-13-01',
    '1969-01-01',
    '17-3/5',
    '3/17',
    '3/17-',
    'a/17-3',
    '99999999999999999999-0',
    '3/17-3/5/6',
    'March',
  ]) {
    t.throws(() => parseRewindTarget(bad), RewindTargetError, bad);
  }
  t.strictSame(['0-0', '0-1', '5-0', '5-7'].map(idBefore), [
    '0-0',
    '0-0',
    '4-18446744073709551615',
    '5-6',
  ]);
  t.end();
});

t.test(
  'start, end, positions, times; kept are parked and dead; a turn under way is refused',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(
      bed,
      specOf('f', ['a.b', 'a.c'], {
        retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
      }),
      0,
    );
    await publish(bed, 0, { 'a.b': events(5, 'ok') });
    const middle = await publish(bed, 0, { 'a.b': events(2, 'bad'), 'a.c': events(3, 'worse') });
    await publish(bed, 0, { 'a.c': events(4, 'ok') });
    await lane.drain(({ subject }) =>
      subject === 'ok' ? 'done' : subject === 'bad' ? 'retry' : 'dead',
    );
    t.strictSame(await state(bed), {
      appended: 14,
      done: 9,
      parked: 2,
      dead: 3,
      pending: 0,
      lag: 0,
      conserved: true,
    });

    await publish(bed, 0, { 'a.b': events(1, 'ok') });
    const underWay = await lane.turn(() => 'done');
    if (underWay === null || underWay === 'stale') throw new Error('nothing taken');
    t.match(await rewindFunction(bed, 'f', { kind: 'start' }), {
      function: 'f',
      events: 15,
      partitions: [
        {
          partition: 0,
          types: [
            { type: 'a.b', after: '0-0', events: 8 },
            { type: 'a.c', events: 7 },
          ],
        },
      ],
    });
    t.strictSame(await state(bed), {
      appended: 20,
      done: 0,
      parked: 2,
      dead: 3,
      pending: 0,
      lag: 15,
      conserved: true,
    });
    t.strictSame(await sendCommit(bed.connection, underWay), { kind: 'stale' });
    t.equal(await lane.work(() => 'done'), 'stale');
    await lane.acquire();
    await lane.drain();
    t.strictSame(
      await state(bed),
      { appended: 20, done: 13, parked: 4, dead: 3, pending: 0, lag: 0, conserved: true },
      'events of a parked subject wait behind it',
    );

    t.match(await rewindFunction(bed, 'f', { kind: 'entry', partition: 0, entryId: middle }), {
      events: 10,
    });
    t.match(await state(bed), { done: 0, lag: 10, conserved: true });
    t.match(await rewindFunction(bed, 'f', { kind: 'time', ms: Number(middle.split('-')[0]) }), {
      partitions: [{ types: [{ after: idBefore(`${middle.split('-')[0]}-0`) }, {}] }],
    });
    t.match(await state(bed), { conserved: true });
    t.match(await rewindFunction(bed, 'f', { kind: 'time', ms: Date.now() + 1e9 }), { events: 0 });
    t.match(await state(bed), { lag: 0, done: 0, conserved: true });
    t.match(await rewindFunction(bed, 'f', { kind: 'end' }), { events: 0 });
    t.match(await rewindFunction(bed, 'f', { kind: 'end' }), { events: 0 }, 'sent again');
    t.strictSame(await state(bed), {
      appended: 7,
      done: 0,
      parked: 4,
      dead: 3,
      pending: 0,
      lag: 0,
      conserved: true,
    });
  },
);

t.test('foreign entries, counted or not, before and behind the target', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await foreign(bed, 0, 'a.b', events(2));
  const own = await publish(bed, 0, { 'a.b': events(3) });
  await foreign(bed, 0, 'a.b', events(4));
  await publish(bed, 0, { 'a.b': events(5) });
  await lane.drain();
  t.match(await rewindFunction(bed, 'f', { kind: 'entry', partition: null, entryId: own }), {
    events: 12,
  });
  t.match(await state(bed), { lag: 12, conserved: true });
  await publish(bed, 0, { 'a.b': events(6) });
  t.match(await rewindFunction(bed, 'f', { kind: 'start' }), { events: 20 });
  t.match(await state(bed), { lag: 20, conserved: true });
  await lane.acquire();
  await lane.drain();
  t.match(await state(bed), { done: 20, lag: 0, conserved: true });
});

t.test('a trimmed stream: start is what is retained', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  for (let i = 0; i < 4; i++) await publish(bed, 0, { 'a.b': events(2) });
  await lane.drain();
  const client = bed.redis.client();
  await client.xtrim('mr:{0}:events:a.b', 'MAXLEN', '=', 1 as never);
  await client.hincrby('mr:{0}:counters', 'entries:a.b', -3);
  await client.hincrby('mr:{0}:counters', 'trimmed:a.b', 6);
  t.match(await rewindFunction(bed, 'f', { kind: 'start' }), { events: 2 });
  t.match(await state(bed), { lag: 2, appended: 2, conserved: true });
});

t.test('what cannot be rewound changes nothing', async (t) => {
  const bed = await makeBed(t, 2);
  await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(2) });
  const before = await dump(bed.redis.client());
  await t.rejects(rewindFunction(bed, 'g', { kind: 'start' }), UnknownFunctionError);
  await t.rejects(
    rewindFunction(bed, 'f', { kind: 'entry', partition: 2, entryId: '1-1' }),
    RewindTargetError,
  );
  t.strictSame(
    await rewindFunction(bed, 'f', { kind: 'entry', partition: 1, entryId: '1-1' }),
    { function: 'f', partitions: [], events: 0 },
    'not registered there',
  );
  const keys = [
    'mr:{0}:lease:f',
    'mr:{0}:counters',
    'mr:{0}:inbox:f:0',
    'mr:{0}:inbox:f:1',
    'mr:{0}:events:a.b',
  ];
  t.strictSame(await script.run(bed.connection, keys, ['g', '0', '0', 'a.b', '0-0', '0-0', 0]), [
    'unknown',
  ]);
  t.strictSame(await script.run(bed.connection, keys, ['f', '0', '0', 'a.b', '0-0', '5-5', 0]), [
    'again',
    'a.b',
  ]);
  await bed.connection.command('XADD', keys[4] as string, '*', 'b', 'x');
  t.strictSame(await script.run(bed.connection, keys, ['f', '0', '0', 'a.b', '0-0', '0-0', 0]), [
    'again',
    'a.b',
  ]);
  t.match(await dump(bed.redis.client()), { 'mr:{0}:counters': before['mr:{0}:counters'] });
});

t.test(
  "ordering 'none', a lost group: what is delivered again does not count twice, and is told until it has been taken off",
  async (t) => {
    const bed = await makeBed(t, 1);
    const { connection, keys } = bed;
    const spec = specOf('f', ['a.b'], { ordering: 'none' });
    const lane = await startLane(bed, spec, 0);
    const first = await publish(bed, 0, { 'a.b': events(5, 'ok') });
    await publish(bed, 0, { 'a.b': [...events(4, 'ok'), ...events(1, 'dead')] });
    await lane.drain(({ subject }) => (subject === 'dead' ? 'dead' : 'done'));
    t.match(await state(bed), { appended: 10, done: 9, dead: 1, conserved: true });

    // Another dispatcher had a pending entry there.
    await connection.command('HSET', keys.counters(0), 'at:f:a.b', first);
    await connection.command('XGROUP', 'DESTROY', keys.events(0, 'a.b'), 'f');
    t.strictSame(await registerFunction(connection, keys, 0, spec), ['recount']);
    t.strictSame(
      await registerFunction(connection, keys, 0, spec),
      ['recount'],
      'also where the first one to notice died',
    );
    await recount(bed, 'f', 0, ['a.b']);
    t.strictSame(await registerFunction(connection, keys, 0, spec), ['exists']);
    t.match(await state(bed), { appended: 10, done: 4, dead: 1, lag: 5, conserved: true });
    await lane.acquire();
    await lane.drain();
    t.match(await state(bed), { appended: 10, done: 9, dead: 1, lag: 0, conserved: true });
  },
);
