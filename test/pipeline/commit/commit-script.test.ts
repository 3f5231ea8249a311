/** commit.lua, called directly. */
import t from 'tap';
import { dump } from '../../../scripts/lab/counters.ts';
import {
  add,
  callCommit,
  callTake,
  FN,
  keys,
  openScriptLane,
  type CommitCall,
} from '../script-lane.ts';

t.test('a stale lease changes nothing', async (t) => {
  const lane = await openScriptLane(t);
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

t.test('everything of a turn at once, and the same turn again changes nothing', async (t) => {
  const lane = await openScriptLane(t);
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
});

t.test('an entry that is not pending any more causes nothing, and is named', async (t) => {
  const lane = await openScriptLane(t);
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
  'an entry without an outcome is not passed: a lost group is recreated in front of it',
  async (t) => {
    const lane = await openScriptLane(t);
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
  'nothing is parked in front of what another type, whose group was destroyed, brings again',
  async (t) => {
    const lane = await openScriptLane(t);
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

t.test('refused where Redis has forgotten the turn before', async (t) => {
  const lane = await openScriptLane(t);
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

t.test('results of retries', async (t) => {
  const lane = await openScriptLane(t);
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

t.test('works when the server is out of memory', async (t) => {
  const lane = await openScriptLane(t);
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

t.test('entries in runs: one that is missing costs only itself', async (t) => {
  const lane = await openScriptLane(t);
  const { look } = lane;
  const ids = ['1-0', '2-0', '3-0', '4-0', '5-0'];
  for (const id of ids) await add(look, 'a', id);
  await callTake(lane);
  await look.xack(keys.events(0, 'a'), FN, '3-0');
  const [kind, , , missing] = await callCommit(lane, {
    entries: ids.map((id, i) => [1, id, i === 4 ? 7 : 1]),
  });
  t.equal(kind, 'ok');
  t.strictSame(missing, ['3-0']);
  t.match(await look.hgetall(keys.counters(0)), { 'done:f:a': '10', 'at:f:a': /5-0$/ });
});
