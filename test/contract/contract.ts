/**
 * The promises of Millrace, tested on the given server: they are the same on one server and on a
 * Cluster. Moving slots and dying masters, which only a Cluster has, are tested elsewhere.
 */
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { readLag, type FunctionLag } from '../../src/lag/lag.ts';
import { readLosses } from '../../src/lag/losses.ts';
import { connect, type Millrace } from '../../src/millrace.ts';
import { listDeadLetters } from '../../src/pipeline/dead/dead-letters.ts';
import { purgeDeadLetters } from '../../src/pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../src/pipeline/dead/replay.ts';
import { rewindFunction } from '../../src/rewind/rewind.ts';
import { ParkedSweep } from '../../src/upkeep/parked-sweep.ts';
import { removeFunction } from '../../src/upkeep/remove-function.ts';
import { cancelScheduled, listScheduled } from '../../src/upkeep/scheduled-events.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { encodeEvents } from '../pipeline/bare-lane.ts';
import { entriesIn, settled, totals } from '../../scripts/lab/counters.ts';
import {
  functionsDirOf,
  PROTO_DIR,
  startDispatcher,
  testDir,
  type FunctionSet,
} from '../../scripts/lab/dispatcher-process.ts';
import { disorder, lost, readHistory, runsOf } from '../../scripts/lab/history.ts';
import { type TestLike } from '../../scripts/lab/redis-server.ts';
import { until, untilTold, writesTo, countersOf, is, moreThan } from '../../scripts/lab/until.ts';

export interface Server {
  readonly url: string;
  /** Opens a client to look with. */
  client(): Redis;
}

const PARTITIONS = 8;
const SUBJECTS = 16;

const event = (id: string, order = 'ok', key = id, number = 0) => ({
  id,
  data: { key, number, order, filler: new Uint8Array(0) },
});

/** Events of both types. Some fail at each attempt, some at the first one only. */
const ITEMS = Array.from({ length: SUBJECTS * 20 }, (_, i) => ({
  type: i % 3 === 0 ? 'test.other' : 'test.event',
  ...event(
    `e${i}`,
    i % 37 === 0 ? 'throw' : i % 23 === 0 ? 'throw-once' : 'ok',
    `s${i % SUBJECTS}`,
    Math.floor(i / SUBJECTS),
  ),
}));
const DEAD = ITEMS.filter(({ data }) => data.order === 'throw').map(({ id }) => id);

async function open(t: TestLike, url: string): Promise<Millrace> {
  const millrace = await connect({
    environment: {
      REDIS_URL: url,
      MILLRACE_PARTITIONS: PARTITIONS,
      WORKERS: 1,
      LOG_LEVEL: 'silent',
      MILLRACE_UPKEEP_MS: 200,
      MILLRACE_LEASE_MS: 2000,
    },
    protoDir: PROTO_DIR,
  });
  t.teardown(() => millrace.close());
  return millrace;
}

/** A deployment on the server, without a dispatcher. */
async function openBed(t: TestLike, server: Server) {
  const look = server.client();
  const service = await open(t, server.url);
  const { deployment } = service;
  return {
    server,
    look,
    deployment,
    keys: deployment.keys,
    connection: deployment.connection,
    publisher: service.publisher({ flushEvents: 8 }),
    /** Starts a dispatcher with a set of functions, in this process. */
    async running(set: FunctionSet): Promise<Millrace> {
      const millrace = await open(t, server.url);
      await millrace.dispatcher({ functionsDir: functionsDirOf(set) }).start();
      return millrace;
    },
    lagOf: async (name: string): Promise<FunctionLag | undefined> =>
      (await readLag(deployment)).functions.find((fn) => fn.name === name),
  };
}
type Bed = Awaited<ReturnType<typeof openBed>>;

