import t from 'tap';
import fc from 'fast-check';
import { adoptForeign } from '../../src/lag/adopt.ts';
import { readLag } from '../../src/lag/lag.ts';
import { LaneReader } from '../../src/pipeline/read/lane-reader.ts';
import { PartitionTakes } from '../../src/pipeline/read/partition-takes.ts';
import { countEntry } from '../../src/wire/count-entry.ts';
import {
  encodeEvents,
  events,
  foreign,
  makeBed,
  publish,
  specOf,
  startLane,
  type Bed,
} from '../pipeline/bare-lane.ts';

const counters = (bed: Bed, p = 0) => bed.redis.client().hgetall(`mr:{${p}}:counters`);

t.test('counts foreign entries once, page by page, among our own', async (t) => {
  const bed = await makeBed(t);
  await publish(bed, 0, { 'a.b': events(3) });
  await foreign(bed, 0, 'a.b', events(2));
  await foreign(bed, 0, 'a.b', events(4), true);
  await publish(bed, 0, { 'a.b': events(1) });
  const last = await foreign(bed, 0, 'a.b', events(5));
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b', 2), {
    entries: 3,
    even: true,
    lost: 0,
  });
  t.match(await counters(bed), {
    'appended:a.b': '15',
    'foreign:a.b': '11',
    'entries:a.b': '5',
    'adopted:a.b': last,
    'exact:a.b': last,
  });
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 0,
    even: true,
    lost: 0,
  });
  t.match(await counters(bed), { 'appended:a.b': '15', 'entries:a.b': '5' });
});

t.test('a stream that does not exist, and one nobody has counted in', async (t) => {
  const bed = await makeBed(t);
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 0,
    even: true,
    lost: 0,
  });
  t.strictSame(await counters(bed), {});
  await foreign(bed, 0, 'a.b', events(2));
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 1,
    even: true,
    lost: 0,
  });
});

t.test('vanished entries do not hide foreign ones that come later', async (t) => {
  const bed = await makeBed(t);
  const id = await publish(bed, 0, { 'a.b': events(3) });
  await publish(bed, 0, { 'a.b': events(3) });
  await bed.connection.command('XDEL', bed.keys.events(0, 'a.b'), id);
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 0,
    even: true,
    lost: 1,
  });
  t.match(await counters(bed), { 'entries:a.b': '1', 'lost:a.b': '1', 'appended:a.b': '6' });
  await foreign(bed, 0, 'a.b', events(7));
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 1,
    even: true,
    lost: 0,
  });
  t.match(await counters(bed), { 'appended:a.b': '13', 'lost:a.b': '1' });
});

t.test('counters that were lost: no endless search', async (t) => {
  const bed = await makeBed(t);
  for (let i = 0; i < 5; i++) await publish(bed, 0, { 'a.b': events(1) });
  await bed.redis.client().del('mr:{0}:counters');
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b', 2), {
    entries: 0,
    even: false,
    lost: 0,
  });
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b', 2), {
    entries: 0,
    even: false,
    lost: 0,
  });
});

/** Field `n` of an entry: numbers, and texts that some readers could take for a number. */
const anyCount = fc.oneof(
  fc.constantFrom(
    ...['', '0', '1', '65536', '65537', '-1', '+7', ' 5 ', '00012'],
    ...['5.0', '5.5', '.5', '5.', '1e2', '1e', 'e5'],
    ...['0x10', '0b11', '0o17', '0x', '0x1p4', 'Infinity', 'inf', 'nan'],
    ...['1_0', '--1', '1-2', '1.2.3', 'gone'],
  ),
  fc.nat(70_000).map(String),
);

const BATCH = encodeEvents(events(3));

