import fc from 'fast-check';
import t from 'tap';
import { defineView } from '../../src/define/index.ts';
import { indexMember, parseMember, sortBytes } from '../../src/wire/view-row.ts';
import { deadLetters, settled, totals } from '../../scripts/lab/counters.ts';
import { functionsDirOf, openService } from '../../scripts/lab/dispatcher-process.ts';
import type { Tally } from '../../scripts/lab/misbehaving-functions/tally/tally.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { event, listAll, TallyModel } from './tally-model.ts';
import { until } from '../../scripts/lab/until.ts';

const PARTITIONS = 3;
const FN = 'tally@1';
type Assertions = Pick<typeof t, 'strictSame' | 'equal' | 'match'>;

t.test('definitions are checked, all problems at once', async (t) => {
  const bad = (options: unknown) => () => defineView(options as Parameters<typeof defineView>[0]);
  const problems = [
    /unknown option "extra"/,
    /name must match/,
    /version must be/,
    /maxRowBytes must be/,
    /evolve must be a function/,
    /"\*" is no name/,
    /unknown option "indexes.a.more"/,
    /indexes.a.by must be/,
    /on must list/,
    /onDead must be/,
  ];
  try {
    bad({
      name: 'No',
      version: 0,
      on: [],
      indexes: { '*': {}, a: { by: 5, more: 1 } },
      maxRowBytes: 1,
      evolve: 3,
      onDead: 'maybe',
      extra: 1,
    })();
    t.fail('it was accepted');
  } catch (error) {
    t.match(error, { code: 'CONFIG', problems });
  }
  const { spec, view } = defineView({
    name: 'a',
    version: 3,
    on: ['test.event'],
    evolve: (row: { n: number } | null) => row,
  });
  t.match(spec, { name: 'a@3', onDead: 'hold', view: { view: 'a', version: 3, indexes: [] } });
  t.ok(view);
});

t.test('members of an index order like value, number, id', async (t) => {
  const entry = fc.tuple(
    fc.string({ unit: 'grapheme' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ unit: 'grapheme', minLength: 1 }),
  );
  fc.assert(
    fc.property(entry, entry, ([value, sort, id], [, otherSort]) => {
      const whole = parseMember(indexMember([value, sort], id));
      t.equal(whole.value, value);
      t.equal(whole.sort, sort === 0 ? 0 : sort);
      t.equal(whole.id, id);
      const bytes = Buffer.compare(sortBytes(sort), sortBytes(otherSort));
      t.equal(bytes, sort === otherSort ? 0 : sort < otherSort ? -1 : 1);
    }),
    { numRuns: 200 },
  );
});

type Items = readonly ReturnType<typeof event>[];

/** The view `tally` in a running dispatcher, and the model of its rows. */
async function openBed(t: TestLike) {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, PARTITIONS);
  await service.dispatcher({ functionsDir: functionsDirOf('tally') }).start();
  const publisher = service.publisher();
  const model = new TallyModel();
  let published = 0;
  /** Publishes without the model. Returns the positions. */
  const publishOnly = async (items: Items): Promise<string[]> => {
    const results = await publisher.publishMany(
      items.map((item) => ({ ...item, id: `e${published++}` })),
    );
    return results.map((result) => result.position);
  };
  const fold = (items: Items): void => {
    for (const { type, data } of items) model.fold(type, data);
  };
  return {
    look,
    service,
    view: service.view<Tally>('tally'),
    model,
    published: () => published,
    publishOnly,
    fold,
    async publish(items: Items): Promise<string[]> {
      const positions = await publishOnly(items);
      fold(items);
      return positions;
    },
  };
}
type Bed = Awaited<ReturnType<typeof openBed>>;

const idsOf = (rows: readonly { readonly id: string }[]): string[] => rows.map(({ id }) => id);

async function checkRows(t: Assertions, { view, model }: Bed): Promise<void> {
  const all = await listAll(view, { limit: 7 });
  t.strictSame(new Map(all.map(({ id, row }) => [id, row])), model.rows, 'rows are the fold');
  t.strictSame(
    idsOf(all),
    model.sorted(
      () => true,
      () => 0,
      'asc',
    ),
    'by id',
  );
}

