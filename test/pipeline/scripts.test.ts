/** take.lua, commit.lua and the lease scripts, called directly. */
import type { Redis } from 'ioredis';
import t from 'tap';
import { OWNER } from '../../src/core/function-spec.ts';
import {
  acquireLease,
  hasGoneBack,
  releaseLease,
  renewLeases,
} from '../../src/pipeline/ownership/leases.ts';
import { registerFunction } from '../../src/pipeline/ownership/register.ts';
import { openConnection } from '../../src/redis/connection.ts';
import type { RedisArg, RedisConnection } from '../../src/redis/contract.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { defineScript } from '../../src/redis/script.ts';
import { APPEND_ENTRIES, HOLDS_LEASE, SCHEDULE_EVENT } from '../../src/redis/lua/shared.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { startRedis, until, type TestLike } from '../../scripts/lab/redis-server.ts';

const take = defineScript({
  url: new URL('../../src/pipeline/read/take.lua', import.meta.url),
  keys: 'variable',
});
const commit = defineScript({
  url: new URL('../../src/pipeline/commit/commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    new URL('../../src/pipeline/commit/emit-events.lua', import.meta.url),
  ],
  keys: 'variable',
});
const keys = createKeys('mr');
const FN = 'f';
const LANE = { fn: FN, partition: 0, consumer: OWNER };
const TYPES = ['a', 'b'];

interface Lane {
  readonly connection: RedisConnection;
  readonly look: Redis;
  readonly lease: string;
}

async function setUp(t: TestLike): Promise<Lane> {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  await registerFunction(connection, keys, 0, {
    name: FN,
    on: TYPES,
    startFrom: 'start',
    ordering: 'key',
  });
  const answer = await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 });
  if (!('value' in answer)) throw new Error('the lane is not free');
  return { connection, look: redis.client(), lease: answer.value };
}

interface TakeCall {
  readonly lease?: string;
  readonly count?: number;
  readonly units?: number;
  readonly after?: readonly [string, string];
}
async function callTake(
  { connection, lease }: Lane,
  call: TakeCall = {},
): Promise<[string, string, string, string[], string[], string[]]> {
  return (await take.run(
    connection,
    [keys.lease(0, FN), keys.due(0, FN), ...TYPES.map((type) => keys.events(0, type))],
    [
      call.lease ?? lease,
      60_000,
      FN,
      call.units ?? 10,
      call.count ?? 100,
      'lane',
      ...(call.after ?? ['>', '>']),
    ],
  )) as [string, string, string, string[], string[], string[]];
}

interface CommitCall {
  readonly lease?: string;
  readonly turn?: string;
  readonly units?: readonly string[];
  /** stream 1 or 2, id, done */
  readonly entries?: readonly (readonly [number, string, number])[];
  /** unit, entry, delay, bytes */
  readonly parked?: readonly (readonly [number, number, number | '', string])[];
  /** entry, type, events, fields, unit that it holds */
  readonly dead?: readonly (readonly [number, string, number, readonly string[], number?])[];
  /** unit, taken, settled, head, delay */
  readonly retries?: readonly (readonly [
    number,
    number,
    readonly (readonly [string, 'done' | 'dead'])[],
    string,
    number | '',
  ])[];
}
async function callCommit({ connection, lease }: Lane, call: CommitCall): Promise<unknown[]> {
  const { units = [], entries = [], parked = [], dead = [], retries = [] } = call;
  const args: RedisArg[] = [
    call.lease ?? lease,
    60_000,
    FN,
    call.turn ?? '1.1',
    TYPES.length,
    units.length,
    entries.length,
    parked.length,
    dead.length,
    retries.length,
    0,
    0,
    0,
    0,
    0,
    '',
    ...TYPES,
    ...units,
    ...entries.flat(),
    ...parked.flat(),
  ];
  for (const [entry, type, events, fields, holds = 0] of dead)
    args.push(entry, type, events, holds, fields.length, ...fields);
  for (const [unit, taken, settled, head, delay] of retries)
    args.push(unit, taken, settled.length, ...settled.flat(), head, delay);
  return (await commit.run(
    connection,
    [
      keys.lease(0, FN),
      keys.counters(0),
      keys.due(0, FN),
      keys.dead(0, FN),
      keys.held(0, FN),
      ...TYPES.map((type) => keys.events(0, type)),
      ...units.map((unit) => keys.parked(0, FN, unit)),
    ],
    args,
  )) as unknown[];
}
const add = async (look: Redis, type: string, id: string, ...fields: string[]): Promise<string> =>
  (await look.xadd(
    keys.events(0, type),
    id,
    ...(fields.length > 0 ? fields : ['b', `bytes of ${id}`]),
  )) as string;