async function processAll(t: Test, { server, look, publisher, lagOf }: Bed): Promise<void> {
  const history = join(testDir(t), 'history');
  const options = {
    url: server.url,
    functions: 'ordered',
    history,
    environment: { WORKERS: '1', MILLRACE_BATCH_EVENTS: '40', MILLRACE_LEASE_MS: '2000' },
  } as const;
  const dispatchers = [await startDispatcher(t, options), await startDispatcher(t, options)];
  for (let at = 0; at < ITEMS.length; at += 40)
    await publisher.publishMany(ITEMS.slice(at, at + 40));
  t.match(await settled(look, 'ordered', PARTITIONS, ITEMS.length), {
    appended: ITEMS.length,
    done: ITEMS.length - DEAD.length,
    dead: DEAD.length,
  });
  for (const dispatcher of dispatchers) t.equal(await dispatcher.terminate(), 0);
  const runs = runsOf(readHistory(history));
  t.strictSame(disorder(runs, { dead: DEAD }), []);
  t.strictSame(
    lost(
      runs,
      ITEMS.map(({ id }) => id),
      DEAD,
    ),
    [],
  );
  t.match(await lagOf('ordered'), { lag: 0, pending: 0, conserved: true });
}

async function handleDeadLetters(t: Test, { deployment, lagOf }: Bed): Promise<void> {
  const letters = [];
  for await (const letter of listDeadLetters(deployment, { function: 'ordered' }))
    letters.push(letter);
  t.strictSame(letters.map(({ eventId }) => eventId).sort(), [...DEAD].sort());
  const [first, ...others] = letters;
  t.equal(await replayDeadLetter(deployment, first as (typeof letters)[number]), 'replayed');
  t.equal(await purgeDeadLetters(deployment, others), others.length);
  t.match(await lagOf('ordered'), {
    dead: others.length,
    purged: others.length,
    parked: 1,
    conserved: true,
  });
}

async function rewindAll(t: Test, { look, running, deployment, lagOf }: Bed): Promise<void> {
  const { events } = await rewindFunction(deployment, 'ordered', { kind: 'start' });
  t.equal(events, ITEMS.length);
  const millrace = await running('ordered');
  await untilTold(
    countersOf(look),
    'all have come again',
    async () => {
      const { done, dead: died, parked } = await totals(look, 'ordered', PARTITIONS);
      return parked === 0 && done + died === ITEMS.length + 1;
    },
    60_000,
  );
  t.match(await lagOf('ordered'), { lag: 0, pending: 0, parked: 0, conserved: true });
  await millrace.close();
}

async function schedule(
  t: Test,
  { look, running, deployment, publisher, lagOf }: Bed,
): Promise<void> {
  const millrace = await running('ordered');
  const before = (await totals(look, 'ordered', PARTITIONS)).done;
  await publisher.publishMany(
    Array.from({ length: 20 }, (_, i) => ({
      type: 'test.event',
      ...event(`due${i}`),
      delayMs: 300,
    })),
  );
  await publisher.publish('test.event', event('far').data, { id: 'far', delayMs: 3_600_000 });
  await untilTold(countersOf(look), 'all but one have run', async () =>
    is((await totals(look, 'ordered', PARTITIONS)).done, before + 20),
  );
  t.strictSame(
    (await listScheduled(deployment, 10)).map(({ id }) => id),
    ['far'],
  );
  t.equal(await cancelScheduled(deployment, 'far'), true);
  t.match(await lagOf('ordered'), { lag: 0, conserved: true });
  await millrace.close();
}

async function skipRepeated(t: Test, { running, keys, connection, lagOf }: Bed): Promise<void> {
  const millrace = await running('inbox');
  await until(
    'it has caught up',
    async () =>
      (await lagOf('inbox'))?.lag === 0 &&
      (await lagOf('inbox'))?.pending === 0 &&
      (await lagOf('inbox'))?.parked === 0,
  );
  const skipped = (await lagOf('inbox'))?.skipped ?? 0;
  for (const id of ['x1', 'x1', 'x2', 'x1'])
    await connection.command(
      'XADD',
      keys.events(3, 'test.event'),
      '*',
      'b',
      encodeEvents([{ id, subject: 'x' }]),
    );
  await until('they are skipped', async () => is((await lagOf('inbox'))?.skipped, skipped + 2));
  t.match(await lagOf('inbox'), { lag: 0, conserved: true });
  await millrace.close();
}

