/**
 * Emitted events from the commit through the outbox to other partitions: exactly once and in order,
 * in spite of failing relays.
 */
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { OUTBOX_LIMITS } from '../../src/core/emitted.ts';
import { ScheduleFullError } from '../../src/core/errors/append-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { sendCommit } from '../../src/pipeline/commit/commit.ts';
import { makeBed, specOf, startLane, type BareLane, type Bed } from '../pipeline/bare-lane.ts';
import { eventsIn, miscounted, outboxEntries } from '../../scripts/lab/emits.ts';
import { createRelay, meddled, turnOf, type Cause } from './emitting-lane.ts';
import { until, untilTold, writesTo, is, CallCount } from '../../scripts/lab/until.ts';

const P = 3;
const TYPES = ['test.event', 'test.other'] as const;
const inPartition = (partition: number): string =>
  Array.from({ length: 100 }, (_, i) => `s${i}`).find(
    (s) => partitionOf(s, P) === partition,
  ) as string;

async function lanesOf(bed: Bed): Promise<BareLane[]> {
  const lanes: BareLane[] = [];
  for (let p = 0; p < P; p++) lanes.push(await startLane(bed, specOf('f', ['a.b']), p));
  return lanes;
}

/** An emitted event, with the partition whose turn emitted it. */
interface Planned {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly later: boolean;
  readonly source: number;
}