/** Field `b` of an entry: a whole batch, a cut or damaged one, malformed protobuf, any bytes. */
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((a) => Buffer.from(a)),
  fc.constant(BATCH),
  fc.nat(BATCH.length).map((at) => BATCH.subarray(0, at)),
  fc.tuple(fc.nat(BATCH.length - 1), fc.nat(255)).map(([at, value]) => {
    const copy = Buffer.from(BATCH);
    copy[at] = value;
    return copy;
  }),
  fc
    .constantFrom(
      ...['9a0000', '1a00', '1a', '1affffffffffffffffff01'],
      ...['08ffffffffffffffffff01', '08ffffffffffffffffffff01'],
      ...['2d00000000', '2d0000', '290000000000000000', '0b', '0f'],
    )
    .map((hex) => Buffer.from(hex, 'hex')),
);

const anyEntry = fc.record({
  n: anyCount,
  bytes: anyBytes,
  hasB: fc.integer({ min: 0, max: 9 }),
});
type AnyEntry = typeof anyEntry extends fc.Arbitrary<infer T> ? T : never;

/** Empties Redis and makes a function `f` at the start of the type `a.b`. */
async function beginAnew(bed: Bed): Promise<void> {
  const client = bed.redis.client();
  await client.flushall();
  await client.hset('mr:{0}:counters', 'types:f', 'a.b', 'start:f', 'start');
  await client.xgroup('CREATE', 'mr:{0}:events:a.b', 'f', '0', 'MKSTREAM');
  await client.set('mr:{0}:lease:f', 'd:1');
}

/** Appends the entries. Returns the number of their events by count-entry. */
async function appendAll(bed: Bed, entries: readonly AnyEntry[]): Promise<number> {
  let counted = 0;
  for (const { n, bytes, hasB } of entries) {
    const fields = [...(hasB > 0 ? ['b', bytes] : ['x', 'y']), ...(n === '' ? [] : ['n', n])];
    await bed.connection.command('XADD', 'mr:{0}:events:a.b', '*', ...fields);
    counted += countEntry(fields.map((f) => Buffer.from(f)));
  }
  return counted;
}

/** Takes all entries with the reader of a lane. Returns the number of their events. */
async function readAll(bed: Bed): Promise<number> {
  const reader = new LaneReader({
    takes: new PartitionTakes(bed.connection, 1e6),
    fn: 'f',
    leaseKey: 'mr:{0}:lease:f',
    dueKey: 'mr:{0}:due:f',
    streamKeys: ['mr:{0}:events:a.b'],
    observed: () => {},
  });
  let read = 0;
  for (;;) {
    const taken = await reader.take('d:1', { events: 100, bytes: 1e6, retryUnits: 0 });
    if (taken.kind !== 'ok' || taken.entries.length === 0) return read;
    for (const entry of taken.entries) read += entry.count;
  }
}

t.test(
  'an entry weighs the same for adoption, the reader, lag.lua and count-entry, whatever its bytes',
  async (t) => {
    const bed = await makeBed(t, 1);
    await fc.assert(
      fc.asyncProperty(fc.array(anyEntry, { minLength: 1, maxLength: 20 }), async (entries) => {
        await beginAnew(bed);
        const expected = await appendAll(bed, entries);
        await adoptForeign(bed.connection, bed.keys, 0, 'a.b', 7);
        const before = (await readLag(bed)).functions[0];
        const read = await readAll(bed);
        const after = (await readLag(bed)).functions[0];
        t.match(
          [
            before?.appended,
            before?.lag,
            read,
            after?.pending,
            before?.conserved,
            after?.conserved,
          ],
          [expected, expected, expected, expected, true, true],
        );
        return before?.lag === expected && read === expected && after?.pending === expected;
      }),
      { numRuns: 60 },
    );
  },
);

t.test('under OOM nothing is counted, and it says so', async (t) => {
  const bed = await makeBed(t);
  await startLane(bed, specOf('f', ['a.b']), 0);
  await foreign(bed, 0, 'a.b', events(2));
  const client = bed.redis.client();
  await client.config('SET', 'maxmemory', '1');
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 0,
    even: false,
    lost: 0,
  });
  const report = await readLag(bed);
  t.match(report.functions, [{ name: 'f', lag: 2, conserved: true }]);
  await client.config('SET', 'maxmemory', '0');
  t.strictSame(await adoptForeign(bed.connection, bed.keys, 0, 'a.b'), {
    entries: 1,
    even: true,
    lost: 0,
  });
});