async function compete(
  t: Test,
  { running, keys, connection, publisher, lagOf }: Bed,
): Promise<void> {
  const both = [await running('unordered'), await running('unordered')];
  const before = await until(
    'they have caught up',
    async () => {
      const lag = await lagOf('unordered');
      return lag && lag.lag + lag.pending + lag.parked === 0 ? lag : null;
    },
    60_000,
  );
  await publisher.publishMany(
    Array.from({ length: 100 }, (_, i) => ({
      type: 'test.event',
      ...event(`c${i}`, 'slow:5'),
    })),
  );
  await until(
    'all are done',
    async () => is((await lagOf('unordered'))?.done, before.done + 100),
    60_000,
  );
  for (const millrace of both) await millrace.close();
  t.match(await lagOf('unordered'), { pending: 0, conserved: true });
  for (let p = 0; p < PARTITIONS; p++)
    t.strictSame(await connection.command('SMEMBERS', keys.helpers(p, 'unordered')), []);
}

async function freeWedged(t: Test, { keys, connection }: Bed): Promise<void> {
  const sweep = new ParkedSweep(connection, keys);
  const lane = {
    fn: 'ordered',
    partition: 5,
    types: ['test.event', 'test.other'],
    maxDelayMs: 1000,
  };
  await connection.command('RPUSH', keys.parked(5, 'ordered', 'wedged'), 'x');
  await connection.command('HINCRBY', keys.counters(5), 'parked:ordered:test.event', 1);
  const wedged = (
    await until('it is found', async () => {
      const swept = await sweep.sweep(lane);
      return swept.wedged.length > 0 ? swept : null;
    })
  ).wedged;
  t.match(wedged, [{ unit: 'wedged', why: 'unscheduled', events: 1 }]);
  await connection.command('DEL', keys.parked(5, 'ordered', 'wedged'), keys.due(5, 'ordered'));
  await connection.command('HINCRBY', keys.counters(5), 'parked:ordered:test.event', -1);
}

async function retain(
  t: Test,
  { look, running, deployment, keys, connection }: Bed,
): Promise<void> {
  await setTypeLimits(deployment, 'test.other', { maxEvents: 8 });
  const millrace = await running('ordered');
  await untilTold(
    writesTo(look),
    'trimmed',
    async () => (await entriesIn(look, PARTITIONS, ['test.other'])) <= PARTITIONS,
  );
  await removeFunction(deployment, 'inbox', true);
  await removeFunction(deployment, 'unordered', true);
  t.strictSame(
    (await readLag(deployment)).functions.map(({ name, conserved }) => ({ name, conserved })),
    [{ name: 'ordered', conserved: true }],
  );
  t.strictSame(await readLosses(deployment), []);
  const [[id] = ['']] = (await connection.command(
    'XRANGE',
    keys.events(3, 'test.event'),
    '-',
    '+',
    'COUNT',
    1,
  )) as [string][];
  await connection.command('XDEL', keys.events(3, 'test.event'), id);
  await until('the loss is written down', async () =>
    moreThan((await readLosses(deployment)).length, 0),
  );
  t.match(await readLosses(deployment), [
    { kind: 'entries', partition: 3, type: 'test.event', count: 1 },
  ]);
  await millrace.close();
}

export function contract(where: string, start: (t: TestLike) => Promise<Server>): void {
  t.test(`the contract, on ${where}`, async (t) => {
    const bed = await openBed(t, await start(t));
    await t.test(
      'publish, process, retry, dead-letter: each event ends once, in order, and it adds up',
      (t) => processAll(t, bed),
    );
    await t.test('dead letters: listed, replayed, purged', (t) => handleDeadLetters(t, bed));
    await t.test('rewind: everything comes again, beside what is parked', (t) => rewindAll(t, bed));
    await t.test('scheduled: appended when due, cancelled before', (t) => schedule(t, bed));
    await t.test('an inbox skips what a foreign producer sends again', (t) => skipRepeated(t, bed));
    await t.test('competing consumers: both work, each event ends once, no consumer is left', (t) =>
      compete(t, bed),
    );
    await t.test('wedged subjects are found and set free', (t) => freeWedged(t, bed));
    await t.test(
      'retention takes what is settled, and a removed function holds nothing; losses are written down',
      (t) => retain(t, bed),
    );
  });
}