t.test('take: entries of all types, own pending ones, deleted ones, due units', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0', 'b', 'A', 'n', '3', 'c', '9', 'o', '3');
  await add(look, 'b', '1-0', 'c', '8', 'b', 'B');
  await add(look, 'a', '2-0', 'x', 'y');
  await look.zadd(keys.due(0, FN), 1, 'u1', 2, 'u2', 9e15, 'later');
  const [kind, now, nextDue, units, a, b] = await callTake(lane, { units: 1 });
  t.equal(kind, 'ok');
  t.ok(Number(now) > 1.6e12);
  t.strictSame(
    [units, nextDue],
    [['u1'], '2'],
    'as many units as asked for, and when the next one is due',
  );
  t.strictSame(a, ['1-0', 'A', '3', '9', '2-0', '', '', '']);
  t.strictSame(b, ['1-0', 'B', '', '8']);
  t.strictSame(
    (await callTake(lane)).slice(2),
    ['9000000000000000', ['u1', 'u2'], [], []],
    'new entries are handed out once',
  );
  await look.xdel(keys.events(0, 'a'), '1-0');
  const pending = await callTake(lane, { after: ['0-0', '0-0'] });
  t.strictSame(
    pending[4],
    ['1-0', '', 'gone', '', '2-0', '', '', ''],
    'what was deleted while pending is told',
  );
  t.strictSame((await callTake(lane, { after: ['1-0', '1-0'], count: 1 })).slice(4), [
    ['2-0', '', '', ''],
    [],
  ]);
  t.strictSame((await callTake(lane, { units: 0 }))[3], []);
});

t.test('take: with a stale lease nothing is handed out; a lost group is told', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  for (const lease of ['', 'one', 'one:999', 'two:1'])
    t.strictSame(await callTake(lane, { lease }), ['stale'], lease);
  t.equal(((await look.xpending(keys.events(0, 'a'), FN)) as [number])[0], 0);
  await look.del(keys.lease(0, FN));
  t.strictSame(await callTake(lane), ['stale'], 'no lease at all');
  await look.set(keys.lease(0, FN), lane.lease);
  await look.xgroup('DESTROY', keys.events(0, 'b'), FN);
  t.match(await callTake(lane), ['nogroup', /NOGROUP/]);
});

t.test('commit: a stale lease changes nothing', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  await callTake(lane);
  const before = await dump(look);
  for (const lease of ['', 'one:999', 'two:1']) {
    t.strictSame(
      await callCommit(lane, {
        lease,
        units: ['u'],
        entries: [[1, '1-0', 1]],
        parked: [[1, 1, 5, 'x']],
        dead: [[1, 'a', 1, ['k', 'v']]],
      }),
      ['stale'],
    );
  }
  t.strictSame(await dump(look), before);
});

