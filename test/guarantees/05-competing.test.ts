/**
 * ordering 'none': dispatchers compete for the entries of one partition. Another dispatcher handles
 * the entries of a dead one, once.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { readLag } from '../../src/lag/lag.ts';
import { acquireLease, retireHelper } from '../../src/pipeline/ownership/leases.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { events, makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';
import { deadLetters, settled } from '../../scripts/lab/counters.ts';
import {
  openService,
  startDispatcher,
  testDir,
  type DispatcherProcess,
} from '../../scripts/lab/dispatcher-process.ts';
import { completions, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, is } from '../../scripts/lab/until.ts';

const STREAM = 'mr:{0}:events:test.event';
const FN = 'unordered';
type Consumer = { readonly name: string; readonly pending: number };
async function consumers(look: Redis): Promise<Consumer[]> {
  return ((await look.xinfo('CONSUMERS', STREAM, FN)) as (string | number)[][]).map((flat) => ({
    name: String(flat[flat.indexOf('name') + 1]),
    pending: Number(flat[flat.indexOf('pending') + 1]),
  }));
}
const helperOf = (all: readonly Consumer[]): Consumer | undefined =>
  all.find(({ name, pending }) => name !== 'lane' && pending > 0);

type Bed = Awaited<ReturnType<typeof openBed>>;

/** Opens a service of one partition, for dispatchers that compete for it. */
async function openBed(t: Test) {
  const redis = await startRedis(t);
  const look = redis.client();
  const history = join(testDir(t), 'history');
  const service = await openService(t, redis.url, 1);
  const publisher = service.publisher({ flushEvents: 4 });
  let sent = 0;
  const send = async (count: number, order: string): Promise<void> => {
    await publisher.publishMany(
      Array.from({ length: count }, () => ({
        type: 'test.event',
        id: `e${sent}`,
        data: { key: `k${sent % 7}`, number: sent++, order, filler: new Uint8Array(0) },
      })),
    );
  };
  const start = () =>
    startDispatcher(t, {
      url: redis.url,
      functions: 'unordered',
      history,
      environment: { WORKERS: '1', MILLRACE_LEASE_MS: '1000', MILLRACE_BATCH_EVENTS: '8' },
    });
  const pids = (from: number): Set<number> =>
    new Set(
      readHistory(history)
        .slice(from)
        .map((line) => line.pid),
    );
  return { look, history, service, send, sent: () => sent, start, pids };
}

const helps = (look: Redis, what: string): Promise<true> =>
  untilTold(writesTo(look), what, async () => is(await look.scard('mr:{0}:helpers:unordered'), 1));

/** Alone, a dispatcher works without helpers. */
async function oneWorksAlone(t: Test, { look, send, start }: Bed): Promise<DispatcherProcess> {
  const one = await start();
  await send(20, 'ok');
  await settled(look, FN, 1, 20);
  t.strictSame(
    (await consumers(look)).map(({ name }) => name),
    ['lane'],
    'alone there is one consumer',
  );
  t.equal(await look.exists('mr:{0}:helpers:unordered'), 0);
  return one;
}

async function secondOneHelps(t: Test, bed: Bed): Promise<DispatcherProcess> {
  const { look, history, send, start } = bed;
  const two = await start();
  await helps(look, 'the second one helps');
  await send(200, 'slow:10');
  await send(40, 'throw-once');
  await settled(look, FN, 1, 260);
  const runs = runsOf(readHistory(history)).filter((run) => run.order === 'slow:10');
  t.equal(new Set(runs.map((run) => run.pid)).size, 2, 'both have worked');
  t.ok(
    runs.some(
      (a, i) =>
        runs[i + 1] !== undefined &&
        a.pid !== runs[i + 1]?.pid &&
        a.endedAt > (runs[i + 1] as typeof a).startedAt,
    ),
    'at the same time',
  );
  return two;
}

/**
 * Kills the helper of the two with entries pending, and returns the owner. The name of the consumer
 * tells which of the two is the helper.
 */
