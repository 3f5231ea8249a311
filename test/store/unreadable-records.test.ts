/** A damaged record of the event store affects nothing but itself. One server for all. */
import t from 'tap';
import { pino } from 'pino';
import { join } from 'node:path';
import { inProcess } from '../../scripts/lab/cli-in-process.ts';
import { registerHistory } from '../../src/cli/commands/history.ts';
import { defineAggregate, type SnapshotPolicy } from '../../src/define/define-aggregate.ts';
import { connect } from '../../src/millrace.ts';
import type { EventStore } from '../../src/store/event-store.ts';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { collect, numberOf, reserved } from './open-store.ts';
import { untilTold, writesTo } from '../../scripts/lab/until.ts';

const redis = await startRedis(t);
const look = redis.client();
let logged = '';
const millrace = await connect({
  protoDir: join(projectDir, 'proto'),
  environment: { REDIS_URL: redis.url, MILLRACE_PARTITIONS: 1 },
  logger: pino({ level: 'warn' }, { write: (line: string) => void (logged += line) }),
});
t.teardown(() => millrace.close());
const store: EventStore = millrace.store();

interface State {
  readonly numbers: readonly number[];
}
let evolved = 0;
function aggregate(category: string, snapshot?: SnapshotPolicy<State>) {
  return defineAggregate({
    category,
    events: ['stock.reserved', 'payment.failed'],
    initialState: (): State => ({ numbers: [] }),
    evolve(state, event): State {
      evolved++;
      return { numbers: [...state.numbers, numberOf(event)] };
    },
    ...(snapshot ? { snapshot } : {}),
  });
}
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

/** Fields to set, or another type of the key. */
const SNAPSHOTS: Readonly<
  Record<string, Record<string, string | Buffer> | 'string' | 'list' | 'zset'>
> = {
  'a text': 'string',
  'a list': 'list',
  'a sorted set': 'zset',
  'no JSON': { state: '{"numbers":[1,' },
  'an empty state': { state: '' },
  'invalid UTF-8': { state: Buffer.from('{"numbers":[0,1],"x":"\xff"}', 'latin1') },
  'half of a surrogate pair': {
    state: Buffer.concat([
      Buffer.from('{"numbers":[],"x":"'),
      Buffer.from([0xed, 0xa0, 0xbd]),
      Buffer.from('"}'),
    ]),
  },
  'a fraction as revision': { revision: '1.5' },
  'a revision in hexadecimal': { revision: '0x02' },
  'an exponent': { revision: '1e0' },
  'a negative revision': { revision: '-1' },
  'a revision that is a word': { revision: 'inf' },
  'an empty revision': { revision: '' },
  'a revision beyond the history': { revision: '900' },
  'a huge revision': { revision: '9'.repeat(40) },
};

for (const [what, damage] of Object.entries(SNAPSHOTS)) {
  t.test(`a snapshot: ${what}`, async (t) => {
    const id = what;
    const key = `mr:{0}:snapshot:snap:${id}`;
    const policy = aggregate('snap', { version: 1, every: 2 });
    await store.append(
      'snap',
      id,
      numbers(0, 4).map((n) => reserved(id, n)),
      { expectedRevision: 0 },
    );
    await store.load(policy, id);
    const kept = await untilTold(writesTo(look), 'it is kept', async () =>
      (await look.hget(key, 'revision')) === '4' ? look.hgetall(key) : null,
    );
    if (typeof damage === 'object') await look.hset(key, damage);
    else await look.del(key);
    if (damage === 'string') await look.set(key, 'x');
    if (damage === 'list') await look.rpush(key, 'x');
    if (damage === 'zset') await look.zadd(key, 1, 'x');
    logged = '';
    evolved = 0;
    t.match(await store.load(policy, id), { state: { numbers: numbers(0, 4) }, revision: 4 });
    t.equal(evolved, 4, 'from the events');
    await untilTold(
      writesTo(look),
      'the next snapshot overwrites it',
      async () =>
        (await look.type(key)) === 'hash' &&
        JSON.stringify(await look.hgetall(key)) === JSON.stringify(kept),
    );
    evolved = 0;
    await store.load(policy, id);
    t.equal(evolved, 0, 'which is used');
    const lines = logged
      .trim()
      .split('\n')
      .filter((line) => line.includes('cannot be read'));
    t.match(
      lines.map((line) => JSON.parse(line) as unknown),
      [{ level: 40, category: 'snap', id, key }],
      'said once',
    );
  });
}

t.test('a snapshot that is damaged again and again is said once', async (t) => {
  const policy = aggregate('snap', { version: 1, every: 1000 });
  await store.append('snap', 'again', [reserved('again', 0)], { expectedRevision: 0 });
  await look.set('mr:{0}:snapshot:snap:again', 'x');
  logged = '';
  for (let i = 0; i < 5; i++)
    t.match(await store.load(policy, 'again'), { state: { numbers: [0] } });
  t.equal(logged.split('cannot be read').length, 2);
});

/** Damages of an element of a history. */
const ELEMENTS: Readonly<Record<string, (element: Buffer) => Buffer>> = {
  empty: () => Buffer.alloc(0),
  'random bytes': () => Buffer.from('9f3a00ffb2c4d1e8', 'hex'),
  'a text': () => Buffer.from('{"not":"an event"}'),
  truncated: (element) => element.subarray(0, element.length - 3),
  'cut in its event': (element) => element.subarray(0, 30),
  'twice the event': (element) => Buffer.concat([element, element]),
  'without a type': (element) => element.subarray(element.readUInt8(1) + 2),
  'without an entry': (element) => element.subarray(0, element.lastIndexOf(0x22)),
  'with an entry that is none': (element) =>
    Buffer.concat([element, Buffer.from([0x22, 3]), Buffer.from('now')]),
  'a payload that is none': (element) => {
    const at =
      element.indexOf(Buffer.from('\n\x04SKU')) >= 0
        ? element.indexOf(Buffer.from('SKU')) - 2
        : element.indexOf(Buffer.from('SKU')) - 1;
    const copy = Buffer.from(element);
    copy[at] = 0x7f;
    return copy;
  },
};

