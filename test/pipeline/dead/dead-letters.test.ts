import { crc32 } from 'node:zlib';
import t from 'tap';
import { OWNER } from '../../../src/core/function-spec.ts';
import { readLag } from '../../../src/lag/lag.ts';
import { sendCommit } from '../../../src/pipeline/commit/commit.ts';
import { planCommit } from '../../../src/pipeline/commit/plan-commit.ts';
import { createBatch } from '../../../src/pipeline/batch/batch.ts';
import { CELL } from '../../../src/core/progress-cells.ts';
import {
  DeadLetterIdError,
  DeadLetterNotFoundError,
  getDeadLetter,
  listDeadLetters,
  parseLetterId,
  type DeadLetter,
  type DeadLetterFilter,
} from '../../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../../src/pipeline/dead/purge.ts';
import { UnknownFunctionError } from '../../../src/redis/counters.ts';
import { NotReplayableError, replayDeadLetter } from '../../../src/pipeline/dead/replay.ts';
import { defineScript } from '../../../src/redis/script.ts';
import { decodeParked } from '../../../src/wire/parked.ts';
import { readEvent } from '../../../src/wire/batch-reader.ts';
import { acquireLease } from '../../../src/pipeline/ownership/leases.ts';
import { dump } from '../../../scripts/lab/counters.ts';
import { events, makeBed, publish, specOf, startLane, type Bed } from '../bare-lane.ts';

const replayScript = defineScript({
  url: new URL('../../../src/pipeline/dead/replay.lua', import.meta.url),
  keys: 4,
});
const purgeScript = defineScript({
  url: new URL('../../../src/pipeline/dead/purge.lua', import.meta.url),
  keys: 2,
});

async function all(bed: Bed, filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
  const out: DeadLetter[] = [];
  for await (const letter of listDeadLetters(bed, filter)) out.push(letter);
  return out;
}

const counter = async (bed: Bed, field: string, p = 0) =>
  Number(await bed.redis.client().hget(`mr:{${p}}:counters`, field));

t.test('list and show: pages, filters, order, ids', async (t) => {
  const bed = await makeBed(t);
  const lanes = [
    await startLane(bed, specOf('f', ['a.b', 'a.c']), 0),
    await startLane(bed, specOf('f', ['a.b', 'a.c']), 1),
    await startLane(bed, specOf('g', ['a.b']), 1),
  ];
  await publish(bed, 0, { 'a.b': events(70, 'x'), 'a.c': events(1, 'y') });
  await publish(bed, 1, { 'a.b': [{ id: 'one', subject: 'z' }] });
  for (const lane of lanes) await lane.drain(() => 'dead');
  const list = await all(bed);
  t.equal(list.length, 73);
  t.strictSame(
    [...new Set(list.map((l) => `${l.function}/${l.partition}`))],
    ['f/0', 'f/1', 'g/1'],
  );
  t.equal((await all(bed, { limit: 40 })).length, 40);
  t.equal((await all(bed, { limit: 0 })).length, 0);
  t.equal((await all(bed, { function: 'g' })).length, 1);
  t.equal((await all(bed, { type: 'a.c' })).length, 1);
  t.equal((await all(bed, { subject: 'z' })).length, 2);
  t.equal((await all(bed, { reason: 'attempts' })).length, 0);
  t.equal((await all(bed, { eventId: 'one', function: 'f' })).length, 1);
  const [first] = list as [DeadLetter];
  t.equal((await all(bed, { ids: [first.id, 'f/1/1-1'] })).length, 1);
  t.equal((await all(bed, { ids: [first.id], type: 'a.c' })).length, 0);
  const shown = await getDeadLetter(bed, first.id);
  t.match(shown, {
    id: first.id,
    function: 'f',
    partition: 0,
    kind: 'event',
    type: 'a.b',
    subject: 'x',
    reason: 'non-retryable',
    attempts: 1,
    events: 1,
    dispatcher: 'test',
    version: 'v1',
    history: [{ attempt: 1, name: 'TestError' }],
  });
  t.equal(readEvent(shown.bytes).id, shown.eventId);
  await t.rejects(getDeadLetter(bed, 'f/0/1-1'), DeadLetterNotFoundError);
  await t.rejects(getDeadLetter(bed, 'f/2/1-1'), DeadLetterIdError);
  await t.rejects(all(bed, { function: 'h' }), UnknownFunctionError);
  for (const bad of [
    '',
    'f',
    'f/0',
    'f/0/1',
    'f/0/1-1/2',
    'F/0/1-1',
    '{x}/0/1-1',
    'f/-1/1-1',
    'f/0/1-1\n',
    `f/0/${'1'.repeat(21)}-0`,
  ])
    t.throws(() => parseLetterId(bad, 4), DeadLetterIdError, bad);
});