/** Checks the indexes with a sort, in one order. */
async function checkSorted(
  t: Assertions,
  { view, model }: Bed,
  order: 'asc' | 'desc',
): Promise<void> {
  for (const size of ['small', 'large']) {
    t.strictSame(
      idsOf(await listAll(view, { index: 'size', equals: size, order, limit: 3 })),
      model.sorted(
        (row) => row.size === size,
        (row) => row.sum,
        order,
      ),
    );
  }
  t.strictSame(
    idsOf(await listAll(view, { index: 'sum', order, from: 10, to: 150, limit: 4 })),
    model.sorted(
      (row) => row.sum >= 10 && row.sum < 150,
      (row) => row.sum,
      order,
    ),
  );
}

async function checkOddCounts(t: Assertions, { view, model }: Bed, lag: number): Promise<void> {
  for (const type of ['test.event', 'test.other']) {
    const expected = model.sorted(
      (row) => row.count % 2 === 1 && row.last === type,
      () => 0,
      'asc',
    );
    t.strictSame(idsOf(await listAll(view, { index: 'odd', equals: type })), expected);
    t.match(await view.count({ index: 'odd', equals: type }), {
      count: expected.length,
      lag,
      version: 1,
    });
  }
}

async function checkCounts(t: Assertions, { view, model }: Bed): Promise<void> {
  t.equal((await view.count()).count, model.rows.size);
  t.equal(
    (await view.count({ index: 'sum', from: 50 })).count,
    model.sorted(
      (row) => row.sum >= 50,
      () => 0,
      'asc',
    ).length,
  );
}

async function checkAll(t: Assertions, bed: Bed, lag = 0): Promise<void> {
  await checkRows(t, bed);
  for (const order of ['asc', 'desc'] as const) await checkSorted(t, bed, order);
  await checkOddCounts(t, bed, lag);
  await checkCounts(t, bed);
}

