/** States: full replay, snapshots, points in time, pages. One server for all. */
import fc from 'fast-check';
import t from 'tap';
import { CorruptDataError } from '../../src/core/errors/data-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { defineAggregate, type SnapshotPolicy } from '../../src/define/define-aggregate.ts';
import { StoreInputError } from '../../src/store/store-errors.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, failed, numberOf, openShop, reserved } from './open-store.ts';
import { until, untilTold, writesTo, is, moreThan } from '../../scripts/lab/until.ts';

const redis = await startRedis(t);
const look = redis.client();
const millrace = await openShop(t, redis.url, 4);
const store = millrace.store();
const snapshotKey = (category: string, id: string): string =>
  `mr:{${partitionOf(id, 4)}}:snapshot:${category}:${id}`;

interface State {
  readonly numbers: readonly number[];
  readonly reasons: readonly string[];
}
let evolved = 0;
/** An aggregate that keeps everything: two states are equal only after the same events. */
function aggregate(category: string, snapshot?: SnapshotPolicy<State>) {
  return defineAggregate({
    category,
    events: ['stock.reserved', 'payment.failed'],
    initialState: (): State => ({ numbers: [], reasons: [] }),
    evolve(state, event): State {
      evolved++;
      return event.type === 'stock.reserved'
        ? { ...state, numbers: [...state.numbers, numberOf(event)] }
        : { ...state, reasons: [...state.reasons, event.data.reason] };
    },
    ...(snapshot ? { snapshot } : {}),
  });
}
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

t.test('a load folds the whole history, whatever its pages', async (t) => {
  const plain = aggregate('load');
  t.strictSame(await store.load(plain, 'A'), {
    state: { numbers: [], reasons: [] },
    revision: 0,
    snapshotRevision: 0,
    remembered: null,
  });
  for (let at = 0; at < 1400; at += 700)
    await store.append(
      'load',
      'A',
      numbers(at, at + 700).map((n) => reserved('A', n)),
      { expectedRevision: at },
    );
  const { state, revision } = await store.load(plain, 'A');
  t.equal(revision, 1400);
  t.strictSame(state.numbers, numbers(0, 1400));
  // A page ends with a mebibyte.
  const long = ' y'.repeat(75_000);
  for (let i = 0; i < 20; i++)
    await store.append('load', 'B', [failed('B', `${i}${long}`)], { expectedRevision: i });
  t.strictSame(
    (await store.load(plain, 'B')).state.reasons.map((reason) => parseInt(reason)),
    numbers(0, 20),
  );
  t.strictSame(
    (await collect(store.read('load', 'B', { backwards: true }))).map((event) => event.revision),
    numbers(1, 21).reverse(),
  );
});

t.test('ranges, backwards, limits', async (t) => {
  const read = async (options: Parameters<typeof store.read>[2]): Promise<number[]> =>
    (await collect(store.read('load', 'A', options))).map((event) => event.revision);
  t.strictSame(await read({ from: 5, to: 8 }), [5, 6, 7, 8]);
  t.strictSame(await read({ from: 8, to: 5 }), []);
  t.strictSame(await read({ from: 8, to: 5, backwards: true }), [8, 7, 6, 5]);
  t.strictSame(await read({ backwards: true, limit: 2 }), [1400, 1399]);
  t.strictSame(await read({ from: 1399, limit: 5 }), [1399, 1400]);
  t.strictSame(await read({ from: 2000 }), []);
  t.strictSame(await read({ from: 2000, backwards: true, to: 1399 }), [1400, 1399]);
  t.strictSame(await read({ from: 1, to: 1, backwards: true }), [1]);
  t.equal((await read({ limit: 513 })).length, 513);
  for (const bad of [{ from: 0 }, { to: 1.5 }, { limit: 0 }])
    await t.rejects(read(bad), StoreInputError);
});