t.test(
  'commit: everything of a turn at once, and the same turn again changes nothing',
  async (t) => {
    const lane = await setUp(t);
    const { look } = lane;
    await add(look, 'a', '1-0');
    await add(look, 'b', '1-0');
    await add(look, 'a', '2-0');
    await callTake(lane);
    const call: CommitCall = {
      turn: '1.7',
      units: ['u', 'v'],
      entries: [
        [1, '1-0', 5],
        [2, '1-0', 2],
        [1, '2-0', 0],
      ],
      parked: [
        [1, 1, 60_000, 'head of u'],
        [1, 2, '', 'behind it'],
        [2, 3, 0, 'head of v'],
      ],
      dead: [
        [2, 'b', 1, ['event', 'E', 'reason', 'attempts']],
        [3, 'a', 4, ['event', 'F']],
      ],
    };
    const reply = await callCommit(lane, call);
    t.match(reply, ['ok', /^\d+$/, /^\d+$/, [], []]);
    t.equal(reply[1], reply[2], 'v is due now');
    t.strictSame(await look.lrange(keys.parked(0, FN, 'u'), 0, -1), ['head of u', 'behind it']);
    t.equal(
      Number(await look.zscore(keys.due(0, FN), 'u')) - Number(reply[1]),
      60_000,
      "delays count from the server's clock",
    );
    t.strictSame(
      (await look.xrange(keys.dead(0, FN), '-', '+')).map(([, fields]) => fields),
      [
        ['event', 'E', 'reason', 'attempts'],
        ['event', 'F'],
      ],
    );
    t.match(await look.hgetall(keys.counters(0)), {
      'done:f:a': '5',
      'done:f:b': '2',
      'parked:f:a': '2',
      'parked:f:b': '1',
      'dead:f:b': '1',
      'dead:f:a': '4',
      'retried:f': '2',
      'turn:f': '1.7',
      'at:f:a': '2-0',
      'at:f:b': '1-0',
    });
    t.equal(((await look.xpending(keys.events(0, 'a'), FN)) as [number])[0], 0);
    const before = await dump(look);
    t.strictSame(await callCommit(lane, call), ['repeat', reply[2]]);
    t.strictSame(await dump(look), before);
  },
);

t.test('commit: an entry that is not pending any more causes nothing, and is named', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  await add(look, 'a', '2-0');
  await callTake(lane);
  await look.xack(keys.events(0, 'a'), FN, '1-0');
  const reply = await callCommit(lane, {
    units: ['u', 'v'],
    entries: [
      [1, '1-0', 3],
      [1, '2-0', 1],
      [1, '3-0', 1],
    ],
    parked: [
      [1, 1, 1, 'lost'],
      [2, 2, 1, 'kept'],
    ],
    dead: [
      [1, 'a', 1, ['event', 'lost']],
      [3, 'a', 1, ['event', 'never handed out']],
    ],
  });
  t.strictSame([reply[0], reply[3], reply[4]], ['ok', ['1-0', '3-0'], []]);
  t.equal(await look.exists(keys.parked(0, FN, 'u')), 0);
  t.equal(await look.exists(keys.dead(0, FN)), 0);
  t.strictSame(await look.zrange(keys.due(0, FN), '0', '-1'), ['v']);
  t.match(await look.hgetall(keys.counters(0)), { 'done:f:a': '1', 'parked:f:a': '1' });
});

t.test(
  'commit: an entry without an outcome is not passed: a lost group is recreated in front of it',
  async (t) => {
    const lane = await setUp(t);
    const { look } = lane;
    for (const id of ['1-0', '2-0']) await add(look, 'a', id);
    await callTake(lane);
    await callCommit(lane, { turn: '1.1', entries: [[1, '1-0', 1]] });
    await look.xgroup('DESTROY', keys.events(0, 'a'), FN);
    const reply = await callCommit(lane, { turn: '1.2', entries: [[1, '2-0', 1]] });
    t.strictSame(reply[3], ['2-0']);
    t.equal(await look.hget(keys.counters(0), 'at:f:a'), '1-0');
  },
);

t.test(
  'commit: nothing is parked in front of what another type, whose group was destroyed, brings again',
  async (t) => {
    const lane = await setUp(t);
    const { look } = lane;
    await add(look, 'a', '1-0');
    await add(look, 'b', '1-0');
    await callTake(lane);
    await look.xgroup('DESTROY', keys.events(0, 'a'), FN);
    const before = await dump(look);
    const call: CommitCall = {
      turn: '1.1',
      units: ['u'],
      entries: [
        [1, '1-0', 0],
        [2, '1-0', 0],
      ],
      parked: [
        [1, 1, 5, 'first'],
        [1, 2, '', 'second'],
      ],
    };
    t.strictSame(await callCommit(lane, call), ['refused', ['1-0']]);
    t.strictSame(await dump(look), before);
  },
);