t.test('a view in the flow', async (t) => {
  const bed = await openBed(t);
  const { look, service, view, publish } = bed;

  await t.test('read your own write; freshness', async (t) => {
    const before = Date.now();
    const [first = ''] = await publish([event('test.event', 'a', 5)]);
    const got = await view.get('a', { waitFor: first });
    t.match(got, {
      found: { id: 'a', row: { count: 1, sum: 5, size: 'small' }, revision: 1, position: first },
      lag: 0,
      version: 1,
    });
    t.ok((got.asOf?.getTime() ?? 0) >= before - 1000);
    t.match(await view.get('nobody'), { found: null });
    await t.rejects(view.waitFor(first.replace(/\/\d+-/, '/99999999999999-'), { timeoutMs: 30 }), {
      code: 'VIEW_BEHIND',
      timeoutMs: 30,
    });
    await t.rejects(view.waitFor('nowhere'), { code: 'VIEW_QUERY' });
  });

  await t.test(
    'any sequence of events: rows are the fold, lists are the filtered rows',
    async (t) => {
      const one = fc.record({
        type: fc.constantFrom('test.event', 'test.other'),
        key: fc.constantFrom('a', 'b', 'c', 'ü', 'k1', 'k2', 'k3', 'k4', 'k5', 'k6'),
        number: fc.integer({ min: -60, max: 60 }),
        order: fc.oneof(
          { weight: 9, arbitrary: fc.constant('ok') },
          { weight: 1, arbitrary: fc.constant('drop') },
          { weight: 1, arbitrary: fc.constant('spoil') },
        ),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 60 }), async (events) => {
          await publish(
            events.map(({ type, key, number, order }) => event(type, key, number, order)),
          );
          await settled(look, FN, PARTITIONS, bed.published());
          await checkAll(t, bed);
        }),
        { numRuns: 12, endOnFailure: true },
      );
    },
  );

  await t.test('a bad event holds its row, and no other', async (t) => {
    const bad = ['throw', 'huge', 'wrong', 'exit'];
    await publish(bad.map((order) => event('test.event', `bad-${order}`, 1)));
    // In one batch with good events of the same row. The good events count, in their order.
    const before = bad.map((order) => event('test.other', `bad-${order}`, 2));
    bed.fold(before);
    const good = Array.from({ length: 200 }, (_, i) =>
      event(i % 2 === 0 ? 'test.event' : 'test.other', `good-${i % 40}`, i),
    );
    const mixed = good.flatMap((item, i) =>
      i % 45 === 20
        ? [
            event(
              'test.event',
              `bad-${bad[Math.floor(i / 45)] as string}`,
              1,
              bad[Math.floor(i / 45)],
            ),
            item,
          ]
        : [item],
    );
    const items = [
      ...before,
      ...mixed,
      ...bad.map((order) => event('test.other', `bad-${order}`, 100)),
    ];
    await bed.publishOnly(items);
    bed.fold(good);
    await until(
      'the bad ones are dead, the rest is folded',
      async () => {
        const { done, dead, parked } = await totals(look, FN, PARTITIONS);
        return (
          dead === bad.length && parked === bad.length && done + dead + parked === bed.published()
        );
      },
      30_000,
    );
    const letters = await deadLetters(look, FN, PARTITIONS);
    t.strictSame(letters.map(({ fields }) => `${fields['subject']}: ${fields['name']}`).sort(), [
      'bad-exit: ThreadDeathError',
      'bad-huge: OversizeError',
      'bad-throw: Error',
      'bad-wrong: TypeError',
    ]);
    await checkAll(t, bed, bad.length);
    t.match(
      await view.get('bad-throw'),
      { found: { row: { count: 2, sum: 3 } } },
      'it stays where it was',
    );
  });

  await t.test('queries that cannot be answered', async (t) => {
    await t.rejects(service.view('nothing').get('a'), {
      code: 'UNKNOWN_VIEW',
      message: /known are: tally/,
    });
    await t.rejects(view.list({ index: 'nope' }), {
      code: 'VIEW_QUERY',
      message: /it has size, sum, odd/,
    });
    await t.rejects(view.list({ limit: 0 }), { code: 'VIEW_QUERY' });
    await t.rejects(view.list({ equals: 'x' }), { code: 'VIEW_QUERY' });
    // Each of these ranges would find nothing, or everything, whatever the rows are.
    for (const [range, said] of [
      [{ index: 'size' }, /equals \(--equals\) is required/],
      [{ index: 'sum', equals: 5 }, /has no "by"/],
      [{ from: 5 }, /an index that has a sort/],
      [{ to: 5 }, /an index that has a sort/],
      [{ index: 'odd', equals: 'test.event', from: 1 }, /has no "sort"/],
      [{ indx: 'size' }, /no option "indx" \(did you mean "index"\?\)/],
      [{ index: 'summ' }, /did you mean "sum"/],
      [{ index: 'size', equals: ['small'] }, /equals must be a string/],
      [{ index: 'size', equals: null }, /equals must be a string/],
    ] as [object, RegExp][]) {
      await t.rejects(
        view.list(range),
        { code: 'VIEW_QUERY', message: said },
        JSON.stringify(range),
      );
      await t.rejects(
        view.count(range),
        { code: 'VIEW_QUERY', message: said },
        JSON.stringify(range),
      );
    }
    await t.rejects(view.list({ order: 'up' as 'asc' }), { code: 'VIEW_QUERY' });
    await t.rejects(view.count({ index: 'sum', from: Number.NaN }), { code: 'VIEW_QUERY' });
    const { cursor } = await view.list({ limit: 1 });
    t.ok(cursor);
    for (const other of [{ order: 'desc' }, { index: 'size', equals: 'small' }] as const) {
      await t.rejects(view.list({ limit: 1, cursor: cursor as string, ...other }), {
        code: 'VIEW_QUERY',
        message: /cursor/,
      });
    }
    await t.rejects(view.list({ cursor: 'rubbish' }), { code: 'VIEW_QUERY' });
  });

  await t.test('the same version with other indexes is refused at start', async (t) => {
    await look.hset(
      'mr:registry:views',
      'generation:tally@1',
      JSON.stringify({ types: ['test.event', 'test.other'], indexes: ['other'] }),
    );
    await t.rejects(service.dispatcher({ functionsDir: functionsDirOf('tally') }).start(), {
      message: /Raise its version/,
    });
  });
});
