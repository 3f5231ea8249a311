/**
 * Values that somebody else has written into Millrace's keys. A count costs itself. A key of
 * another type is named, and nothing is lost.
 */
import t from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { readLosses } from '../../src/lag/losses.ts';
import { adoptForeign } from '../../src/lag/adopt.ts';
import { expectedType } from '../../src/redis/key-types.ts';
import { createKeys } from '../../src/redis/keys.ts';
import type { DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { noteSpoilt } from '../../src/upkeep/spoilt-counts.ts';
import { ParkedSweep } from '../../src/upkeep/parked-sweep.ts';
import {
  type Bed,
  events,
  foreign,
  letters,
  makeBed,
  publish,
  specOf,
  startLane,
} from './bare-lane.ts';

/**
 * Everything that counts, once: appends, outcomes, deaths, a replay, a purge, foreign entries, a
 * sweep.
 */
async function live(bed: Bed): Promise<void> {
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(3, 's') });
  await foreign(bed, 0, 'a.b', events(1, 's'));
  await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
  await publish(bed, 0, {
    'a.b': [
      { id: 'dies', subject: 'd' },
      { id: 'dies too', subject: 'e' },
      { id: 'again', subject: 'r' },
    ],
  });
  let tried = false;
  await lane.drain(({ id }) => {
    if (id.startsWith('dies')) return 'dead';
    if (id !== 'again' || tried) return 'done';
    tried = true;
    return 'retry';
  });
  const [first, second] = (await letters(bed)) as [DeadLetter, DeadLetter];
  await replayDeadLetter(bed, first);
  await purgeDeadLetters(bed, [second]);
  await lane.drain();
  await new ParkedSweep(bed.connection, bed.keys).sweep({
    fn: 'f',
    partition: 0,
    types: ['a.b'],
    maxDelayMs: 0,
  });
  await readLag(bed);
}

const GARBAGE = ['', 'x', '1.5', '1e3', '9223372036854775807', ' 7', '0x10', 'nan'];

t.test('each field of the counters, whatever it holds: everything goes on', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  await live(bed);
  const fields = await look.hkeys(bed.keys.counters(0));
  t.ok(fields.length > 15, fields.join(' '));
  for (const field of fields) {
    for (const text of GARBAGE) {
      await look.hset(bed.keys.counters(0), field, text);
      const [, fn] = field.split(':');
      if (field.startsWith('types:') || fn === undefined) await look.del(bed.keys.counters(0));
      await look.del(bed.keys.lease(0, 'f'), bed.keys.dead(0, 'f'));
      await live(bed);
      t.equal(
        await look.llen(bed.keys.parked(0, 'f', 'r')),
        0,
        `${field} = ${JSON.stringify(text)}`,
      );
    }
    await look.flushdb();
    await live(bed);
  }
});

t.test('a count that was written over is in the loss ledger, once', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  await live(bed);
  await look.hset(bed.keys.counters(0), 'done:f:a.b', 'x', 'appended:a.b', '1.5');
  await live(bed).catch((error: unknown) => t.fail(String(error)));
  t.strictSame((await noteSpoilt(bed.connection, bed.keys, 0)).toSorted(), [
    'appended:a.b',
    'done:f:a.b',
  ]);
  t.strictSame(await noteSpoilt(bed.connection, bed.keys, 0), []);
  t.match(await readLosses(bed), [
    { kind: 'counts', message: /held "(x|1\.5)", which is no number/ },
    { kind: 'counts' },
  ]);
});

t.test('clock, held, due: what is no number or no id there', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  for (const text of ['', 'x', '-5', '1.5', '1-', 'inf']) {
    await look.flushdb();
    await live(bed);
    await look.hset(bed.keys.clock(0), 'ms', text, 'seq', text);
    await live(bed);
    const lane = await startLane(
      bed,
      specOf('g', ['a.b'], { onDead: 'hold', startFrom: 'end' }),
      0,
    );
    await publish(bed, 0, {
      'a.b': [
        { id: 'one', subject: 's' },
        { id: 'two', subject: 's' },
      ],
    });
    await lane.drain(({ id }) => (id === 'one' ? 'dead' : 'done'));
    await look.hset(bed.keys.held(0, 'g'), 's', text);
    const { wedged } = await new ParkedSweep(bed.connection, bed.keys).sweep({
      fn: 'g',
      partition: 0,
      types: ['a.b'],
      maxDelayMs: 0,
    });
    t.match(wedged, [{ unit: 's', why: 'letterless' }], JSON.stringify(text));
    await lane.drain();
    t.equal(await look.llen(bed.keys.parked(0, 'g', 's')), 0);
  }
});