t.test('letters that somebody else wrote do not stop the list', async (t) => {
  const bed = await makeBed(t);
  await startLane(bed, specOf('f', ['a.b']), 0);
  await bed.connection.command(
    'XADD',
    bed.keys.dead(0, 'f'),
    '*',
    'history',
    '{"not":"a list"}',
    'attempts',
    'many',
    'first',
    'NaN',
  );
  await bed.connection.command(
    'XADD',
    bed.keys.dead(0, 'f'),
    '*',
    'history',
    '[null,1,{"at":"x"}]',
  );
  t.match(await all(bed), [
    { attempts: 0, firstFailedMs: 0, history: [], type: '' },
    { history: [{ atMs: 0, attempt: 0, name: '', message: '' }] },
  ]);
});

t.test('replay: back through the lane, once, whatever is sent how often', async (t) => {
  const bed = await makeBed(t);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(2, 'x') });
  await lane.drain(() => 'dead');
  const [one, two] = (await all(bed)) as [DeadLetter, DeadLetter];
  t.equal(await replayDeadLetter(bed, one), 'replayed');
  t.equal(await replayDeadLetter(bed, one), 'gone');
  t.equal(await replayDeadLetter(bed, two), 'replayed');
  t.strictSame([await counter(bed, 'dead:f:a.b'), await counter(bed, 'parked:f:a.b')], [0, 2]);
  const records = (await bed.connection.commandBuffer(
    'LRANGE',
    bed.keys.parked(0, 'f', 'x'),
    0,
    -1,
  )) as Buffer[];
  t.match(records.map(decodeParked), [
    {
      eventId: one.eventId,
      attempts: 0,
      type: 'a.b',
      entryId: one.entryId,
      index: 0,
      subject: 'x',
      history: [{ attempt: 1, name: 'TestError' }],
    },
    { eventId: two.eventId, index: 1 },
  ]);
  t.equal(await bed.redis.client().zcard('mr:{0}:due:f'), 1);
  const seen: string[] = [];
  await lane.drain(({ id }) => {
    seen.push(id);
    return 'done';
  });
  t.strictSame(seen, [one.eventId, two.eventId], 'in the order in which they were replayed');
  t.match((await readLag(bed)).functions, [{ done: 2, dead: 0, parked: 0, conserved: true }]);
  t.equal(await bed.redis.client().exists('mr:{0}:due:f', 'mr:{0}:parked:f:x'), 0);
});

t.test(
  'replay behind what is parked already; ordering none; a thread killer runs alone',
  async (t) => {
    const bed = await makeBed(t);
    const lane = await startLane(
      bed,
      specOf('f', ['a.b'], {
        retry: { attempts: 5, minDelayMs: 60_000, maxDelayMs: 60_000, factor: 1, jitter: false },
      }),
      0,
    );
    await publish(bed, 0, { 'a.b': [{ id: 'dead', subject: 'x' }] });
    await lane.drain(() => 'dead');
    await publish(bed, 0, { 'a.b': [{ id: 'parked', subject: 'x' }] });
    await lane.drain(() => 'retry');
    const client = bed.redis.client();
    const due = await client.zscore('mr:{0}:due:f', 'x');
    const [letter] = (await all(bed)) as [DeadLetter];
    t.equal(await replayDeadLetter(bed, { ...letter, reason: 'timeout' }), 'replayed');
    t.equal(await client.zscore('mr:{0}:due:f', 'x'), String(due), 'its head decides');
    const records = (
      (await bed.connection.commandBuffer(
        'LRANGE',
        bed.keys.parked(0, 'f', 'x'),
        0,
        -1,
      )) as Buffer[]
    ).map(decodeParked);
    t.match(records, [
      { eventId: 'parked', isolate: false },
      { eventId: 'dead', isolate: true },
    ]);

    const none = await startLane(bed, specOf('n', ['a.b'], { ordering: 'none' }), 0);
    await none.drain(() => 'dead');
    for (const l of await all(bed, { function: 'n' })) await replayDeadLetter(bed, l);
    t.strictSame((await client.zrange('mr:{0}:due:n', '0', '-1')).sort(), ['dead', 'parked']);
  },
);