t.test('a state as it was, by revision and by time', async (t) => {
  const with100 = aggregate('load', { version: 1, every: 10 });
  await store.append(
    'load',
    'C',
    numbers(0, 15).map((n) => reserved('C', n)),
    { expectedRevision: 0 },
  );
  await until('the clock has moved on', async () =>
    moreThan(
      Number((await look.time())[0]) * 1000 + Math.floor(Number((await look.time())[1]) / 1000),
      (await atOf('C', 15)) + 2,
    ),
  );
  await store.append('load', 'C', [reserved('C', 15)], { expectedRevision: 15 });
  await store.load(with100, 'C');
  await untilTold(writesTo(look), 'there is a snapshot', () =>
    look.exists(snapshotKey('load', 'C')),
  );
  for (const at of [0, 1, 7, 15, 16])
    t.strictSame(
      (await store.load(with100, 'C', { at })).state.numbers,
      numbers(0, at),
      `at revision ${at}`,
    );
  t.equal((await store.load(with100, 'C', { at: 99 })).revision, 16);
  t.equal(
    (await store.load(with100, 'C', { at: new Date((await atOf('C', 15)) + 1) })).revision,
    15,
  );
  t.equal((await store.load(with100, 'C', { at: new Date(await atOf('C', 16)) })).revision, 16);
  t.equal((await store.load(with100, 'C', { at: new Date(0) })).revision, 0);
  await t.rejects(store.load(with100, 'C', { at: -1 }), StoreInputError);
  await t.rejects(store.load(with100, 'C', { at: new Date(NaN) }), StoreInputError);
});
async function atOf(id: string, revision: number): Promise<number> {
  const [event] = await collect(store.read('load', id, { from: revision, to: revision }));
  return Number(event?.position.split('/')[1]?.split('-')[0]);
}

t.test('snapshots: taken, used, and left aside where they do not fit', async (t) => {
  const every10 = aggregate('snap', { version: 1, every: 10 });
  await store.append(
    'snap',
    'A',
    numbers(0, 25).map((n) => reserved('A', n)),
    { expectedRevision: 0 },
  );
  const key = snapshotKey('snap', 'A');
  const load = async (one: ReturnType<typeof aggregate>) => {
    evolved = 0;
    const { state, revision } = await store.load(one, 'A');
    t.strictSame(
      [state.numbers, revision],
      [numbers(0, Number(await store.revision('snap', 'A'))), state.numbers.length],
    );
    return evolved;
  };
  t.equal(await load(every10), 25);
  await untilTold(writesTo(look), 'the snapshot is written', async () =>
    is(await look.hget(key, 'revision'), '25'),
  );
  t.equal(await load(every10), 0, 'nothing was replayed');
  await store.append(
    'snap',
    'A',
    numbers(25, 30).map((n) => reserved('A', n)),
    { expectedRevision: 25 },
  );
  t.equal(await load(every10), 5, 'the tail was');
  t.equal(await load(aggregate('snap')), 30, 'without a policy none is used');

  const good = await look.hgetall(key);
  for (const [what, fields] of [
    ['of another version', { schema: 'v7' }],
    ['that is no JSON', { state: '{"numbers":[1,' }],
    ['beyond the history', { revision: '31' }],
    ['with a revision that is none', { revision: 'many' }],
    ['of revision 0', { revision: '0' }],
  ] as const) {
    await look.hset(key, { ...good, ...fields });
    t.equal(await load(every10), 30, `a snapshot ${what} is left aside`);
    await look.del(key);
  }
  await look.hset(key, good);
  const strict = aggregate('snap', {
    version: 1,
    every: 10,
    encode: (state) => state,
    decode: () => {
      throw new Error('no');
    },
  });
  t.equal(await load(strict), 30, 'decode may refuse it');
});

t.test(
  'an older snapshot never overwrites a newer one; the newest of a version does another one',
  async (t) => {
    const v1 = aggregate('snap', { version: 1, every: 1 });
    const v2 = aggregate('snap', { version: 2, every: 1 });
    await store.append('snap', 'B', [reserved('B', 0), reserved('B', 1)], { expectedRevision: 0 });
    const key = snapshotKey('snap', 'B');
    await store.load(v1, 'B');
    await untilTold(writesTo(look), 'v1 is written', async () =>
      is(await look.hget(key, 'schema'), 'v1'),
    );
    await store.load(v2, 'B');
    await untilTold(writesTo(look), 'v2 takes its place', async () =>
      is(await look.hget(key, 'schema'), 'v2'),
    );
    await look.hset(key, { revision: '9', schema: 'v2', state: 'newer' });
    const other = millrace.store();
    await other.load(v1, 'B');
    await other.close();
    t.strictSame(await look.hgetall(key), { revision: '9', schema: 'v2', state: 'newer' });
  },
);

