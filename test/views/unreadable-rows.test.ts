/**
 * A damaged record of a view affects nothing but itself. The other rows go on, and a query of the
 * damaged one names it.
 */
import t from 'tap';
import { inProcess } from '../../scripts/lab/cli-in-process.ts';
import { deadLetters, totals } from '../../scripts/lab/counters.ts';
import { functionsDirOf, openService, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import type { Tally } from '../../scripts/lab/misbehaving-functions/tally/tally.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { registerView } from '../../src/cli/commands/view.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { dropGeneration, liveGeneration } from '../../src/views/generations.ts';
import { verifyGeneration } from '../../src/views/verify.ts';
import { memberPrefix } from '../../src/wire/view-row.ts';
import { event, listAll } from './tally-model.ts';
import { untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const FN = 'tally@1';
const ROW = '{"count":1,"sum":1,"chain":1,"size":"small","last":"a"}';
const stored = (row: string, at: string, rev: string, ix: string): string =>
  `{"row":${row},"at":${at},"rev":${rev},"ix":${ix}}`;

/** The value at the row's key: a text, or another type. */
const DAMAGE: Readonly<Record<string, string | Buffer | 'list' | 'hash' | 'zset'>> = {
  'no JSON': 'not a row',
  'the word null': 'null',
  'a number': '5',
  'a list of JSON': '[]',
  'an empty object': '{}',
  truncated: stored(ROW, '"1-1/0"', '1', '[]').slice(0, -3),
  'a row that is null': stored('null', '"1-1/0"', '1', '[]'),
  'a row that is a text': stored('"x"', '"1-1/0"', '1', '[]'),
  'a row that is a list': stored('[]', '"1-1/0"', '1', '[]'),
  'no position': stored(ROW, '5', '1', '[]'),
  'a position that is none': stored(ROW, '"somewhere"', '1', '[]'),
  'no revision': stored(ROW, '"1-1/0"', '"1"', '[]'),
  'a revision below 0': stored(ROW, '"1-1/0"', '-1', '[]'),
  'index entries that are a text': stored(ROW, '"1-1/0"', '1', '"abc"'),
  'index entries of numbers': stored(ROW, '"1-1/0"', '1', '[[1,2],[3,4],null]'),
  'index entries of one value': stored(ROW, '"1-1/0"', '1', '[["a"],null,null]'),
  'invalid UTF-8': Buffer.concat([
    Buffer.from(stored(ROW, '"1-1/0"', '1', '[]').slice(0, -40)),
    Buffer.from([0xff]),
  ]),
  'invalid UTF-8 in a text of it': Buffer.from(
    stored('{"last":"\xff"}', '"1-1/0"', '1', '[]'),
    'latin1',
  ),
  'a list': 'list',
  'a hash': 'hash',
  'a sorted set': 'zset',
};

t.test('rows', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, 1);
  await service.dispatcher({ functionsDir: functionsDirOf('tally') }).start();
  const publisher = service.publisher();
  const view = service.view<Tally>('tally');
  const kinds = Object.keys(DAMAGE);
  const bad = kinds.map((kind) => `bad: ${kind}`);
  const good = kinds.map((_, i) => `good-${i}`);
  // The ids are neighbours, in the index too.
  const ids = kinds.flatMap((_, i) => [bad[i] as string, good[i] as string]);
  const publishAll = () => publisher.publishMany(ids.map((id) => event('test.event', id, 1)));
  await publishAll();
  const done = (count: number) =>
    untilTold(countersOf(look), `${count} are done`, async () =>
      is((await totals(look, FN, 1)).done, count),
    );
  await done(ids.length);
  const keyOf = (id: string): string => `mr:{0}:view:${FN}:${id}`;
  for (const kind of kinds) {
    const key = keyOf(`bad: ${kind}`);
    const what = DAMAGE[kind] as string | Buffer;
    if (what === 'list' || what === 'hash' || what === 'zset') await look.del(key);
    if (what === 'list') await look.rpush(key, 'x');
    else if (what === 'hash') await look.hset(key, 'a', 'b');
    else if (what === 'zset') await look.zadd(key, 1, 'x');
    else await look.set(key, what);
  }
  const before = await Promise.all(bad.map((id) => look.dumpBuffer(keyOf(id))));

  await t.test(
    'events of the others of the batch are folded; its own are dead with its name',
    async (t) => {
      await publishAll();
      await done(ids.length + good.length);
      await untilTold(countersOf(look), 'its own are dead', async () =>
        is((await totals(look, FN, 1)).dead, bad.length),
      );
      t.match(await totals(look, FN, 1), {
        done: ids.length + good.length,
        dead: bad.length,
        parked: 0,
      });
      for (const id of good)
        t.match(await view.get(id), { found: { row: { count: 2 }, revision: 2 } });
      const letters = await deadLetters(look, FN, 1);
      t.strictSame(letters.map(({ fields }) => fields['subject']).sort(), [...bad].sort());
      for (const { fields } of letters) {
        t.match(fields, { name: 'UnreadableRowError', reason: 'attempts' });
        t.ok(
          (fields['message'] ?? '').startsWith(
            `row ${JSON.stringify(fields['subject'])} of view "tally", version 1, cannot be read: it`,
          ),
          fields['subject'] ?? '',
        );
      }
      t.strictSame(
        await Promise.all(bad.map((id) => look.dumpBuffer(keyOf(id)))),
        before,
        'nothing was written over it',
      );
    },
  );

  await t.test('get says which', async (t) => {
    for (const id of bad) {
      await t.rejects(
        view.get(id),
        {
          code: 'UNREADABLE_ROW',
          view: 'tally',
          version: 1,
          id,
          key: keyOf(id),
          message: /cannot be read: it.*millrace view rebuild tally.*delete that key/,
        },
        id,
      );
    }
  });

  await t.test('list gives the others, in order, and says which could not be read', async (t) => {
    for (const options of [{}, { index: 'size', equals: 'small' }, { index: 'sum' }]) {
      for (const order of ['asc', 'desc'] as const) {
        t.strictSame(
          (await listAll(view, { ...options, order, limit: 7 })).map(({ id }) => id).sort(),
          [...good].sort(),
        );
      }
      const page = await view.list({ ...options, limit: 1000 });
      t.strictSame(
        page.unreadable.map(({ id, key }) => [id, key]).sort(),
        bad.map((id) => [id, keyOf(id)]).sort(),
      );
      for (const { id, problem } of page.unreadable)
        t.ok(problem.startsWith(`row ${JSON.stringify(id)} of view`), problem);
    }
    t.strictSame((await view.list({ index: 'size', equals: 'large' })).unreadable, []);
    t.equal((await view.count()).count, ids.length);
  });

  await t.test('on the command line', async (t) => {
    const run = inProcess(registerView, { REDIS_URL: redis.url }, PROTO_DIR);
    const one = await run('view', 'get', 'tally', bad[0] as string);
    t.match(one.error, { code: 'UNREADABLE_ROW' });
    const all = await run('view', 'list', 'tally');
    t.strictSame(
      all.out
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { id: string }).id)
        .sort(),
      [...good].sort(),
    );
    t.equal(
      all.err
        .trim()
        .split('\n')
        .filter((line) => line.includes('cannot be read')).length,
      bad.length,
    );
    t.ok(all.failed);
  });

  await t.test('its key deleted, the letter replayed: it begins anew', async (t) => {
    const id = bad[0] as string;
    await look.del(keyOf(id));
    const { position } = await publisher.publish('test.event', event('test.event', id, 5).data);
    await view.waitFor(position);
    t.match(await totals(look, FN, 1), { parked: 1 }, 'held behind its dead event');
    t.match(await view.get(id), { found: null });
    for await (const letter of listDeadLetters(service.deployment, { function: FN })) {
      if (letter.subject === id) await replayDeadLetter(service.deployment, letter);
    }
    await untilTold(countersOf(look), 'both are folded', async () =>
      is((await totals(look, FN, 1)).parked, 0),
    );
    t.match(await view.get(id), { found: { row: { count: 2, sum: 6 } } });
  });
});