t.test('commit: refused where Redis has forgotten the turn before', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  await callTake(lane);
  await look.rpush(keys.parked(0, FN, 'u'), 'u1');
  const call: CommitCall = {
    turn: '1.3 1.2',
    units: ['u'],
    entries: [[1, '1-0', 1]],
    retries: [[1, 1, [['a', 'done']], '', '']],
  };
  const before = await dump(look);
  t.strictSame(await callCommit(lane, call), ['back']);
  await look.hset(keys.counters(0), 'turn:f', '1.1');
  t.strictSame(await callCommit(lane, call), ['back']);
  await look.hdel(keys.counters(0), 'turn:f');
  t.strictSame(await dump(look), before, 'nothing has changed');
  await look.hset(keys.counters(0), 'turn:f', '1.2');
  t.equal((await callCommit(lane, call))[0], 'ok');
  t.equal(await look.hget(keys.counters(0), 'turn:f'), '1.3');
  t.equal((await callCommit(lane, call))[0], 'repeat');
});

t.test(
  'leases: what Redis has forgotten of a lane is noticed when its lease is renewed',
  async (t) => {
    const lane = await setUp(t);
    const { connection, look } = lane;
    const turn = async (): Promise<string> =>
      (await renewLeases(connection, keys, 0, [{ ...LANE, leaseValue: lane.lease }], 60_000))
        .lanes[0]?.turn ?? '?';
    t.equal(await turn(), '');
    await look.hset(keys.counters(0), 'turn:f', '1.12');
    t.equal(await turn(), '1.12');
    t.equal(hasGoneBack('1.12', ''), false, 'it has committed nothing yet');
    t.equal(hasGoneBack('1.12', '1.12'), false);
    t.equal(hasGoneBack('1.12', '1.9'), false, 'a commit came in between');
    t.equal(hasGoneBack('1.9', '1.12'), true);
    t.equal(hasGoneBack('', '1.1'), true);
    t.equal(hasGoneBack('1.40', '2.3'), true, 'the turn of an owner before');
  },
);

t.test('commit: results of retries', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  for (const record of ['u1', 'u2', 'u3']) await look.rpush(keys.parked(0, FN, 'u'), record);
  for (const record of ['v1', 'v2']) await look.rpush(keys.parked(0, FN, 'v'), record);
  await look.rpush(keys.parked(0, FN, 'w'), 'w1');
  await look.zadd(keys.due(0, FN), 1, 'u', 1, 'v', 1, 'w', 1, 'empty');
  await look.hset(keys.counters(0), 'parked:f:a', 4, 'parked:f:b', 2);
  const reply = await callCommit(lane, {
    turn: '1.2',
    units: ['u', 'v', 'w', 'empty'],
    dead: [[0, 'b', 1, ['event', 'v1']]],
    retries: [
      [1, 1, [['a', 'done']], 'u2 tried again', 30_000],
      [
        2,
        2,
        [
          ['b', 'dead'],
          ['b', 'done'],
        ],
        '',
        '',
      ],
      [3, 1, [['a', 'done']], '', ''],
      [4, 0, [], '', ''],
    ],
  });
  t.strictSame(
    [reply[0], reply[4]],
    ['ok', ['v', 'w', 'empty']],
    'lists that are empty now leave the due set',
  );
  t.strictSame(await look.lrange(keys.parked(0, FN, 'u'), 0, -1), ['u2 tried again', 'u3']);
  t.strictSame(await look.zrange(keys.due(0, FN), '0', '-1'), ['u']);
  t.equal(Number(await look.zscore(keys.due(0, FN), 'u')) - Number(reply[1]), 30_000);
  t.match(await look.hgetall(keys.counters(0)), {
    'parked:f:a': '2',
    'parked:f:b': '0',
    'done:f:a': '2',
    'done:f:b': '1',
    'dead:f:b': '1',
    'retried:f': '1',
  });
  // A replay may have added records behind the head meanwhile. Only settled records come off, and
  // the rest is due now.
  await look.rpush(keys.parked(0, FN, 'u'), 'added by a replay');
  const next = await callCommit(lane, {
    turn: '1.3',
    units: ['u'],
    retries: [
      [
        1,
        2,
        [
          ['a', 'done'],
          ['a', 'done'],
        ],
        '',
        '',
      ],
    ],
  });
  t.strictSame(await look.lrange(keys.parked(0, FN, 'u'), 0, -1), ['added by a replay']);
  t.equal(next[1], next[2]);
});