/** A turn of a lane: its causes, whether its commit is sent twice, and what follows. */
const plannedTurn = fc.record({
  lane: fc.nat(P - 1),
  causes: fc.array(
    fc.record({
      emits: fc.array(
        fc.record(
          {
            type: fc.constantFrom(...TYPES),
            subject: fc.nat(8).map((i) => `s${i}`),
            delayMs: fc.constant(3_600_000),
          },
          { requiredKeys: ['type', 'subject'] },
        ),
        { maxLength: 4 },
      ),
      outcome: fc.constantFrom<Cause['outcome']>('done', 'done', 'done', 'dead'),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  sendTwice: fc.boolean(),
  then: fc.constantFrom('nothing', 'nothing', 'relay', 'relay dies', 'answer lost'),
});

/** Relays until the mishap has happened: the last step is not sent, or an answer is lost. */
async function relayBadly(bed: Bed, mishap: 'relay dies' | 'answer lost'): Promise<void> {
  const happened = new CallCount();
  const hit = mishap === 'relay dies' ? 'clear.lua' : 'relay.lua';
  const relay = createRelay(
    bed,
    meddled(bed.connection, {
      before: (script) => {
        if (script === hit) happened.add();
      },
      drop: (script) => mishap === 'relay dies' && script === hit,
      lose: (script) => mishap === 'answer lost' && script === hit,
    }),
  );
  for (let p = 0; p < P; p++) relay.ring(p, null);
  await happened.reached('it has tried', 1);
  await relay.stop();
}

/** Checks that the events of a type arrived once, in the order of each source, and are counted. */
async function checkArrived(look: Redis, type: string, planned: readonly Planned[]): Promise<void> {
  const found = await eventsIn(look, P, type);
  const now = planned.filter((one) => one.type === type && !one.later);
  const ids = now.map(({ id }) => id);
  const wrong = miscounted(found, ids);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  const source = new Map(planned.map((one) => [one.id, one.source]));
  for (let p = 0; p < P; p++) {
    const there = found.filter((one) => one.partition === p);
    for (let from = 0; from < P; from++) {
      const order = there.filter(({ id }) => source.get(id) === from).map(({ id }) => id);
      const wanted = now
        .filter((one) => one.source === from && partitionOf(one.subject, P) === p)
        .map(({ id }) => id);
      if (order.join() !== wanted.join())
        throw new Error(`from ${from} to ${p}: ${order.join()} should be ${wanted.join()}`);
    }
    await checkCounters(look, p, type, there.length);
  }
}

async function checkCounters(look: Redis, p: number, type: string, events: number): Promise<void> {
  const counters = await look.hgetall(`mr:{${p}}:counters`);
  const entries = await look.xlen(`mr:{${p}}:events:${type}`);
  const appended = Number(counters[`appended:${type}`] ?? 0);
  if (appended !== events || Number(counters[`entries:${type}`] ?? 0) !== entries)
    throw new Error(`counters of ${p}: ${JSON.stringify(counters)}`);
  if (counters['outbox'] !== undefined)
    throw new Error('bytes are left in an outbox that is empty');
}

async function checkScheduled(look: Redis, planned: readonly Planned[]): Promise<void> {
  const waiting: { id: string }[] = [];
  for (let p = 0; p < P; p++)
    for (const id of await look.hkeys(`mr:{${p}}:scheduled:events`)) waiting.push({ id });
  const later = planned.filter((one) => one.later).map(({ id }) => id);
  const wrong = miscounted(waiting, later);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}

/** Lanes and relays of three partitions, on a Redis that each step empties. */
async function openOutbox(t: Test) {
  const bed = await makeBed(t, P);
  const look = bed.redis.client();
  let causes = 0;
  const cause = (emits: Cause['emits'], outcome: Cause['outcome'] = 'done'): Cause => ({
    id: `cause-${causes++}`,
    emits,
    outcome,
  });
  const fresh = async (): Promise<BareLane[]> => {
    await look.flushall();
    return lanesOf(bed);
  };
  const emptied = () =>
    untilTold(writesTo(look), 'the outboxes are empty', async () =>
      is(await outboxEntries(look, P), 0),
    );
  const relayAll = async (connection = bed.connection): Promise<void> => {
    const relay = createRelay(bed, connection);
    for (let p = 0; p < P; p++) relay.ring(p, null);
    await emptied();
    await relay.stop();
  };
  /** Commits a turn of `count` events in partition 0. Each event emits to partitions 1 and 2. */
  const emitAway = async (lane: BareLane, count = 3): Promise<string[]> => {
    const { plan, emitted } = await turnOf(
      bed,
      lane,
      Array.from({ length: count }, () =>
        cause([1, 2].map((p) => ({ type: 'test.other', subject: inPartition(p) }))),
      ),
    );
    t.match(await sendCommit(bed.connection, plan), {
      kind: 'ok',
      outbox: { entries: Number, bytes: Number },
    });
    return emitted.map(({ id }) => id);
  };
  return { bed, look, cause, fresh, emptied, relayAll, emitAway };
}
type Outbox = Awaited<ReturnType<typeof openOutbox>>;

async function checkAnyPlan(t: Test, { bed, look, cause, fresh, relayAll }: Outbox): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(plannedTurn, { minLength: 1, maxLength: 8 }), async (turns) => {
      const lanes = await fresh();
      const planned: Planned[] = [];
      for (const one of turns) {
        const causes = one.causes.map(({ emits, outcome }) => cause(emits, outcome));
        const { plan, emitted } = await turnOf(bed, lanes[one.lane] as BareLane, causes);
        await sendCommit(bed.connection, plan);
        if (one.sendTwice) await sendCommit(bed.connection, plan);
        planned.push(...emitted.map((event) => ({ ...event, source: one.lane })));
        if (one.then === 'relay') await relayAll();
        else if (one.then !== 'nothing' && (await outboxEntries(look, P)) > 0)
          await relayBadly(bed, one.then);
      }
      await relayAll();
      for (const type of TYPES) await checkArrived(look, type, planned);
      await checkScheduled(look, planned);
    }),
    { numRuns: 30 },
  );
  t.pass('and the counters add up');
}

async function refuseZombie(t: Test, { bed, look, cause, fresh }: Outbox): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  const emits = [0, 1].flatMap((p) => [
    { type: 'test.other', subject: inPartition(p) },
    { type: 'test.other', subject: inPartition(p), delayMs: 50 },
  ]);
  const { plan } = await turnOf(bed, lane, [cause(emits)]);
  const lease = (await look.get(bed.keys.lease(0, 'f'))) as string;
  await look.set(bed.keys.lease(0, 'f'), 'heir:99');
  t.strictSame(await sendCommit(bed.connection, plan), { kind: 'stale' });
  await look.set(bed.keys.lease(0, 'f'), lease);
  const [[id]] = (await look.xpending(bed.keys.events(0, 'a.b'), 'f', '-', '+', 1)) as [[string]];
  await look.xack(bed.keys.events(0, 'a.b'), 'f', id);
  t.strictSame(await sendCommit(bed.connection, plan), { kind: 'refused', missing: [id] });
  t.strictSame(await look.keys('mr:{*}:*test.other'), []);
  t.strictSame(
    [...(await look.keys('mr:{*}:outbox')), ...(await look.keys('mr:{*}:scheduled*'))],
    [],
  );
}

