/**
 * An unreadable record of the outbox or of the schedule costs only itself: it is dead with its
 * bytes, and the others go on.
 */
import { crc32 } from 'node:zlib';
import t from 'tap';
import { explain } from '../../src/explain/explain.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { scheduleEvents } from '../../src/pipeline/append/schedule.ts';
import type { DeadLetter } from '../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import {
  cancelScheduled,
  listScheduled,
  scheduledFrom,
} from '../../src/upkeep/scheduled-events.ts';
import { Scheduler } from '../../src/upkeep/scheduler.ts';
import { readOutboxes } from '../../src/outbox/outbox-state.ts';
import { readLag } from '../../src/lag/lag.ts';
import {
  type Bed,
  encodeEvents,
  letters,
  makeBed,
  specOf,
  startLane,
} from '../pipeline/bare-lane.ts';
import { eventsIn } from '../../scripts/lab/emits.ts';
import { createRelay } from './emitting-lane.ts';
import { until, untilTold, writesTo, is } from '../../scripts/lab/until.ts';

const P = 2;
const SUBJECT = Array.from({ length: 100 }, (_, i) => `s${i}`).find(
  (s) => partitionOf(s, P) === 1,
) as string;

/** Returns an entry for partition 1, as commit.lua writes it. */
function entryOf(id: string): (string | Buffer)[] {
  const bytes = encodeEvents([{ id, subject: SUBJECT }]);
  return [
    'to',
    '1',
    'size',
    String(bytes.length),
    'type',
    'test.event',
    'n',
    '1',
    'c',
    String(crc32(bytes)),
    'b',
    bytes,
  ];
}

type Fields = readonly (string | Buffer)[];
const set =
  (name: string, value: string | Buffer) =>
  (fields: Fields): Fields =>
    fields.map((field, i) => (fields[i - 1] === name && i % 2 === 1 ? value : field));

const ENTRY_DAMAGE: Readonly<Record<string, (fields: Fields) => Fields>> = {
  'other fields': () => ['x', 'y'],
  'no size': (fields) => ['to', '1', ...fields.slice(4)],
  'to no number': set('to', 'nobody'),
  'to a partition that does not exist': set('to', '2'),
  'to a partition below 0': set('to', '-1'),
  'a size that is no number': set('size', '1e3'),
  'a type with a blank': set('type', 'test event'),
  'a type of bytes': set('type', Buffer.from([0xff, 0xfe])),
  'a count that is no number': set('n', 'many'),
  'a count of 0': set('n', '0'),
  'a count of 2^63': set('n', '9223372036854775807'),
  'a checksum that is none': set('c', 'zzz'),
  'cut behind the checksum': (fields) => fields.slice(0, 10),
  'cut behind the type': (fields) => fields.slice(0, 6),
  'a time that is none': (fields) => [...fields, 'when', 'soon test.event x', 'event', 'y'],
  'a time without its event': (fields) => [...fields, 'when', '1 5 test.event x'],
};