async function helperIsKilled(
  t: Test,
  { look, send }: Bed,
  [one, two]: readonly [DispatcherProcess, DispatcherProcess],
): Promise<DispatcherProcess> {
  await send(100, 'slow:30');
  const busy = await until('the helper has entries', async () => helperOf(await consumers(look)));
  const [helper, owner] = busy.name.includes(`-${one.pid}-`) ? [one, two] : [two, one];
  await helper.kill();
  await settled(look, FN, 1, 360);
  await until('its consumer is gone', async () =>
    (await consumers(look)).every(({ name }) => name === 'lane'),
  );
  t.equal(await look.exists('mr:{0}:helpers:unordered'), 0);
  t.strictSame(
    (await look.hkeys('mr:{0}:counters')).filter((field) => field.includes('#')),
    [],
    'nothing of it is left',
  );
  return owner;
}

/**
 * Freezes the helper of the two with entries pending. A helper may have ended its entries between
 * the look and the freeze. Such a helper goes on, and the next look is tried.
 */
async function freezeBusyHelper(
  { look, send }: Bed,
  [one, two]: readonly [DispatcherProcess, DispatcherProcess],
): Promise<{ readonly frozen: DispatcherProcess; readonly steady: DispatcherProcess }> {
  for (;;) {
    await send(60, 'slow:50');
    const { name } = await until('the helper has entries', async () =>
      helperOf(await consumers(look)),
    );
    const [frozen, steady] = name.includes(`-${one.pid}-`) ? [one, two] : [two, one];
    frozen.freeze();
    // Commands that were on their way when the process stopped have run once a look has passed.
    await consumers(look);
    if (helperOf(await consumers(look))?.name === name) return { frozen, steady };
    frozen.thaw();
  }
}

/**
 * Freezes a helper beyond its lease. Its commits after it comes back change nothing, and it may
 * help again.
 */
async function helperIsFrozen(bed: Bed, owner: DispatcherProcess) {
  const { look, history, send, start, pids } = bed;
  const three = await start();
  await helps(look, 'the third one helps');
  // Either dispatcher may have become the owner when the third one joined.
  const { frozen, steady } = await freezeBusyHelper(bed, [three, owner]);
  await settled(look, FN, 1, bed.sent());
  frozen.thaw();
  await frozen.logged(/lease lost/);
  const at = readHistory(history).length;
  await until(
    'both work again',
    async () => {
      await send(16, 'slow:5');
      return pids(at).has(frozen.pid) && pids(at).has(steady.pid);
    },
    20_000,
  );
  return { frozen, steady };
}

/** Kills the owner. The helper takes over the lane and the owner's entries. */
async function ownerIsKilled({ look, send }: Bed, owner: DispatcherProcess): Promise<void> {
  await send(100, 'slow:20');
  await until('the owner has entries', async () =>
    (await consumers(look)).some(({ name, pending }) => name === 'lane' && pending > 0),
  );
  await owner.kill();
  await send(10, 'ok');
}

/** Each event has ended once, and nothing is pending. */
async function allEndedOnce(t: Test, bed: Bed, last: DispatcherProcess): Promise<void> {
  const { look, history, service } = bed;
  const sent = bed.sent();
  t.match(await settled(look, FN, 1, sent), { done: sent, dead: 0, parked: 0 });
  t.equal(await last.terminate(), 0);
  t.match((await readLag(service.deployment)).functions, [
    { done: sent, pending: 0, lag: 0, conserved: true },
  ]);
  t.equal(completions(runsOf(readHistory(history))).size, sent);
  t.strictSame(
    (await consumers(look)).filter(({ pending }) => pending > 0),
    [],
  );
}

t.test(
  'two read one partition at the same time; killed, frozen, stopped: each event ends once',
  async (t) => {
    const bed = await openBed(t);
    const one = await oneWorksAlone(t, bed);
    const two = await secondOneHelps(t, bed);
    const owner = await helperIsKilled(t, bed, [one, two]);
    const { frozen, steady } = await helperIsFrozen(bed, owner);
    await ownerIsKilled(bed, steady);
    await allEndedOnce(t, bed, frozen);
  },
);