t.test(
  'an entry that could not be taken apart: not to be replayed, counted with all its events, purged',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(bed, specOf('f', ['a.b']), 0);
    await lane.drain();
    const bytes = Buffer.from('rubbish');
    const id = (await bed.connection.command(
      'XADD',
      bed.keys.events(0, 'a.b'),
      '*',
      'b',
      bytes,
      'n',
      7,
      'c',
      crc32(bytes),
    )) as string;
    await bed.connection.command(
      'XREADGROUP',
      'GROUP',
      'f',
      'lane',
      'STREAMS',
      bed.keys.events(0, 'a.b'),
      '>',
    );
    const lease = await acquireLease(
      bed.connection,
      bed.keys,
      { fn: 'f', partition: 0, consumer: OWNER },
      { dispatcher: 'test', ttlMs: 60_000 },
    );
    if (!('value' in lease)) throw new Error('no lease');
    const batch = createBatch(
      'f',
      0,
      ['a.b'],
      [],
      [{ id, type: 0, bytes, n: 7, crc: null, count: 7, gone: false }],
    );
    await sendCommit(
      bed.connection,
      planCommit(
        batch,
        {
          states: new Uint8Array(7).fill(CELL.DONE),
          failures: [],
          blocked: [],
          deadEntries: [{ entry: 0, reason: 'decode', message: 'not an EventBatch' }],
          effects: [],
        },
        {
          keys: bed.keys,
          spec: lane.spec,
          partition: 0,
          leaseValue: lease.value,
          leaseTtlMs: 1000,
          turnId: '9.1',
          nowMs: Date.now(),
          dispatcher: 'd',
          version: 'v',
          parkedOf: () => 0,
          schemaWaitMs: 600_000,
        },
      ),
    );
    t.match((await readLag(bed)).functions, [{ appended: 7, dead: 7, conserved: true }]);
    const [letter] = (await all(bed)) as [DeadLetter];
    t.match(letter, { kind: 'entry', events: 7, reason: 'decode', eventId: '' });
    const before = await dump(bed.redis.client());
    await t.rejects(replayDeadLetter(bed, letter), NotReplayableError);
    t.strictSame(await dump(bed.redis.client()), before);
    t.equal(await purgeDeadLetters(bed, [letter, letter]), 1);
    t.equal(await purgeDeadLetters(bed, [letter]), 0);
    t.match((await readLag(bed)).functions, [{ appended: 7, dead: 7, purged: 7, conserved: true }]);
    t.strictSame(await all(bed), []);
  },
);

t.test('scripts: letters that are not there change nothing', async (t) => {
  const bed = await makeBed(t);
  const keys = ['mr:{0}:dead:f', 'mr:{0}:parked:f:x', 'mr:{0}:due:f', 'mr:{0}:counters'];
  t.strictSame(await replayScript.run(bed.connection, keys, ['1-1', 'f', 'a.b', 'x', 'bytes']), [
    'gone',
  ]);
  t.equal(
    await purgeScript.run(
      bed.connection,
      [keys[0] as string, keys[3] as string],
      ['f', '1-1', 'a.b', 1, 'x', '', '1-2', 'a.b', 1, 'x', ''],
    ),
    0,
  );
  t.equal(await purgeScript.run(bed.connection, [keys[0] as string, keys[3] as string], ['f']), 0);
  t.strictSame(await dump(bed.redis.client()), {});
  const wrong = await bed.connection
    .command('SET', keys[1] as string, 'no list')
    .then(() => bed.connection.command('XADD', keys[0] as string, '*', 'a', 'b'));
  await t.rejects(replayScript.run(bed.connection, keys, ['not-an-id', 'f', 'a.b', 'x', 'bytes']));
  t.ok(wrong);
});

t.test('replay under OOM moves the letter as a whole', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await publish(bed, 0, { 'a.b': events(1, 'x') });
  await lane.drain(() => 'dead');
  const client = bed.redis.client();
  await client.config('SET', 'maxmemory', '1');
  const [letter] = (await all(bed)) as [DeadLetter];
  t.equal(await replayDeadLetter(bed, letter), 'replayed');
  t.strictSame(
    [
      await client.xlen('mr:{0}:dead:f'),
      await client.llen('mr:{0}:parked:f:x'),
      await client.zcard('mr:{0}:due:f'),
    ],
    [0, 1, 1],
  );
  t.match((await readLag(bed)).functions, [{ parked: 1, dead: 0, conserved: true }]);
});