t.test(
  'a key of another type under a commit: named, nothing done, and done when it is gone',
  async (t) => {
    const bed = await makeBed(t, 1);
    const look = bed.redis.client();
    for (const key of [bed.keys.due(0, 'f'), bed.keys.dead(0, 'f'), bed.keys.held(0, 'f')]) {
      for (const outcome of ['retry', 'dead'] as const) {
        await look.flushdb();
        const lane = await startLane(bed, specOf('f', ['a.b'], { onDead: 'hold' }), 0);
        await publish(bed, 0, {
          'a.b': [
            { id: 'one', subject: 's' },
            { id: 'two', subject: 'o' },
          ],
        });
        const plan = await lane.turn(({ id }) => (id === 'one' ? outcome : 'done'));
        await look.set(key, 'somebody else');
        const name = key.slice(key.indexOf('}') + 2);
        await t.rejects(
          lane.send(plan),
          { reply: 'WRONGTYPE', message: new RegExp(`${name} is a string, not the`) },
          `${name}, ${outcome}`,
        );
        t.match(
          await look.xpending(bed.keys.events(0, 'a.b'), 'f'),
          [1],
          'nothing was acknowledged',
        );
        await look.del(key);
        t.equal(await lane.send(plan), 'ok');
        t.match((await readLag(bed)).functions, [{ done: 1, conserved: true, pending: 0 }]);
      }
    }
  },
);

t.test(
  'the key of a parked list under a commit is set aside, and the commit goes on',
  async (t) => {
    const bed = await makeBed(t, 1);
    const look = bed.redis.client();
    const lane = await startLane(bed, specOf('f', ['a.b']), 0);
    await publish(bed, 0, {
      'a.b': [
        { id: 'one', subject: 's' },
        { id: 'two', subject: 's' },
      ],
    });
    const plan = await lane.turn(() => 'retry');
    await look.set(bed.keys.parked(0, 'f', 's'), 'somebody else');
    t.equal(await lane.send(plan), 'ok');
    await lane.drain();
    t.match((await readLag(bed)).functions, [{ done: 2, parked: 0, dead: 0, conserved: true }]);
    t.match(
      (await letters(bed)).map(({ kind, events: stands, bytes }) => [kind, stands, String(bytes)]),
      [['record', 0, 'somebody else']],
    );
  },
);

t.test('the type of every key is known', (t) => {
  const keys = createKeys('mr');
  const made: [string, string | null][] = [
    [keys.events(0, 't'), 'stream'],
    [keys.parked(0, 'f', 'a:b'), 'list'],
    [keys.due(1, 'f'), 'zset'],
    [keys.held(1, 'f'), 'hash'],
    [keys.dead(1, 'f'), 'stream'],
    [keys.lease(1, 'f'), 'string'],
    [keys.helpers(1, 'f'), 'set'],
    [keys.producer(1, 'p'), 'string'],
    [keys.publishedIds(1, 't', 0), 'set'],
    [keys.settledIds(1, 'f', 1), 'set'],
    [keys.scheduled(12), 'zset'],
    [keys.scheduledEvents(12), 'hash'],
    [keys.outbox(1), 'stream'],
    [keys.relayed(1), 'hash'],
    [keys.clock(1), 'hash'],
    [keys.counters(1), 'hash'],
    [keys.history(1, 'c', 'i'), 'list'],
    [keys.histories(1, 'c'), 'zset'],
    [keys.appends(1, 'c', 'i'), 'hash'],
    [keys.snapshot(1, 'c', 'i'), 'hash'],
    [keys.losses(1), 'stream'],
    [keys.viewRow(1, 'v@1', 'i'), 'string'],
    [keys.viewIndex(1, 'v@1', '*'), 'zset'],
    [keys.setupFailure(1, 'f'), 'string'],
    [keys.viewPass(1, 'v@1'), 'string'],
    [keys.views(), 'hash'],
    [keys.limits(), 'hash'],
    [keys.settings(), 'hash'],
    [keys.alerts('lease'), 'string'],
    [keys.alerts('state'), 'hash'],
    [keys.alerts('silences'), 'hash'],
    ['other', null],
  ];
  for (const [key, type] of made) t.equal(expectedType(key), type, key);
  t.end();
});

t.test('rewind counts anew, whatever the counters hold', async (t) => {
  const bed = await makeBed(t, 1);
  const look = bed.redis.client();
  for (const field of [
    'appended:a.b',
    'done:f:a.b',
    'base:f:a.b',
    'dead:f:a.b',
    'parked:f:a.b',
    'epoch:f',
    'exact:a.b',
    'at:f:a.b',
  ]) {
    await look.flushdb();
    await live(bed);
    await look.hset(bed.keys.counters(0), field, 'x');
    await look.del(bed.keys.lease(0, 'f'));
    await rewindFunction(bed, 'f', { kind: 'end' }).catch((error: unknown) =>
      t.fail(`${field}: ${String(error)}`),
    );
  }
});
