/**
 * The lanes that a dispatcher keeps, gives back and loses. The lanes here do nothing, and end when
 * they are told to.
 */
import t, { type Test } from 'tap';
import { RedisReplyError, UnknownOutcomeError } from '../../../src/core/errors/server-errors.ts';
import {
  LaneKeeper,
  type AcquiredLane,
  type KeptLane,
} from '../../../src/pipeline/ownership/lane-keeper.ts';
import { retireHelper } from '../../../src/pipeline/ownership/leases.ts';
import { announceMember } from '../../../src/pipeline/ownership/members.ts';
import { openConnection } from '../../../src/redis/connection.ts';
import type { RedisConnection, ScriptCall } from '../../../src/redis/contract.ts';
import { createKeys } from '../../../src/redis/keys.ts';
import { startRedis } from '../../../scripts/lab/redis-server.ts';
import { until, is, atLeast, CallCount } from '../../../scripts/lab/until.ts';

const PARTITIONS = 8;

/** A lane that does nothing. */
function idleLane(acquired: AcquiredLane, changes: Partial<KeptLane> = {}): KeptLane {
  const { fn, partition, leaseValue, consumer, heir } = acquired;
  const lane = {
    fn,
    partition,
    leaseValue,
    consumer,
    heir,
    committed: '',
    committedMs: -Infinity,
    marked: '',
    passed: false,
    lost: false,
    retired: false,
    start() {},
    retire: () => Promise.resolve(false),
    leaseHeld() {},
    startOver() {},
    dueAt() {},
    loseLease: () => void (lane.lost = true),
    stop: () => Promise.resolve(),
    ...changes,
  };
  return lane;
}

/** A connection whose scripts' replies pass `around`, which may hold or lose them. */
function withScripts(
  connection: RedisConnection,
  around: (name: string, reply: Promise<unknown>, keys: ScriptCall['keys']) => Promise<unknown>,
): RedisConnection {
  return Object.assign(Object.create(connection) as RedisConnection, {
    command: connection.command.bind(connection),
    until: connection.until.bind(connection),
    script: (call: ScriptCall, asBuffers: boolean) =>
      around(call.name, connection.script(call, asBuffers), call.keys),
  });
}

/** A keeper "one" of a function that "two" serves too: it owns some lanes, and helps in others. */
async function competingKeeper(t: Test, around: Parameters<typeof withScripts>[1]) {
  const redis = await startRedis(t);
  const connection = openConnection({ url: redis.url });
  t.teardown(() => connection.destroy());
  const keys = createKeys('mr');
  await announceMember(connection, keys, 'f', 'two', 60_000);
  const started: unknown[] = [];
  const keeper = new LaneKeeper({
    connection: withScripts(connection, around),
    keys,
    dispatcher: 'one',
    functions: ['f'],
    competing: () => true,
    partitions: PARTITIONS,
    leaseTtlMs: 60_000,
    createLane: (acquired) =>
      idleLane(acquired, {
        start: () => void started.push(acquired.partition),
        retire: () => retireHelper(connection, keys, acquired, []),
      }),
    opened() {},
    closed() {},
    log() {},
  });
  const client = redis.client();
  return {
    keeper,
    started,
    leases: () => client.keys('mr:*:lease:*'),
    /** All leases, helpers and members. */
    traces: async () => [
      ...(await client.keys('mr:*:lease:*')),
      ...(await client.keys('mr:*:helpers:*')),
      ...(await client.zrange(keys.members('f'), '0', '-1')),
    ],
  };
}

t.test(
  'a lane whose lease is lost while its last turn runs on its way to somebody else: the loss is told and counted',
  async (t) => {
    const redis = await startRedis(t);
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const keys = createKeys('mr');
    const asked = new Set<number>();
    let end = (): void => {};
    const turns = new Promise<void>((resolve) => (end = resolve));
    const told: unknown[] = [];
    const keeper = new LaneKeeper({
      connection,
      keys,
      dispatcher: 'one',
      functions: ['f'],
      competing: () => false,
      partitions: PARTITIONS,
      leaseTtlMs: 400,
      createLane(acquired): KeptLane {
        return idleLane(acquired, {
          stop() {
            asked.add(acquired.partition);
            return turns;
          },
        });
      },
      opened() {},
      closed() {},
      log(_level, message, fields) {
        if (message.startsWith('lease lost')) told.push(fields?.['partition']);
      },
    });
    await keeper.start();
    t.equal(keeper.lanes.size, PARTITIONS);
    await until('some lanes are on their way to another one', async () => {
      await announceMember(connection, keys, 'f', 'two', 60_000);
      return asked.size > 0;
    });
    const leaving = [...asked];
    t.ok(leaving.length < PARTITIONS);
    t.strictSame(told, []);
    await redis.client().flushall();
    await until('all losses are told', () => atLeast(told.length, PARTITIONS));
    t.strictSame(
      [...told].sort(),
      Array.from({ length: PARTITIONS }, (_, partition) => partition),
      'each once, those on their way too',
    );
    t.equal(keeper.losses, PARTITIONS);
    end();
    await until(
      'the lanes have ended and are asked for again',
      () =>
        keeper.lanes.size === PARTITIONS && [...keeper.lanes.values()].every((lane) => !lane.lost),
    );
    t.equal(told.length, PARTITIONS);
    await keeper.stop();
  },
);

t.test('a keeper that was stopped starts nothing', async (t) => {
  const { keeper, leases, traces } = await competingKeeper(t, (_, reply) => reply);
  await keeper.stop();
  await keeper.start();
  await keeper.stop();
  t.strictSame(await leases(), []);
  t.strictSame(await traces(), ['two']);
});

