/** The scripts of leases, called directly. */
import t from 'tap';
import { acquireLease, releaseLease, renewLeases } from '../../../src/pipeline/ownership/leases.ts';
import { callCommit, FN, keys, LANE, openScriptLane } from '../script-lane.ts';
import { until, is } from '../../../scripts/lab/until.ts';

t.test('a renewal answers with the last committed turn', async (t) => {
  const lane = await openScriptLane(t);
  const { connection, look } = lane;
  const turn = async (): Promise<string> =>
    (await renewLeases(connection, keys, 0, [{ ...LANE, leaseValue: lane.lease }], 60_000)).lanes[0]
      ?.turn ?? '?';
  t.equal(await turn(), '');
  await look.hset(keys.counters(0), 'turn:f', '1.12');
  t.equal(await turn(), '1.12');
});

t.test(
  'one that has ended is taken up again by its owner, unless anything came between',
  async (t) => {
    const lane = await openScriptLane(t);
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
      ['an owner under another epoch', () => look.hset(keys.counters(0), `open:${FN}`, '2')],
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
  'one owner, a new epoch with every acquisition, given back only by their owner',
  async (t) => {
    const lane = await openScriptLane(t);
    const { connection, look } = lane;
    t.equal(lane.lease, 'one:1');
    const refused = await acquireLease(connection, keys, LANE, {
      dispatcher: 'two',
      ttlMs: 60_000,
    });
    t.ok('freeInMs' in refused && refused.freeInMs > 0 && refused.freeInMs <= 60_000);
    t.strictSame(
      await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 }),
      { value: 'one:2' },
      'also for the one who held it: what is in flight is refused, and nobody died',
    );
    t.equal(await look.hget(keys.counters(0), `presumed:${FN}`), null);
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
    });
    await until('the lease has run out', async () => is(await look.exists(keys.lease(0, FN)), 0));
    t.strictSame(await acquireLease(connection, keys, LANE, { dispatcher: 'one', ttlMs: 60_000 }), {
      value: 'one:4',
    });
    t.equal(await look.hget(keys.counters(0), `presumed:${FN}`), 'two:3');
  },
);
