/**
 * Every parked subject has a reason that is still true. Subjects are wedged by hand here; the sweep
 * sets them free, and touches nothing else.
 */
import t from 'tap';
import { readLosses } from '../../src/lag/losses.ts';
import { readLag } from '../../src/lag/lag.ts';
import { connect } from '../../src/millrace.ts';
import { ParkedSweep, type SweptLane, type Wedged } from '../../src/upkeep/parked-sweep.ts';
import {
  publish,
  makeBed,
  specOf,
  startLane,
  type BareLane,
  type Bed,
} from '../pipeline/bare-lane.ts';
import { dump, settled } from '../../scripts/lab/counters.ts';
import { functionsDirOf, PROTO_DIR } from '../../scripts/lab/dispatcher-process.ts';
import { startRedis, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, is, moreThan } from '../../scripts/lab/until.ts';

const HOUR = 3_600_000;
const LATER = { attempts: 5, minDelayMs: HOUR, maxDelayMs: HOUR, factor: 1, jitter: false };
const LANE: SweptLane = { fn: 'f', partition: 0, types: ['a.b'], maxDelayMs: HOUR };
const DUE = 'mr:{0}:due:f';
const HELD = 'mr:{0}:held:f';

/**
 * Parks four subjects:
 * - a, b: for an hour, two events each,
 * - c: held by a dead letter, with one event behind it,
 * - d: held, with no event behind it.
 */
async function parkedBed(t: TestLike): Promise<{ bed: Bed; lane: BareLane; sweep: ParkedSweep }> {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b'], { retry: LATER, onDead: 'hold' }), 0);
  await publish(bed, 0, {
    'a.b': ['a', 'b', 'c', 'd'].map((subject) => ({ id: `${subject}1`, subject })),
  });
  await lane.work(({ subject }) => (subject === 'c' || subject === 'd' ? 'dead' : 'retry'));
  await publish(bed, 0, {
    'a.b': ['a', 'b', 'c'].map((subject) => ({ id: `${subject}2`, subject })),
  });
  await lane.work(() => 'done');
  return { bed, lane, sweep: new ParkedSweep(bed.connection, bed.keys) };
}
async function sweepAll(
  sweep: ParkedSweep,
  lane = LANE,
): Promise<{ wedged: Wedged[]; missing: number }> {
  const wedged: Wedged[] = [];
  let missing = 0;
  for (let i = 0; i < 4; i++) {
    const swept = await sweep.sweep(lane);
    wedged.push(...swept.wedged);
    missing = swept.missing;
  }
  return { wedged, missing };
}
async function dueNow(bed: Bed): Promise<string[]> {
  return (
    (await bed.connection.command('ZRANGEBYSCORE', DUE, '-inf', Date.now() + 60_000)) as string[]
  ).sort();
}

t.test('what waits for a reason is left alone', async (t) => {
  const { bed, sweep } = await parkedBed(t);
  const before = await dump(bed.redis.client());
  t.strictSame(await sweepAll(sweep), { wedged: [], missing: 0 });
  t.strictSame(await sweepAll(sweep, { ...LANE, fn: 'nobody' }), { wedged: [], missing: 0 });
  t.strictSame(await dump(bed.redis.client()), before);
});

t.test("a list that nobody would look at is found among the server's keys", async (t) => {
  const { bed, lane, sweep } = await parkedBed(t);
  const look = bed.redis.client();
  for (let i = 0; i < 3000; i++) void look.set(`other:${i}`, i);
  await look.zrem(DUE, 'a');
  t.strictSame(await sweepAll(sweep), {
    wedged: [{ unit: 'a', why: 'unscheduled', events: 2 }],
    missing: 0,
  });
  t.strictSame(await dueNow(bed), ['a']);
  const ran: string[] = [];
  await lane.drain(({ id }) => (ran.push(id), 'done'));
  t.strictSame(ran, ['a1', 'a2']);
  await look.del(DUE, HELD);
  t.strictSame(
    (await sweepAll(sweep)).wedged.map(({ unit, why }) => `${unit} ${why}`).sort(),
    ['b unscheduled', 'c unscheduled'],
    'both sets are gone',
  );
});

t.test('held by nothing, held and due, due too late, due with nothing parked', async (t) => {
  const { bed, lane, sweep } = await parkedBed(t);
  const look = bed.redis.client();
  const letters = await look.hgetall(HELD);
  await look.xdel('mr:{0}:dead:f', letters['c'] as string);
  await look.zadd(
    DUE,
    '5',
    'd',
    String(Date.now() + 10 * HOUR),
    'a',
    '+inf',
    'b',
    String(Date.now() + HOUR),
    'empty',
  );
  const { wedged, missing } = await sweepAll(sweep);
  t.strictSame(wedged.map(({ unit, why, events }) => `${unit} ${why} ${events}`).sort(), [
    'a late 2',
    'b late 2',
    'c letterless 1',
    'd unheld 0',
    'empty empty 0',
  ]);
  t.equal(missing, 0);
  t.strictSame(await dueNow(bed), ['a', 'b', 'c']);
  t.equal(await look.zscore(DUE, 'd'), 'inf');
  t.strictSame(Object.keys(await look.hgetall(HELD)), ['d']);
  await lane.drain();
  t.match(
    (await readLag(bed)).functions,
    [{ parked: 0, done: 5, dead: 2, conserved: true }],
    'all that was parked has run',
  );
  await look.zrem(DUE, 'd');
  t.match(
    await sweepAll(sweep),
    { wedged: [{ unit: 'd', why: 'unheld' }] },
    'held, but a new owner would not know',
  );
});