t.test('what is acquired while the keeper stops is given back before it has stopped', async (t) => {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  const claims = new CallCount();
  const { keeper, started, leases, traces } = await competingKeeper(t, async (name, reply) => {
    if (name !== 'acquire-lease.lua') return reply;
    claims.add();
    await held;
    return reply;
  });
  const starting = keeper.start().catch(() => undefined);
  await claims.reached('all lanes are being claimed', PARTITIONS);
  await until('all are acquired', async () => is((await leases()).length, PARTITIONS));
  const stopped = keeper.stop();
  letGo();
  await stopped;
  t.strictSame(await traces(), ['two']);
  t.strictSame(started, [], 'none of them ran');
  await starting;
  await keeper.stop();
});

t.test('a claim without an answer, cut off by the stop, leaves no lease', async (t) => {
  const lost = new CallCount();
  let stopping = false;
  const { keeper, started, leases, traces } = await competingKeeper(t, async (name, reply) => {
    await reply;
    if (name !== 'acquire-lease.lua' || stopping) return reply;
    lost.add();
    throw new UnknownOutcomeError(name);
  });
  const starting = keeper.start().catch(() => undefined);
  await lost.reached('all answers are lost', PARTITIONS);
  t.equal((await leases()).length, PARTITIONS);
  stopping = true;
  await keeper.stop();
  t.strictSame(await traces(), ['two']);
  t.strictSame(started, []);
  await starting;
});

t.test('an announcement that the stop overtakes leaves no member', async (t) => {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  const announced = new CallCount();
  const { keeper, traces } = await competingKeeper(t, async (name, reply) => {
    if (name !== 'members.lua') return reply;
    announced.add();
    if (announced.value === 1) await held;
    return reply;
  });
  const starting = keeper.start().catch(() => undefined);
  await announced.reached('it announces itself', 1);
  const stopped = keeper.stop();
  letGo();
  await stopped;
  t.equal(announced.value, 3, 'announced, removed, and removed again behind the announcement');
  t.strictSame(await traces(), ['two']);
  await starting;
});

const named = createKeys('mr');
const HELD = [
  { what: 'the announcement of another function', name: 'members.lua', key: named.members('b') },
  {
    what: 'a claim of the first look',
    name: 'acquire-lease.lua',
    key: named.lease(0, 'b'),
    atStart: true,
  },
  {
    what: 'the renewal of another partition',
    name: 'renew-leases.lua',
    key: named.lease(0, 'a'),
  },
];

for (const { what, name, key, atStart = false } of HELD)
  t.test(`${what} has no reply: the other leases are renewed`, async (t) => {
    const redis = await startRedis(t);
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const renewed = new CallCount();
    const held = new CallCount();
    let letGo = (): void => {};
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    let holding = atStart;
    const keeper = new LaneKeeper({
      connection: withScripts(connection, async (script, reply, keys) => {
        if (holding && script === name && keys.includes(key)) {
          held.add();
          await gate;
        }
        const value = await reply;
        const other = script === 'renew-leases.lua' && keys.includes(named.lease(1, 'a'));
        if (other && held.value > 0) renewed.add();
        return value;
      }),
      keys: named,
      dispatcher: 'one',
      functions: ['a', 'b'],
      competing: () => false,
      partitions: 2,
      leaseTtlMs: 2000,
      createLane: idleLane,
      opened() {},
      closed() {},
      log() {},
    });
    const started = keeper.start();
    if (!atStart) await started;
    holding = true;
    await held.reached('the call waits for its reply', 1);
    await renewed.reached('the lease of another lane is renewed again and again', 3);
    t.equal(held.value, 1, 'the call still waits');
    letGo();
    await started;
    await keeper.stop();
    t.strictSame(await redis.client().keys('mr:*:lease:*'), []);
    t.equal(keeper.losses, 0);
  });

const refused = new RedisReplyError('renew', 'NOPERM no right');
const FAILING = [
  { what: 'the renewal of a partition', name: 'renew-leases.lua', key: named.lease(0, 'a') },
  { what: 'the announcement', name: 'members.lua', key: named.members('a') },
];

for (const { what, name, key } of FAILING)
  t.test(`${what} fails: the failure lasts until the same thing succeeds`, async (t) => {
    const redis = await startRedis(t);
    const connection = openConnection({ url: redis.url });
    t.teardown(() => connection.destroy());
    const failures = new CallCount();
    let failing = false;
    const seen: unknown[] = [];
    const keeper = new LaneKeeper({
      connection: withScripts(connection, async (script, reply, keys) => {
        // Between the first failure and its end, every call of the keeper looks at the failure.
        if (failures.value > 0 && failing) seen.push(keeper.failure);
        const value = await reply;
        if (!failing || script !== name || !keys.includes(key)) return value;
        // The call's own failure becomes known only after the call.
        queueMicrotask(() => failures.add());
        throw refused;
      }),
      keys: named,
      dispatcher: 'one',
      functions: ['a'],
      competing: () => false,
      partitions: 2,
      leaseTtlMs: 2000,
      createLane: idleLane,
      opened() {},
      closed() {},
      log() {},
    });
    await keeper.start();
    t.equal(keeper.failure, null);
    failing = true;
    await failures.reached('it fails again and again', 4);
    failing = false;
    t.ok(seen.length >= 4, 'other calls succeeded meanwhile');
    t.ok(
      seen.every((failure) => failure === refused),
      'no success of another part ends it',
    );
    await until('the failure is over', () => keeper.failure === null);
    await keeper.stop();
  });