t.test('commit: works when the server is out of memory', async (t) => {
  const lane = await setUp(t);
  const { look } = lane;
  await add(look, 'a', '1-0');
  await callTake(lane);
  await look.config('SET', 'maxmemory', '1mb');
  const reply = await callCommit(lane, {
    units: ['u'],
    entries: [[1, '1-0', 1]],
    parked: [[1, 1, 5, 'x'.repeat(10_000)]],
    dead: [[1, 'a', 1, ['event', 'y'.repeat(10_000)]]],
  });
  t.match(reply, ['ok', /\d/, /\d/, [], []]);
  t.equal(await look.llen(keys.parked(0, FN, 'u')), 1);
  t.equal(await look.xlen(keys.dead(0, FN)), 1);
});

t.test(
  'leases: one that has ended is taken up again by its owner, unless anything came between',
  async (t) => {
    const lane = await setUp(t);
    const { connection, look } = lane;
    const held = async (leaseValue: string) =>
      (await renewLeases(connection, keys, 0, [{ ...LANE, leaseValue }], 60_000)).lanes[0]?.held;
    const commit = async () =>
      (
        await callCommit(lane, { lease: lane.lease, units: [], entries: [], parked: [], dead: [] })
      )[0];
    await look.del(keys.lease(0, FN));
    t.equal(await held('one:7'), false, 'another epoch');
    t.equal(await held('two:1'), false, 'another dispatcher');
    t.equal(await held(lane.lease), true);
    t.equal(await look.get(keys.lease(0, FN)), lane.lease);
    await look.del(keys.lease(0, FN));
    t.equal(await commit(), 'ok', 'a commit takes it up as well');
    const between: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['a rewind', () => look.hset(keys.counters(0), `rewound:${FN}`, '1')],
      ['a pass over histories', () => look.hset(keys.counters(0), `pass:${FN}`, '{}')],
      ['an owner of an older version', () => look.hset(keys.counters(0), `open:${FN}`, '2')],
      [
        'another dispatcher under the same epoch, after Redis went back in time',
        () => look.hset(keys.counters(0), `opener:${FN}`, 'two:1'),
      ],
      ['somebody who has it', () => look.set(keys.lease(0, FN), 'two:2')],
      ['FLUSHALL', () => look.flushall()],
    ];
    for (const [what, happens] of between) {
      await look.del(keys.lease(0, FN));
      const counters = await look.hgetall(keys.counters(0));
      await happens();
      t.equal(await held(lane.lease), false, what);
      t.equal(await commit(), 'stale', what);
      await look.del(keys.counters(0));
      await look.hset(keys.counters(0), counters);
    }
  },
);

t.test(
  'leases: one owner, a new epoch with every acquisition, given back only by their owner',
  async (t) => {
    const lane = await setUp(t);
    const { connection, look } = lane;
    t.equal(lane.lease, 'one:1');
    const refused = await acquireLease(connection, keys, LANE, {
      dispatcher: 'two',
      ttlMs: 60_000,
    });
    t.ok('freeInMs' in refused && refused.freeInMs > 0 && refused.freeInMs <= 60_000);
    t.strictSame(
      await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 }),
      { value: 'one:2', presumedDead: '' },
      'also for the one who held it: what is in flight is refused, and nobody died',
    );
    t.match(
      await renewLeases(
        connection,
        keys,
        0,
        [
          { ...LANE, leaseValue: 'one:1' },
          { ...LANE, leaseValue: 'one:2' },
          { ...LANE, fn: 'g', leaseValue: 'one:1' },
        ],
        60_000,
      ),
      {
        lanes: [{ held: false }, { held: true, nextDueMs: null }, { held: false }],
      },
    );
    await releaseLease(connection, keys, { ...LANE, leaseValue: 'one:1' });
    t.equal(await look.get(keys.lease(0, FN)), 'one:2');
    await releaseLease(connection, keys, { ...LANE, leaseValue: 'one:2' });
    t.strictSame(await acquireLease(connection, keys, LANE, { dispatcher: 'two', ttlMs: 50 }), {
      value: 'two:3',
      presumedDead: '',
    });
    await until('the lease has run out', async () => (await look.exists(keys.lease(0, FN))) === 0);
    t.strictSame(await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 }), {
      value: 'one:4',
      presumedDead: 'two:3',
    });
  },
);