t.test('what JSON would change is not kept', async (t) => {
  const dated = defineAggregate({
    category: 'snap',
    events: ['stock.reserved'],
    initialState: () => ({ at: new Date(0) as Date | null }),
    snapshot: { version: 1, every: 1 },
    evolve: (state, event) => ({ ...state, at: event.time }),
  });
  await store.append('snap', 'D', [reserved('D', 0)], { expectedRevision: 0 });
  const own = millrace.store();
  t.ok((await own.load(dated, 'D')).state.at instanceof Date);
  await own.close();
  t.equal(await look.exists(snapshotKey('snap', 'D')), 0);
  const coded = {
    ...dated,
    snapshot: {
      version: 2,
      every: 1,
      encode: (state: { at: Date | null }) => ({ at: Number(state.at) }),
      decode: (value: unknown) => ({ at: new Date((value as { at: number }).at) }),
    },
  };
  await store.load(coded, 'D');
  await untilTold(writesTo(look), 'it is written', () => look.exists(snapshotKey('snap', 'D')));
  const { state, snapshotRevision } = await store.load(coded, 'D');
  t.equal(snapshotRevision, 1);
  t.ok(state.at instanceof Date);
});

t.test('events the aggregate does not name are passed over and counted', async (t) => {
  const some = defineAggregate({
    category: 'load',
    events: ['payment.failed'],
    initialState: () => 0,
    evolve: (count) => count + 1,
  });
  await store.append('load', 'D', [reserved('D', 1), failed('D', 'x'), reserved('D', 2)], {
    expectedRevision: 0,
  });
  t.match(await store.load(some, 'D'), { state: 1, revision: 3 });
});

t.test('a broken element is named, with its revision', async (t) => {
  await store.append(
    'load',
    'E',
    numbers(0, 3).map((n) => reserved('E', n)),
    { expectedRevision: 0 },
  );
  await look.lset(`mr:{${partitionOf('E', 4)}}:history:load:E`, 1, Buffer.from([0x1a, 0x7f, 1]));
  await t.rejects(collect(store.read('load', 'E')), {
    name: CorruptDataError.name,
    message: /history load E, revision 2/,
  });
  await t.rejects(store.load(aggregate('load'), 'E'), { message: /history load E, revision 2/ });
});

t.test('property: snapshot plus tail equals full replay', async (t) => {
  const policy = aggregate('prop', { version: 1, when: (_state, events) => events >= 3 });
  const full = aggregate('prop');
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.record({ append: fc.integer({ min: 1, max: 4 }) }),
          fc.constant('load' as const),
          fc.constant('settle' as const),
        ),
        { minLength: 1, maxLength: 25 },
      ),
      async (steps) => {
        const id = `p${run++}`;
        const own = millrace.store();
        let revision = 0;
        for (const step of steps) {
          if (step === 'load') {
            const [a, b] = await Promise.all([own.load(policy, id), own.load(full, id)]);
            t.strictSame([a.state, a.revision], [b.state, b.revision]);
          } else if (step === 'settle')
            await until('no snapshot is under way', async () =>
              is((await own.load(policy, id)).revision, revision),
            );
          else
            ({ revision } = await own.append(
              'prop',
              id,
              numbers(0, step.append).map((n) =>
                n === 2 ? failed(id, `r${n}`) : reserved(id, revision + n),
              ),
              { expectedRevision: revision },
            ));
        }
        await own.close();
        const [a, b] = await Promise.all([store.load(policy, id), store.load(full, id)]);
        t.strictSame([a.state, a.revision], [b.state, b.revision]);
      },
    ),
    { numRuns: 40 },
  );
  t.ok((await look.keys('mr:*:snapshot:prop:*')).length > 5, 'there were snapshots');
});