t.test('an event of a history', async (t) => {
  const run = inProcess(registerHistory, { REDIS_URL: redis.url }, join(projectDir, 'proto'));
  for (const [what, damage] of Object.entries(ELEMENTS)) {
    const id = what.replaceAll(' ', '-');
    const key = `mr:{0}:history:events:${id}`;
    await store.append(
      'events',
      id,
      numbers(0, 4).map((n) => reserved(id, n, { id: `${id}-${n}` })),
      { expectedRevision: 0 },
    );
    await look.lset(key, 1, damage((await look.lindexBuffer(key, 1)) as Buffer));
    const error: unknown = await store.load(aggregate('events'), id).then(
      () => null,
      (e: unknown) => e,
    );
    t.match(
      error,
      {
        name: 'CorruptDataError',
        code: 'CORRUPT_DATA',
        history: { category: 'events', id, revision: 2 },
      },
      what,
    );
    t.match((error as Error).message, `history events ${id}, revision 2`);
    await t.rejects(
      collect(store.read('events', id)),
      { code: 'CORRUPT_DATA', message: /, revision 2/ },
      what,
    );
    t.strictSame(
      (await collect(store.read('events', id, { from: 3 }))).map(numberOf),
      [2, 3],
      'read on behind it',
    );
    t.match(
      await store.append('events', id, [reserved(id, 4)], { expectedRevision: 4 }),
      { revision: 5 },
      'append goes on',
    );
    for (const [flags, printed, named] of [
      [[], [1, 3, 4, 5], 1],
      [['--backwards'], [5, 4, 3, 1], 1],
      [['--limit', '2'], [1], 1],
      [['--at', '3'], [1, 3], 1],
      [['--at', '99'], [1, 3, 4, 5], 1],
      [['--backwards', '--limit', '1'], [5], 0],
    ] as [string[], number[], number][]) {
      const ran = await run('history', 'events', id, '--json', ...flags);
      t.strictSame(
        ran.out
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { revision: number }).revision),
        printed,
        `${what} ${flags.join(' ')}`,
      );
      t.equal(
        ran.err.split('\n').filter((line) => line.includes('revision 2')).length,
        named,
        ran.err,
      );
      t.equal(ran.error !== null, named > 0, 'exit status');
    }
  }
});

t.test('what is remembered of an append', async (t) => {
  for (const [what, value] of Object.entries({
    'a word': 'x',
    empty: '',
    'with a space': '1 2',
    'without events': '0:',
    'a list': null,
  })) {
    const id = what.replaceAll(' ', '-');
    const key = `mr:{0}:appends:memory:${id}`;
    await store.append('memory', id, [reserved(id, 0, { id: 'first' })], { expectedRevision: 0 });
    if (value !== null) await look.hset(key, 'first', value);
    else {
      await look.del(key);
      await look.rpush(key, 'x');
    }
    // Both appends are in one batch. The other one succeeds.
    const [again, other] = await Promise.allSettled([
      store.append('memory', id, [reserved(id, 0, { id: 'first' })], { expectedRevision: 'any' }),
      store.append('memory', `${id}-other`, [reserved(`${id}-other`, 0)], { expectedRevision: 0 }),
    ]);
    t.match(again, { status: 'rejected', reason: { code: 'REDIS_REPLY' } }, what);
    t.match(other, { status: 'fulfilled', value: { revision: 1 } }, what);
    t.match(
      await store.append('memory', id, [reserved(id, 1)], { expectedRevision: 1 }),
      { revision: 2 },
      'without an id it goes on',
    );
    await t.rejects(
      store.load(aggregate('memory'), id, { remembered: 'first' }),
      {
        code: 'CORRUPT_DATA',
        message: /history memory .*event first cannot be read.*appends:memory:/,
      },
      what,
    );
    t.match(await store.load(aggregate('memory'), id), { state: { numbers: [0, 1] } });
  }
});

t.test('keys of another type', async (t) => {
  await look.set('mr:{0}:history:wrong:A', 'x');
  await store.append('wrong', 'B', [reserved('B', 0)], { expectedRevision: 0 });
  const named = {
    code: 'CORRUPT_DATA',
    message: /history wrong A cannot be read: its key mr:\{0\}:history:wrong:A is of another type/,
  };
  await t.rejects(store.load(aggregate('wrong'), 'A'), named);
  await t.rejects(store.load(aggregate('wrong'), 'A', { at: new Date() }), named);
  await t.rejects(collect(store.read('wrong', 'A')), named);
  await t.rejects(store.append('wrong', 'A', [reserved('A', 0)], { expectedRevision: 'any' }), {
    message: /WRONGTYPE/,
  });
  t.match(await store.load(aggregate('wrong'), 'B'), { state: { numbers: [0] } });
  await look.set('mr:{0}:histories:listed', 'x');
  await t.rejects(collect(store.histories('listed')), {
    code: 'CORRUPT_DATA',
    message: /list of histories of listed/,
  });
  t.match(await store.append('listed', 'C', [reserved('C', 0)], { expectedRevision: 0 }), {
    revision: 1,
  });
});
