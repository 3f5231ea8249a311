import fc from 'fast-check';
import t from 'tap';
import { EntryMerge, type ScannedEntry } from '../../src/find/entry-merge.ts';
import { SlowExpressionError } from '../../src/find/find-errors.ts';
import { RedisShare } from '../../src/find/redis-share.ts';
import {
  searchEvents,
  type SearchOptions,
  type SearchProgress,
} from '../../src/find/search-events.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import { foreign } from '../pipeline/bare-lane.ts';
import {
  allEvents,
  append,
  callsOf,
  makeFindBed,
  resetStats,
  search,
  type FindBed,
  type NewFindEvent,
  type Searched,
} from './find-bed.ts';

const TYPES = ['ordered', 'paid'] as const;
let made = 0;
const ordered = (subject: string, data: NewFindEvent['data'] = {}): NewFindEvent => ({
  id: `e${made++}`,
  subject,
  data,
});

t.test('a search finds exactly what a naive filter finds, the newest first', async (t) => {
  const bed = await makeFindBed(t, 3);
  const flush = fc.record({
    partition: fc.nat(2),
    ordered: fc.array(fc.nat(9), { maxLength: 4 }),
    paid: fc.array(fc.nat(9), { maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(flush, { maxLength: 12 }), fc.nat(9), async (flushes, wanted) => {
      await bed.connection.command('FLUSHALL');
      const numbers = new Map<string, number>();
      const eventOf = (number: number): NewFindEvent => {
        const event = ordered(`s${number}`);
        numbers.set(event.id, number);
        return event;
      };
      for (const { partition, ordered: first, paid } of flushes) {
        const parts = {
          ...(first.length > 0
            ? { ordered: first.map((n) => ({ ...eventOf(n), data: { number: n } })) }
            : {}),
          ...(paid.length > 0 ? { paid: paid.map((n) => eventOf(n)) } : {}),
        };
        if (Object.keys(parts).length > 0) await append(bed, partition, parts);
      }
      const all = await allEvents(bed, TYPES);
      const naive = all
        .filter(({ id, type }) => numbers.get(id) === wanted || (type === 'paid' && wanted > 4))
        .map(({ id }) => id);
      const { matches, last } = await search(
        bed,
        `subject == "s${wanted}" || (type == "paid" && ${wanted} > 4)`,
        { limit: 1000 },
      );
      t.strictSame(
        matches.map(({ id }) => id),
        naive,
      );
      t.match(last, { end: 'all', searched: all.length, retained: all.length, unjudged: 0 });
      const byData = await search(bed, `data.number == ${wanted}`, {
        types: ['ordered'],
        limit: 1000,
      });
      t.strictSame(
        byData.matches.map(({ id }) => id),
        all
          .filter(({ id, type }) => type === 'ordered' && numbers.get(id) === wanted)
          .map(({ id }) => id),
      );
    }),
    { numRuns: 15 },
  );
});

t.test('a match has place, attributes and decoded data', async (t) => {
  const bed = await makeFindBed(t, 2);
  const entryId = await append(bed, 1, {
    ordered: [
      { id: 'a', subject: 'o-1', data: { number: 5, status: 1, lines: [{ sku: 'x' }] } },
      {
        id: 'b',
        subject: 'o-2',
        data: { number: 6, note: 'urgent' },
        extensions: { correlationid: 'c' },
        timeMs: 1_795_450_694_309,
        source: 'shop',
      },
    ],
  });
  const { matches } = await search(bed, 'data.number > 5 && data.note == "urgent"');
  t.match(matches, [
    {
      id: 'b',
      subject: 'o-2',
      type: 'ordered',
      partition: 1,
      entryId,
      index: 1,
      position: 1,
      where: `1/${entryId}/1`,
      source: 'shop',
      timeMs: 1_795_450_694_309,
      appendedMs: Number(entryId.split('-')[0]),
      extensions: { correlationid: 'c' },
      data: { orderId: 'o-2', number: 6, note: 'urgent', lines: [] },
      problem: null,
    },
  ]);
  t.match((await search(bed, 'data.status == "LATE"')).matches, [{ id: 'a' }]);
});

t.test('events that cannot be judged or read cost themselves, and are told', async (t) => {
  const bed = await makeFindBed(t, 1);
  await append(bed, 0, { ordered: [ordered('s', { note: 'x' }), ordered('s')] });
  await append(bed, 0, {
    ordered: [{ id: 'broken', subject: 's', bytes: Buffer.from([10, 200]) }, ordered('s')],
  });
  await bed.connection.command(
    'XADD',
    bed.keys.events(0, 'ordered'),
    '*',
    'b',
    'rubbish',
    'n',
    3,
    'c',
    1,
  );
  await foreign(bed, 0, 'ordered', [{ id: '', subject: 's' }]);
  const { matches, last } = await search(bed, 'data.note == "x"');
  t.equal(matches.length, 1);
  t.match(last, {
    end: 'all',
    searched: 8,
    matches: 1,
    unjudged: 2,
    unreadable: 5,
    firstUnjudged: /No such key: note/,
    firstUnreadable: /id is empty/,
  });
  const attributes = await search(bed, 'subject == "s"');
  t.equal(attributes.matches.length, 4, 'a payload that is not needed costs nothing');
  t.match(attributes.matches[1], { id: 'broken', data: null, problem: /are no find.v1.Ordered/ });
});

t.test('the schema of the writer decodes, and a missing one is told', async (t) => {
  const bed = await makeFindBed(t, 1);
  const files = [
    {
      name: 'v2.proto',
      text: `syntax = "proto3"; package other.v1; import "millrace/v1/options.proto";
      message Shipped { option (millrace.v1.event) = { type: "shipped", subject: "id" };
        string id = 1; string carrier = 2; }`,
    },
  ];
  const { id: schema } = await bed.registry.register(
    { subject: 'shipped', files },
    { by: 'tester@here', gitRevision: 'abc' },
  );
  const bytes = Buffer.concat([
    Buffer.from([10, 1]),
    Buffer.from('a'),
    Buffer.from([18, 3]),
    Buffer.from('UPS'),
  ]);
  await append(bed, 0, {
    shipped: [
      { id: 'known', subject: 'a', bytes, schema },
      { id: 'none', subject: 'a', bytes },
      { id: 'missing', subject: 'a', bytes, schema: schema + 1 },
    ],
  });
  const { matches, last } = await search(bed, 'data.carrier == "UPS"');
  t.match(
    matches.map(({ id, data }) => [id, data]),
    [
      ['none', { id: 'a', carrier: 'UPS' }],
      ['known', { id: 'a', carrier: 'UPS' }],
    ],
  );
  t.match(last, { unreadable: 1, firstUnreadable: /is not in the registry/ });
});

async function filled(bed: FindBed, flushes: number): Promise<void> {
  for (let i = 0; i < flushes; i++)
    await append(bed, i % bed.partitions, {
      ordered: Array.from({ length: 4 }, (_, n) => ordered(`s${n}`, { number: i })),
    });
}

t.test('each limit ends the search, and the report says which', async (t) => {
  const bed = await makeFindBed(t, 2);
  await filled(bed, 20);
  const all = (await allEvents(bed, ['ordered'])).map(({ id }) => id);
  const some = await search(bed, 'true', { limit: 7 });
  t.strictSame(
    some.matches.map(({ id }) => id),
    all.slice(0, 7),
  );
  t.match(some.last, { end: 'matches', searched: 7, retained: 80 });
  const events = await search(bed, 'data.number < 0', { maxEvents: 11 });
  t.match(events.last, { end: 'events', searched: 11, matches: 0 });
  // A millisecond of reads has a pause of minutes, which the limit cuts.
  const time = await search(bed, 'true', { share: 1e-6, maxMs: 30, limit: 1000 });
  t.match(time.last, { end: 'time' });
  t.ok(time.last.searched < 80);
  const oldest = (await allEvents(bed, ['ordered'])).at(-1)?.entryId.split('-')[0];
  const untilMs = Number(oldest);
  const before = await search(bed, 'true', { untilMs, limit: 1000 });
  t.ok(before.matches.every(({ appendedMs }) => appendedMs <= untilMs));
  t.ok(before.matches.length >= 4);
  const after = await search(bed, 'true', { sinceMs: untilMs + 3_600_000 });
  t.match(after.last, { end: 'since', searched: 0, reachedMs: null });
  const stop = new AbortController();
  let seen = 0;
  for await (const { match, progress } of searchEvents(bed, 'true', {
    limit: 1000,
    share: 1,
    progressMs: 60_000,
    signal: stop.signal,
  })) {
    if (match && ++seen === 5) stop.abort();
    if (progress) t.match(progress, { end: 'aborted' });
  }
  t.ok(seen >= 5 && seen < 80, 'it ended early');
});

t.test('a search goes on where another one has ended, within one flush, too', async (t) => {
  const bed = await makeFindBed(t, 2);
  await filled(bed, 6);
  await append(bed, 0, {
    ordered: Array.from({ length: 9 }, () => ordered('s')),
    paid: Array.from({ length: 4 }, () => ordered('s')),
  });
  // Damaged entries, the oldest and the newest.
  for (const id of ['1-0', '*'])
    await bed.connection.command('XADD', bed.keys.events(1, 'paid'), id, 'b', 'rubbish', 'n', 3);
  const whole = await search(bed, 'true', { limit: 1000 });
  for (const options of [{ limit: 5 }, { maxEvents: 1 }, { maxEvents: 7 }]) {
    const ids: string[] = [];
    let searched = 0;
    let last: SearchProgress | null = null;
    for (let rounds = 0; last?.end !== 'all' && rounds < 100; rounds++) {
      const after: SearchOptions = last?.next ? { after: last.next } : {};
      const one = await search(bed, 'true', { ...options, ...after });
      ids.push(...one.matches.map(({ id }) => id));
      searched += one.last.searched;
      last = one.last;
    }
    t.equal(last?.end, 'all');
    t.strictSame(
      ids,
      whole.matches.map(({ id }) => id),
    );
    t.equal(searched, whole.last.searched, 'none twice');
  }
  await t.rejects(search(bed, 'true', { after: 'x' }), { code: 'FIND_OPTION', option: 'after' });
});

t.test('a masked field tells nothing, to an expression neither', async (t) => {
  const bed = await makeFindBed(t, 1);
  const versionOf = (option: string): { name: string; text: string }[] => [
    {
      name: 'm.proto',
      text: `syntax = "proto3"; package m.v1; import "millrace/v1/options.proto";
      message Signed { option (millrace.v1.event) = { type: "signed", subject: "id" };
        string id = 1; string email = 2${option}; repeated Part parts = 3; }
      message Part { string name = 1; string note = 2 [(millrace.v1.masked) = true]; }`,
    },
  ];
  const by = { by: 'tester@here', gitRevision: 'abc' };
  const register = async (option: string): Promise<number> =>
    (await bed.registry.register({ subject: 'signed', files: versionOf(option) }, by)).id;
  const schema = await register('');
  await register(' [(millrace.v1.masked) = true]');
  const catalog = createCatalog(versionOf(''));
  const bytes = Buffer.from(
    catalog.get('signed').encode({ id: 'a', email: 'SECRET', parts: [{ name: 'p', note: 'x' }] }),
  );
  await append(bed, 0, { signed: [{ id: 'one', subject: 'a', bytes, schema }] });
  const found = async (expression: string, masked: boolean): Promise<Searched> =>
    search(bed, expression, { masked });
  t.match((await found('data.email == "SECRET"', false)).matches, [
    { data: { email: 'SECRET', parts: [{ note: 'x' }] }, masked: [] },
  ]);
  for (const guess of ['data.email == "SECRET"', 'data.email.size() == 6']) {
    const { matches, last } = await found(guess, true);
    t.equal(matches.length, 0);
    t.match(last, { unjudged: 1, firstUnjudged: /No such key: email/ });
  }
  t.equal(
    (await found('has(data.email) || data.parts.exists(p, has(p.note))', true)).matches.length,
    0,
  );
  t.match((await found('data.parts[0].name == "p"', true)).matches, [
    {
      data: { id: 'a', email: null, parts: [{ name: 'p', note: null }] },
      masked: ['email', 'parts.0.note'],
    },
  ]);
  // Without a schema nothing tells which fields are confidential.
  await append(bed, 0, { strange: [{ id: 'two', subject: 'a', bytes, schema: schema + 99 }] });
  const strange = await found('size(data) > 0', true);
  t.match(strange.last, { unreadable: 1 });
});

t.test('the cost does not depend on the backlog', async (t) => {
  const bed = await makeFindBed(t, 2);
  const costs: number[] = [];
  for (const flushes of [4, 200]) {
    await filled(bed, flushes);
    await resetStats(bed);
    const { last } = await search(bed, 'true', { types: ['ordered'], limit: 1 });
    t.equal(last.commands, await callsOf(bed, 'xrevrange'));
    costs.push(last.commands);
    t.equal(await callsOf(bed, 'xrange'), 0);
    t.equal(await callsOf(bed, 'hgetall'), bed.partitions, 'the counters');
  }
  t.equal(costs[0], costs[1]);
  t.ok((costs[0] as number) <= bed.partitions + 2, `${costs[0]} commands`);
  await resetStats(bed);
  const { last } = await search(bed, 'false', { types: ['ordered'] });
  t.match(last, { end: 'all', searched: 816 });
  t.ok((await callsOf(bed, 'xrevrange')) < 40, 'pages grow');
});

t.test('pages beyond the memory are dropped, and read again', async (t) => {
  const bed = await makeFindBed(t, 8);
  const payload = Buffer.alloc(1000);
  for (let flush = 0; flush < 40; flush++)
    await append(bed, flush % bed.partitions, {
      ordered: [{ id: `${flush}`, subject: 's', bytes: payload }],
    });
  const all = (await allEvents(bed, ['ordered'])).map(({ entryId }) => entryId);
  const streams = Array.from({ length: bed.partitions }, (_, partition) => ({
    partition,
    type: 'ordered',
  }));
  const cost = async (order: 'newest' | 'oldest', mostBytes: number): Promise<number> => {
    const share = new RedisShare(1);
    const [from, to] = order === 'newest' ? ['+', '-'] : ['-', '+'];
    const merge = new EntryMerge({ source: bed, streams, order, from, to, share, mostBytes });
    const found: ScannedEntry[] = [];
    for (let group = await merge.next(); group; group = await merge.next()) found.push(...group);
    const ids = found.map(({ entryId }) => entryId);
    t.strictSame(ids, order === 'newest' ? all : all.toReversed());
    return share.commands;
  };
  for (const order of ['newest', 'oldest'] as const) {
    const [whole, small] = [await cost(order, 1_000_000), await cost(order, 4000)];
    t.ok(whole < all.length, `${whole} commands`);
    t.ok(small > all.length, `${small} commands: pages were read again`);
  }
});

t.test('an unknown type, a wrong option and a slow expression are refused', async (t) => {
  const bed = await makeFindBed(t, 1);
  await filled(bed, 1);
  await t.rejects(search(bed, 'true', { types: ['orderd'] }), {
    code: 'UNKNOWN_FIND_TYPE',
    message: /did you mean "ordered"/,
  });
  await t.rejects(search(bed, 'true', { limit: 0 }), { code: 'FIND_OPTION', option: 'limit' });
  await t.rejects(search(bed, 'true', { share: 0 }), { code: 'FIND_OPTION', option: 'share' });
  await t.rejects(search(bed, 'sbject == ""'), { code: 'FIND_EXPRESSION' });
  // A pattern with exponential backtracking, on a subject that does not fit.
  await append(bed, 0, { ordered: [{ id: 'evil', subject: `${'a'.repeat(60)}!`, data: {} }] });
  await t.rejects(search(bed, 'subject.matches("^(a+)+$")'), SlowExpressionError);
  t.equal((await search(bed, 'subject == "s1"')).matches.length, 1, 'the next search works');
});