t.test(
  'a helper leaves nothing behind that is deleted meanwhile: it is dead-lettered as missing',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const history = join(testDir(t), 'history');
    const service = await openService(t, redis.url, 1);
    await service.publisher({ flushEvents: 1 }).publishMany(
      Array.from({ length: 3 }, (_, i) => ({
        type: 'test.event',
        id: `e${i}`,
        data: { key: `k${i}`, number: i, order: 'ok', filler: new Uint8Array(0) },
      })),
    );
    await look.xgroup('CREATE', STREAM, FN, '0');
    await look.sadd('mr:{0}:helpers:unordered', 'gone');
    const read = (await look.xreadgroup(
      'GROUP',
      FN,
      'gone',
      'COUNT',
      3,
      'STREAMS',
      STREAM,
      '>',
    )) as [string, [string, string[]][]][];
    await look.xdel(STREAM, read[0]?.[1][1]?.[0] as string);
    const dispatcher = await startDispatcher(t, {
      url: redis.url,
      functions: 'unordered',
      history,
      environment: { WORKERS: '1', MILLRACE_LEASE_MS: '1000' },
    });
    t.match(await settled(look, FN, 1, 3), { done: 2, dead: 1 });
    t.match(await deadLetters(look, FN, 1), [{ fields: { reason: 'missing' } }]);
    await until('its consumer is gone', async () =>
      (await consumers(look)).every(({ name }) => name === 'lane'),
    );
    t.equal(await dispatcher.terminate(), 0);
  },
);

t.test(
  'an entry counts only for whom it is pending; a consumer with pending entries stays',
  async (t) => {
    const bed = await makeBed(t, 1);
    const lane = await startLane(bed, specOf('f', ['a.b'], { ordering: 'none' }), 0);
    const look = bed.redis.client();
    const ids = [
      await publish(bed, 0, { 'a.b': events(1) }),
      await publish(bed, 0, { 'a.b': events(2) }),
      await publish(bed, 0, { 'a.b': events(1) }),
    ];
    const address = { fn: 'f', partition: 0, consumer: 'd2' };
    const helper = await acquireLease(bed.connection, bed.keys, address, {
      dispatcher: 'd2',
      ttlMs: 60_000,
    });
    if (!('value' in helper)) throw new Error('not free');
    const retire = (): Promise<boolean> =>
      retireHelper(bed.connection, bed.keys, { ...address, leaseValue: helper.value }, ['a.b']);
    const key = 'mr:{0}:events:a.b';
    await look.xreadgroup('GROUP', 'f', 'd2', 'COUNT', 1, 'STREAMS', key, '>');
    t.equal(await retire(), false);
    t.equal(((await look.xpending(key, 'f')) as [number])[0], 1, 'nothing is lost');
    const plan = await lane.turn(() => 'done');
    await look.xclaim(key, 'f', 'd2', 0, ids[1] as string, 'JUSTID');
    t.equal(plan === null || plan === 'stale', false);
    await lane.send(plan);
    const counters = await look.hgetall('mr:{0}:counters');
    t.match(counters, { 'done:f:a.b': '1' }, 'what another one claimed was not counted');
    const [ms = '', seq = ''] = (ids[0] as string).split('-');
    t.equal(
      counters['at:f:a.b'],
      seq === '0' ? `${Number(ms) - 1}-18446744073709551615` : `${ms}-${Number(seq) - 1}`,
      'a lost group goes on before the lowest pending entry',
    );
    t.match((await readLag(bed)).functions, [
      { appended: 4, done: 1, pending: 3, conserved: true },
    ]);
    await rewindFunction(bed, 'f', { kind: 'start' });
    t.equal(
      await look.exists('mr:{0}:lease:f', 'mr:{0}:lease:f#d2'),
      0,
      'a rewind takes all leases away',
    );
  },
);