t.test('a parked list that was deleted: how many events are gone', async (t) => {
  const { bed, sweep } = await parkedBed(t);
  await bed.connection.command('DEL', 'mr:{0}:parked:f:a');
  t.match(await sweepAll(sweep), { wedged: [{ unit: 'a', why: 'empty' }], missing: 2 });
  await bed.connection.command('ZREM', DUE, 'b');
  t.match(
    await sweepAll(sweep),
    { wedged: [{ unit: 'b', why: 'unscheduled' }], missing: 2 },
    'known to be gone, it does not hide another list',
  );
});

t.test('thousands are gone through page by page', async (t) => {
  const bed = await makeBed(t, 1);
  const lane = await startLane(bed, specOf('f', ['a.b'], { retry: LATER }), 0);
  await publish(bed, 0, {
    'a.b': Array.from({ length: 1800 }, (_, i) => ({ id: `e${i}`, subject: `s${i}` })),
  });
  await lane.drain(() => 'retry');
  await bed.connection.command('ZADD', DUE, Date.now() + 100 * HOUR, 's77', '+inf', 's1700');
  const sweep = new ParkedSweep(bed.connection, bed.keys);
  const wedged: Wedged[] = [];
  for (let round = 0; round < 10; round++) wedged.push(...(await sweep.sweep(LANE)).wedged);
  t.strictSame(wedged.map(({ unit }) => unit).sort(), ['s1700', 's77']);
});

t.test('a running dispatcher sets them free, and writes it down', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const millrace = await connect({
    environment: {
      REDIS_URL: redis.url,
      MILLRACE_PARTITIONS: 1,
      WORKERS: 1,
      LOG_LEVEL: 'silent',
      MILLRACE_UPKEEP_MS: 100,
    },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  await millrace.dispatcher({ functionsDir: functionsDirOf('hold') }).start();
  const event = (id: string, order: string) => ({
    type: 'test.event',
    id,
    data: { key: 'k', number: 0, order, filler: new Uint8Array(0) },
  });
  await millrace
    .publisher()
    .publishMany([event('1', 'non-retryable'), event('2', 'ok'), event('3', 'ok')]);
  await untilTold(writesTo(look), 'the subject is held', async () =>
    is(await look.llen('mr:{0}:parked:hold:k'), 2),
  );
  t.strictSame(await readLosses(millrace.deployment), []);
  await look.del('mr:{0}:dead:hold');
  t.match(await settled(look, 'hold', 1, 3), { done: 2, dead: 1 });
  await until('it is written down', async () =>
    moreThan((await readLosses(millrace.deployment)).length, 0),
  );
  t.match(await readLosses(millrace.deployment), [
    { kind: 'wedged', function: 'hold', partition: 0, count: 2, message: /letterless.*: k$/ },
  ]);
  await look.hincrby('mr:{0}:counters', 'parked:hold:test.event', 4);
  await until('what is gone is written down', async () =>
    moreThan((await readLosses(millrace.deployment)).length, 1),
  );
  t.match((await readLosses(millrace.deployment))[1], { kind: 'parked', count: 4 });
});

t.test('a count below zero, as half a transaction leaves it, is set right', async (t) => {
  const { bed, lane, sweep } = await parkedBed(t);
  const look = bed.redis.client();
  const counters = 'mr:{0}:counters';
  const parked = Number(await look.hget(counters, 'parked:f:a.b'));
  await look.hset(counters, 'parked:f:a.b', '-2');
  t.equal((await sweep.sweep(LANE)).corrected, parked + 2);
  t.equal(Number(await look.hget(counters, 'parked:f:a.b')), parked, 'to what the lists hold');
  t.equal((await sweep.sweep(LANE)).corrected, 0, 'once');
  t.equal((await readLag(bed)).functions[0]?.conserved, true);
  await look.zadd(DUE, 0, 'a', 0, 'b');
  await look.del(HELD);
  await look.zadd(DUE, 0, 'c', 0, 'd');
  await lane.drain(() => 'done');
  await look.hset(counters, 'parked:f:a.b', '-1');
  const two = { ...LANE, types: ['a.b', 'b.c'] };
  t.equal((await sweep.sweep(two)).corrected, 1, 'also of several types, where nothing is parked');
  t.strictSame(await look.hmget(counters, 'parked:f:a.b', 'parked:f:b.c'), ['0', '0']);
});