async function relayLate(t: Test, { bed, look, fresh, relayAll, emitAway }: Outbox): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  const ids = await emitAway(lane);
  let open!: () => void;
  const gate = new Promise<void>((resolve) => (open = resolve));
  const waiting = new CallCount();
  const late = createRelay(
    bed,
    meddled(bed.connection, {
      before: (script) => {
        if (script !== 'relay.lua') return undefined;
        waiting.add();
        return gate;
      },
    }),
  );
  late.ring(0, null);
  await waiting.reached('it is about to send', 2);
  await relayAll();
  ids.push(...(await emitAway(lane)));
  await relayAll();
  open();
  await late.stop();
  t.strictSame(miscounted(await eventsIn(look, P, 'test.other'), ids), []);
  t.equal(await outboxEntries(look, P), 0);
  for (const p of [1, 2])
    t.equal(await look.ttl(bed.keys.relayed(p)), -1, 'remembered without an end');
}

async function relayTwice(t: Test, { bed, look, fresh, emptied, emitAway }: Outbox): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  const ids: string[] = [];
  const relays = [createRelay(bed), createRelay(bed)];
  for (let i = 0; i < 20; i++) {
    ids.push(...(await emitAway(lane, 2)));
    for (const relay of relays) relay.ring(0, null);
  }
  await emptied();
  await Promise.all(relays.map((relay) => relay.stop()));
  t.strictSame(miscounted(await eventsIn(look, P, 'test.other'), ids), []);
}

async function refuseOneTarget(
  t: Test,
  { bed, look, fresh, relayAll, emitAway }: Outbox,
): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  await look.set('mr:{1}:events:test.other', 'no stream');
  const ids = [...(await emitAway(lane)), ...(await emitAway(lane))];
  const relay = createRelay(bed);
  relay.ring(0, null);
  await untilTold(
    writesTo(look),
    'the other target has all',
    async () =>
      (await look.xlen('mr:{0}:outbox')) === 2 &&
      (await look.xlen('mr:{2}:events:test.other')) === 2,
  );
  t.equal(await look.hget('mr:{1}:counters', 'appended:test.other'), '0', 'and is not counted');
  await relay.stop();
  await look.del('mr:{1}:events:test.other');
  await relayAll();
  const found = await eventsIn(look, P, 'test.other');
  t.strictSame(miscounted(found, ids), []);
  const to1 = ids.filter((_, i) => i % 2 === 0);
  t.strictSame(
    found.filter((one) => one.partition === 1).map(({ id }) => id),
    to1,
  );
}

async function refuseOwnStream(
  t: Test,
  { bed, look, cause, fresh, relayAll }: Outbox,
): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  // There is more than one flush: the first one is taken back.
  const emits = [
    { type: 'test.event', subject: inPartition(0), size: 150_000 },
    { type: 'test.event', subject: inPartition(0), size: 150_000 },
    { type: 'test.other', subject: inPartition(0) },
    { type: 'test.other', subject: inPartition(1) },
  ];
  const { plan, emitted } = await turnOf(bed, lane, [cause(emits)]);
  await look.xadd(
    'mr:{0}:events:test.other',
    '18446744073709551615-18446744073709551615',
    'b',
    'x',
  );
  const before = await look.hgetall('mr:{0}:counters');
  await t.rejects(sendCommit(bed.connection, plan), { code: 'REDIS_REPLY' });
  const after = await look.hgetall('mr:{0}:counters');
  t.strictSame(
    Object.entries(after).filter(([field, value]) => value !== (before[field] ?? '0')),
    [],
  );
  t.equal(await look.xlen('mr:{0}:events:test.event'), 0);
  t.equal(await look.exists('mr:{0}:outbox'), 0);
  await look.del('mr:{0}:events:test.other');
  t.match(await sendCommit(bed.connection, plan), { kind: 'ok', repeated: false });
  await relayAll();
  t.strictSame(
    miscounted(
      [...(await eventsIn(look, P, 'test.event')), ...(await eventsIn(look, P, 'test.other'))],
      emitted.map(({ id }) => id),
    ),
    [],
  );
}