t.test('indexes', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const service = await openService(t, redis.url, 2);
  await service.dispatcher({ functionsDir: functionsDirOf('tally') }).start();
  const publisher = service.publisher();
  const view = service.view<Tally>('tally');
  const ids = Array.from({ length: 20 }, (_, i) => `r${i}`);
  const publishAll = async (done: number): Promise<void> => {
    await publisher.publishMany(ids.map((id) => event('test.event', id, 1)));
    await untilTold(countersOf(look), `${done} are done`, async () =>
      is((await totals(look, FN, 2)).done, done),
    );
  };
  await publishAll(20);
  const keyOf = (partition: number, index: string): string =>
    `mr:{${partition}}:index:${FN}:${index}`;

  await t.test('entries that are none', async (t) => {
    const small = memberPrefix('small');
    const garbage = [
      Buffer.from([]),
      Buffer.from([0]),
      Buffer.from([0, 0]),
      Buffer.from([0, 0, 1, 2, 3]),
      Buffer.alloc(10),
      Buffer.concat([Buffer.alloc(10), Buffer.from([0xff])]),
      small,
      Buffer.concat([small, Buffer.from([1])]),
      Buffer.concat([small, Buffer.alloc(8)]),
      Buffer.concat([small, Buffer.alloc(8), Buffer.from([0xc3])]),
      Buffer.alloc(12, 0xfe),
    ];
    for (const index of ['*', 'size', 'sum'])
      for (const member of garbage) await look.zadd(keyOf(0, index), 0, member);
    for (const options of [{}, { index: 'size', equals: 'small' }, { index: 'sum' }]) {
      for (const order of ['asc', 'desc'] as const) {
        for (const limit of [1, 3, 1000])
          t.strictSame(
            (await listAll(view, { ...options, order, limit })).map(({ id }) => id).sort(),
            [...ids].sort(),
          );
      }
      const { unreadable } = await view.list({ ...options, limit: 1000 });
      t.ok(unreadable.length >= 3);
      t.match(
        unreadable,
        unreadable.map(() => ({
          id: null,
          key: keyOf(0, options.index ?? '*'),
          problem: /cannot be read.*ZREM/,
        })),
      );
    }
  });

  await t.test(
    'keys of another type: the lanes go on, and the other partition is listed',
    async (t) => {
      for (const index of ['*', 'size', 'sum']) {
        await look.del(keyOf(1, index));
        await look.set(keyOf(1, index), 'somebody else');
      }
      await publishAll(40);
      t.match(await totals(look, FN, 2), { dead: 0, parked: 0 });
      for (const id of ids) t.match(await view.get(id), { found: { row: { count: 2 } } });
      for (const options of [{}, { index: 'size', equals: 'small' }, { index: 'sum' }]) {
        const index = options.index ?? '*';
        const { rows, unreadable } = await view.list({ ...options, limit: 1000 });
        t.ok(rows.length > 0 && rows.length < ids.length);
        t.ok(
          unreadable.some(
            ({ id, key, problem }) =>
              id === null &&
              key === keyOf(1, index) &&
              /another type: string.*view rebuild tally/.test(problem),
          ),
        );
        await t.rejects(view.count(options), {
          code: 'UNREADABLE_INDEX',
          view: 'tally',
          version: 1,
          index,
          partition: 1,
          key: keyOf(1, index),
        });
        t.equal(await look.get(keyOf(1, index)), 'somebody else');
      }
      const run = inProcess(registerView, { REDIS_URL: redis.url }, PROTO_DIR);
      t.match(await run('view', 'status'), { error: null, out: /tally/ });
    },
  );

  await t.test(
    'verified: such records are problems; and a version with such ones can be removed',
    async (t) => {
      const generation = await liveGeneration(service.deployment, 'tally');
      // The next test reads r0.
      const row = (await look.keys(`mr:{0}:view:${FN}:*`)).find(
        (key) => !key.endsWith(':r0'),
      ) as string;
      await look.set(row, 'x');
      const { problems } = await verifyGeneration(service.deployment, generation, null);
      t.ok(
        problems.some((one) => /^row r\d+ cannot be read: it is no JSON/.test(one)),
        problems.join('\n'),
      );
      t.ok(problems.some((one) => one.startsWith(`an entry of ${keyOf(0, '*')} cannot be read`)));
      t.ok(problems.some((one) => one.includes(`its key ${keyOf(1, '*')} is of another type`)));

      // Another version, with the same records.
      await look.hset(
        'mr:registry:views',
        'generation:tally@2',
        JSON.stringify({ types: ['test.event'], indexes: ['size'] }),
      );
      for (const p of [0, 1]) await look.copy(keyOf(p, '*'), keyOf(p, '*').replace('@1', '@2'));
      await look.set(`mr:{0}:view:tally@2:${row.slice(row.lastIndexOf(':') + 1)}`, 'x');
      t.ok((await dropGeneration(service.deployment, 'tally', 2)) > 0);
      t.strictSame(await look.keys('mr:*:tally@2:*'), []);
    },
  );

  await t.test('what is registered of a version', async (t) => {
    await look.hset(
      'mr:registry:views',
      'generation:other@1',
      '{',
      'live:other',
      1,
      'generation:other@2',
      '{"types":5}',
    );
    t.match(await view.get('r0'), { found: { id: 'r0' } });
    await t.rejects(service.view('other').get('x'), {
      code: 'VIEW_GENERATION',
      view: 'other',
      message: /version 1 cannot be read.*generation:other@1/,
    });
    await t.rejects(service.view('nobody').get('x'), { code: 'UNKNOWN_VIEW' });
  });
});