t.test('outbox: each kind of damage, between entries that are whole', async (t) => {
  const bed = await makeBed(t, P);
  const look = bed.redis.client();
  for (const [name, damage] of Object.entries(ENTRY_DAMAGE)) {
    await look.flushdb();
    const outbox = bed.keys.outbox(0);
    await look.xadd(outbox, '*', ...entryOf('before'));
    await look.xadd(outbox, '*', ...damage(entryOf('bad')));
    await look.xadd(outbox, '*', ...entryOf('behind'));
    t.match((await readOutboxes(bed))[0], { entries: 3 }, `${name}: can be looked at`);
    const relay = createRelay(bed);
    relay.ring(0, null);
    await untilTold(writesTo(look), 'the outbox is empty', async () =>
      is(await look.xlen(outbox), 0),
    );
    await relay.stop();
    t.strictSame(
      (await eventsIn(look, P, 'test.event')).map(({ id }) => id),
      ['before', 'behind'],
      name,
    );
    const found = await letters(bed);
    t.match(
      found.map(({ kind, reason, function: fn, partition }) => [kind, reason, fn, partition]),
      [['record', 'decode', '_outbox', 0]],
      name,
    );
    const [letter] = found as [DeadLetter];
    t.match(letter.error.message, /^outbox entry \d+-\d+: its? /);
    if (letter.bytes.includes('bad')) {
      t.match(
        (await explain(bed, { eventId: 'bad' })).waiting,
        [{ where: 'dead', why: /set aside: dead letter _outbox\/0\// }],
        name,
      );
    }
    await t.rejects(replayDeadLetter(bed, letter), { code: 'NOT_REPLAYABLE' });
    t.equal(await purgeDeadLetters(bed, [letter]), 1);
    t.strictSame(await letters(bed), []);
  }
});

t.test('outbox: what is known of its source cannot be read: nothing waits for ever', async (t) => {
  const bed = await makeBed(t, P);
  const look = bed.redis.client();
  for (const text of ['', 'x', '5', '-', '1-', 'a-b']) {
    await look.flushdb();
    await look.hset(bed.keys.relayed(1), '0', text);
    await look.xadd(bed.keys.outbox(0), '*', ...entryOf('one'));
    const relay = createRelay(bed);
    relay.ring(0, null);
    await untilTold(writesTo(look), 'the outbox is empty', async () =>
      is(await look.xlen(bed.keys.outbox(0)), 0),
    );
    await relay.stop();
    t.strictSame(
      (await eventsIn(look, P, 'test.event')).map(({ id }) => id),
      ['one'],
      JSON.stringify(text),
    );
  }
});

async function schedule(bed: Bed, id: string, delayMs = 0): Promise<void> {
  const bytes = encodeEvents([{ id, subject: SUBJECT }]);
  // Field 3 of the batch: a tag, a length of one byte, the event.
  await scheduleEvents(
    1,
    [{ id, type: 'test.event', when: { kind: 'delay', ms: delayMs }, bytes: bytes.subarray(2) }],
    {
      connection: bed.connection,
      keys: bed.keys,
      call: `${id}-${delayMs}`,
      signal: new AbortController().signal,
      deadlineMs: 5000,
      refusedWrites: 'throw',
    },
  );
}

const RECORD_DAMAGE: Readonly<Record<string, string | Buffer | null>> = {
  'no record': null,
  'a word': 'hello',
  'no due time': 'soon 1 test.event x',
  'a due time with a fraction': '1.5 1 test.event x',
  'no number': '5',
  'no type': '5 1 ',
  'a type that is none': '5 1 test:event x',
  bytes: Buffer.from('ff00fe20ff20ff20ff', 'hex'),
  'another format': '{"due":5}',
};

t.test('schedule: each kind of damage, between events that are whole', async (t) => {
  const bed = await makeBed(t, P);
  const look = bed.redis.client();
  for (const [name, damage] of Object.entries(RECORD_DAMAGE)) {
    await look.flushdb();
    for (const id of ['before', 'bad', 'behind']) await schedule(bed, id);
    if (damage === null) await look.hdel(bed.keys.scheduledEvents(1), 'bad');
    else await look.hset(bed.keys.scheduledEvents(1), 'bad', damage);
    t.strictSame(
      (await listScheduled(bed, 10)).map(({ id }) => id),
      ['before', 'behind'],
      `${name}: the others are listed`,
    );
    const scheduler = new Scheduler({
      connection: bed.connection,
      keys: bed.keys,
      partitions: () => [1],
      log: () => undefined,
    });
    scheduler.start();
    await untilTold(writesTo(look), 'nothing is scheduled', async () =>
      is(await look.zcard(bed.keys.scheduled(1)), 0),
    );
    await scheduler.stop();
    t.strictSame(
      (await eventsIn(look, P, 'test.event')).map(({ id }) => id),
      ['before', 'behind'],
      name,
    );
    t.equal(await look.hlen(bed.keys.scheduledEvents(1)), 0);
    const found = await letters(bed);
    t.match(
      found,
      [
        {
          kind: 'record',
          reason: 'decode',
          function: '_schedule',
          partition: 1,
          eventId: 'bad',
          events: 1,
        },
      ],
      name,
    );
    t.ok(found[0]?.bytes.equals(Buffer.from(damage ?? '')), 'with its bytes');
    t.match(
      (await explain(bed, { eventId: 'bad' })).waiting,
      [{ id: 'bad', where: 'dead', why: /dead letter _schedule\/1\// }],
      name,
    );
    t.equal(await purgeDeadLetters(bed, found), 1);
  }
});

t.test(
  'schedule: an event whose record cannot be read is taken back, or scheduled anew',
  async (t) => {
    const bed = await makeBed(t, P);
    const look = bed.redis.client();
    for (const [name, damage] of Object.entries(RECORD_DAMAGE)) {
      if (damage === null) continue;
      await look.flushdb();
      await schedule(bed, 'bad', 60_000);
      await look.hset(bed.keys.scheduledEvents(1), 'bad', damage);
      await schedule(bed, 'bad', 120_000);
      const { events, unreadable } = await scheduledFrom(bed.connection, bed.keys, 1, 10);
      t.match(
        [events.map(({ id }) => id), unreadable],
        [['bad'], []],
        `${name}: the new one takes its place`,
      );
      await look.hset(bed.keys.scheduledEvents(1), 'bad', damage);
      t.equal(await cancelScheduled(bed, 'bad'), true, name);
      t.strictSame(
        [await look.zcard(bed.keys.scheduled(1)), await look.hlen(bed.keys.scheduledEvents(1))],
        [0, 0],
        name,
      );
    }
  },
);

t.test(
  'one partition whose schedule is no schedule: the others go on, and the key is named',
  async (t) => {
    const bed = await makeBed(t, P);
    const look = bed.redis.client();
    await look.set(bed.keys.scheduled(0), 'x');
    await schedule(bed, 'one');
    const told: string[] = [];
    const scheduler = new Scheduler({
      connection: bed.connection,
      keys: bed.keys,
      partitions: () => [0, 1],
      log: (_level, message, fields) => void told.push(`${message}: ${String(fields?.err)}`),
    });
    scheduler.start();
    await untilTold(writesTo(look), 'it is appended', async () =>
      is((await eventsIn(look, P, 'test.event')).length, 1),
    );
    await until('it is told', () => Promise.resolve(told.length > 0));
    await scheduler.stop();
    t.match(told[0], /mr:\{0\}:scheduled is a string, not the zset that it should be/);
  },
);

t.test('letters of records are no function of lag', async (t) => {
  const bed = await makeBed(t, P);
  await startLane(bed, specOf('f', ['a.b']), 0);
  await bed.redis.client().xadd(bed.keys.outbox(0), '*', 'x', 'y');
  const relay = createRelay(bed);
  relay.ring(0, null);
  await until('it is set aside', async () => is((await letters(bed)).length, 1));
  await relay.stop();
  t.match(
    (await readLag(bed)).functions.map(({ name, conserved }) => [name, conserved]),
    [['f', true]],
  );
});