async function fillSchedules(
  t: Test,
  { bed, look, cause, fresh, relayAll }: Outbox,
): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  await fill(bed, 0);
  const { plan } = await turnOf(bed, lane, [
    cause([{ type: 'test.other', subject: inPartition(0), delayMs: 1000 }]),
  ]);
  await t.rejects(sendCommit(bed.connection, plan), ScheduleFullError);
  await look.zpopmin('mr:{0}:scheduled', 1);
  t.match(await sendCommit(bed.connection, plan), { kind: 'ok' });
  await fill(bed, 1);
  const { plan: away } = await turnOf(bed, lane, [
    cause([{ type: 'test.other', subject: inPartition(1), delayMs: 1000 }]),
  ]);
  await sendCommit(bed.connection, away);
  const tried = new CallCount();
  const relay = createRelay(bed, meddled(bed.connection, { before: () => tried.add() }));
  relay.ring(0, null);
  await tried.reached('it has tried', 1);
  await relay.stop();
  t.equal(await look.xlen('mr:{0}:outbox'), 1);
  await look.zpopmin('mr:{1}:scheduled', 1);
  await relayAll();
  t.equal(await look.hlen('mr:{1}:scheduled:events'), 1);
}

async function fillOutbox(t: Test, { bed, fresh, emitAway }: Outbox): Promise<void> {
  const [lane] = (await fresh()) as [BareLane];
  const relieved: number[] = [];
  const relay = createRelay(bed, meddled(bed.connection, {}), (partition) =>
    relieved.push(partition),
  );
  await emitAway(lane);
  relay.ring(0, { entries: OUTBOX_LIMITS.entries, bytes: 1 });
  t.ok(relay.isFull(0));
  await until('there is room', () => !relay.isFull(0));
  t.strictSame(relieved, [0]);
  relay.ring(0, { entries: 1, bytes: OUTBOX_LIMITS.bytes });
  t.ok(relay.isFull(0));
  await until('there is room', () => !relay.isFull(0));
  await relay.stop();
}

t.test('outbox', async (t) => {
  const outbox = await openOutbox(t);
  await t.test(
    'any plan of emits: what arrives is what was planned, in the order of each source',
    (t) => checkAnyPlan(t, outbox),
  );
  await t.test('a zombie emits nothing; nor does a turn whose entry is no longer pending', (t) =>
    refuseZombie(t, outbox),
  );
  await t.test(
    'a relay that was stopped between two steps for as long as it liked: what it sends late is known',
    (t) => relayLate(t, outbox),
  );
  await t.test('two relays at the same time', (t) => relayTwice(t, outbox));
  await t.test(
    'a target that refuses holds up its own events only; later they come, in order',
    (t) => refuseOneTarget(t, outbox),
  );
  await t.test('a stream of the own partition that refuses: nothing at all is written', (t) =>
    refuseOwnStream(t, outbox),
  );
  await t.test('a schedule that is full: the commit waits for room, and so does the outbox', (t) =>
    fillSchedules(t, outbox),
  );
  await t.test('full and relieved', (t) => fillOutbox(t, outbox));
});

/** Fills the schedule of a partition. */
async function fill(bed: Bed, partition: number): Promise<void> {
  // The events go in parts. On a busy machine Redis could need longer for all of them than a reply
  // is waited for.
  const part = 50_000;
  for (let from = 1; from <= 1_000_000; from += part)
    await bed.connection.command(
      'EVAL',
      "for i = tonumber(ARGV[1]), tonumber(ARGV[1]) + ARGV[2] - 1, 1000 do local c = {'ZADD', KEYS[1]} for j = i, i + 999 do c[#c + 1] = 1e15 c[#c + 1] = j .. ':x' end redis.call(unpack(c)) end",
      1,
      bed.keys.scheduled(partition),
      from,
      part,
    );
}
