/**
 * Each built-in rule: quiet before its cause, firing once the cause has lasted for its `for`, and
 * resolved after it. The causes are made in a real Redis. The evaluation gets its time from the
 * test, so that nothing waits for minutes.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AlertStore } from '../../src/alerts/alert-store.ts';
import type { AlertRecord } from '../../src/alerts/alert-record.ts';
import type { AlertRule } from '../../src/alerts/alert-rule.ts';
import { BUILT_IN_RULES } from '../../src/alerts/built-in-rules.ts';
import { evaluateRules, type EvaluationState } from '../../src/alerts/evaluate-rules.ts';
import type { Labels } from '../../src/alerts/figures.ts';
import { NO_HISTORY } from '../../src/alerts/history.ts';
import { measure, type Measured } from '../../src/alerts/measured.ts';
import { readingsOf, type Lanes } from '../../src/alerts/readings.ts';
import { RedisReplyError } from '../../src/core/errors/server-errors.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { adoptForeign } from '../../src/lag/adopt.ts';
import { readLag } from '../../src/lag/lag.ts';
import { noteLoss } from '../../src/lag/losses.ts';
import { serverTime } from '../../src/redis/server-time.ts';
import { setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { createRelay, turnOf } from '../outbox/emitting-lane.ts';
import {
  encodeEvents,
  events,
  makeBed,
  publish,
  specOf,
  startLane,
  type BareLane,
  type Bed,
} from '../pipeline/bare-lane.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const PARTITIONS = 2;

/** A deployment with the function `f`, on which the rules look. */
class World {
  readonly bed: Bed;
  readonly lane: BareLane;
  /** Figures of the state that no test can make. */
  fed: Partial<Measured> = {};
  #nowMs: number;
  readonly #store: AlertStore;
  #state: EvaluationState = { alerts: new Map(), history: NO_HISTORY };
  #lanes: Lanes = new Map();

  constructor(bed: Bed, lane: BareLane, nowMs: number) {
    this.bed = bed;
    this.lane = lane;
    this.#nowMs = nowMs;
    this.#store = new AlertStore(bed, 'test', 60_000);
  }

  /** Lets time pass for the rules. */
  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** Evaluates all rules on the present state. */
  async look(): Promise<void> {
    const { bed } = this;
    const measured = await measure({ source: bed, lag: () => readLag(bed) });
    const now = readingsOf({
      measured: { ...measured, ...this.fed },
      partitions: PARTITIONS,
      nowMs: this.#nowMs,
      history: this.#state.history,
      lanes: this.#lanes,
      writesRefused: await this.#isRefused(),
    });
    const { state } = evaluateRules({
      rules: BUILT_IN_RULES,
      readings: now.readings,
      state: this.#state,
      nowMs: this.#nowMs,
      deployment: 'd',
      labels: {},
    });
    this.#state = state;
    this.#lanes = now.lanes;
  }

  /** Whether Redis refuses the write with which each pass of the alerts begins. */
  async #isRefused(): Promise<boolean> {
    try {
      await this.#store.hold();
      return false;
    } catch (error) {
      if (error instanceof RedisReplyError && error.refuses === 'writes') return true;
      throw error;
    }
  }

  /** Alerts of the rule, as of the last look. */
  alertsOf({ name }: AlertRule): AlertRecord[] {
    return [...this.#state.alerts.values()].filter((alert) => alert.name === name);
  }

  /** Appends events for the function. */
  async publish(count: number): Promise<void> {
    await publish(this.bed, 0, { 'a.b': events(count) });
  }
}

async function makeWorld(t: Test): Promise<World> {
  const bed = await makeBed(t, PARTITIONS);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  return new World(bed, lane, await serverTime(bed));
}

interface Case {
  /** A state near the cause, which must not fire. */
  readonly before?: (world: World) => Promise<unknown>;
  /** Makes the cause: at the next look the expression holds. */
  readonly begin: (world: World, quiet: () => Promise<void>) => Promise<unknown>;
  /** Keeps the cause up between two looks. */
  readonly goOn?: (world: World) => Promise<unknown>;
  /** Ends the cause: at the next look the expression does not hold. */
  readonly end: (world: World) => Promise<unknown>;
  /** Labels of the alert besides its name and severity. */
  readonly labels: (world: World) => Labels;
}

const ofFunction = (): Labels => ({ function: 'f' });
const ofType = (): Labels => ({ function: 'f', type: 'a.b' });
const ofNode = ({ bed }: World): Labels => ({ node: bed.connection.target });
const none = (): Labels => ({});
const drain = ({ lane }: World): Promise<void> => lane.drain();

/** Returns an entry id from longer ago than a minute by the server's clock. */
async function oldId({ bed }: World): Promise<string> {
  return `${(await serverTime(bed)) - MINUTE_MS - SECOND_MS}-1`;
}

/** Changes a counter as another program may. */
function addToDone({ bed }: World, by: number): Promise<unknown> {
  return bed.connection.command('HINCRBY', bed.keys.counters(0), 'done:f:a.b', by);
}

/** Returns a subject in the partition. */
function subjectIn(partition: number): string {
  for (let i = 0; ; i++) if (partitionOf(`s${i}`, PARTITIONS) === partition) return `s${i}`;
}

/** Gives the waiting flush of the outbox an older id: it has waited for longer. */
async function ageOutbox(world: World): Promise<void> {
  const { connection, keys } = world.bed;
  const key = keys.outbox(0);
  const [entry] = (await connection.commandBuffer('XRANGE', key, '-', '+')) as [Buffer, Buffer[]][];
  if (entry === undefined) throw new Error('the outbox is empty');
  await connection.command('DEL', key);
  await connection.command('XADD', key, await oldId(world), ...entry[1]);
}

async function relayOutbox({ bed }: World): Promise<void> {
  const relay = createRelay(bed);
  relay.ring(0, null);
  await until('the flush has left', async () =>
    is(Number(await bed.connection.command('XLEN', bed.keys.outbox(0))), 0),
  );
  await relay.stop();
}

/** Fills the server up to 95 % of its limit. */
async function fillMemory({ bed: { redis } }: World): Promise<void> {
  const look = redis.client();
  await look.setrange('fill', 50 * 1024 * 1024, 'x');
  const used = Number(/^used_memory:(\d+)/m.exec(await look.info('memory'))?.[1]);
  await look.config('SET', 'maxmemory', Math.round(used / 0.95));
}

/** Saves a snapshot, and waits for its result. */
async function saveSnapshot({ bed: { redis } }: World, wanted: 'ok' | 'err'): Promise<void> {
  const look = redis.client();
  await look.bgsave();
  await until(`the snapshot ends: ${wanted}`, async () =>
    (await look.info('persistence')).includes(`rdb_last_bgsave_status:${wanted}`),
  );
}

const snapshotOf = ({ bed: { redis } }: World): string => join(redis.dir, 'dump.rdb');

const CASES: Readonly<Record<string, Case>> = {
  'oldest-event': {
    labels: ofFunction,
    begin: async (world) => {
      const { connection, keys } = world.bed;
      const bytes = encodeEvents(events(1));
      await connection.command('XADD', keys.events(0, 'a.b'), await oldId(world), 'b', bytes);
    },
    end: drain,
  },
  'lag-growing': {
    labels: ofFunction,
    // A backlog that stands is no growth.
    before: (world) => world.publish(1500),
    begin: (world) => world.publish(1),
    goOn: (world) => world.publish(1),
    end: drain,
  },
  'dead-letters-growing': {
    labels: ofFunction,
    before: async (world) => {
      await world.publish(1);
      await world.lane.drain(() => 'dead');
    },
    begin: async (world) => {
      await world.publish(1);
      await world.lane.drain(() => 'dead');
    },
    end: async (world) => world.pass(11 * MINUTE_MS),
  },
  'conservation-broken': {
    labels: ofFunction,
    before: async (world) => {
      await world.publish(3);
      await world.lane.drain();
    },
    begin: (world) => addToDone(world, 1),
    end: (world) => addToDone(world, -1),
  },
  loss: {
    labels: () => ({ kind: 'entries' }),
    // A unit that was wedged has lost nothing.
    before: ({ bed }) =>
      noteLoss(bed.connection, bed.keys, 0, {
        kind: 'wedged',
        from: '',
        to: '',
        count: 1,
        message: 'm',
      }),
    begin: async ({ bed }) => {
      const id = await publish(bed, 0, { 'a.b': events(1) });
      await bed.connection.command('XDEL', bed.keys.events(0, 'a.b'), id);
      await adoptForeign(bed.connection, bed.keys, 0, 'a.b');
    },
    end: async (world) => world.pass(20 * MINUTE_MS),
  },
  'lane-stalled': {
    labels: () => ({ function: 'f', partition: '0' }),
    begin: async (world, quiet) => {
      await world.publish(2);
      await quiet();
      world.pass(5 * MINUTE_MS);
      await quiet();
      world.pass(SECOND_MS);
    },
    end: (world) => world.lane.work(() => 'done', 1),
  },
  'backlog-limit-near': {
    labels: ofType,
    before: async (world) => {
      await setTypeLimits(world.bed, 'a.b', { maxBacklog: 200 });
      await world.publish(50);
    },
    begin: async (world) => {
      await world.publish(10);
      world.pass(MINUTE_MS);
    },
    goOn: (world) => world.publish(5),
    end: drain,
  },
  'retention-held': {
    labels: ofType,
    before: async (world) => {
      await setTypeLimits(world.bed, 'a.b', { maxEvents: 20 });
      await world.publish(10);
    },
    begin: (world) => world.publish(1),
    end: (world) => world.lane.work(() => 'done', 1),
  },
  'outbox-stuck': {
    labels: () => ({ partition: '0' }),
    before: async ({ bed, lane }) => {
      const emits = [{ type: 'test.event', subject: subjectIn(1) }];
      const { plan } = await turnOf(bed, lane, [{ id: 'c', emits, outcome: 'done' }]);
      await lane.send(plan);
    },
    begin: ageOutbox,
    end: relayOutbox,
  },
  'redis-memory': {
    labels: ofNode,
    begin: fillMemory,
    end: ({ bed: { redis } }) => redis.client().config('SET', 'maxmemory', 0),
  },
  'redis-disk': {
    labels: none,
    before: async (world) => {
      const measured = await measure({ source: world.bed, lag: () => readLag(world.bed) });
      if (typeof measured.diskRatio !== 'number') throw new Error('the disk was not measured');
      world.fed = { diskRatio: 0.9 };
    },
    begin: async (world) => void (world.fed = { diskRatio: 0.91 }),
    end: async (world) => void (world.fed = { diskRatio: 0.5 }),
  },
  'redis-not-persisting': {
    labels: ofNode,
    begin: async (world) => {
      // The snapshot cannot take the place of a folder.
      mkdirSync(snapshotOf(world));
      await saveSnapshot(world, 'err');
    },
    end: async (world) => {
      rmdirSync(snapshotOf(world));
      await saveSnapshot(world, 'ok');
    },
  },
  'redis-refuses-writes': {
    labels: none,
    begin: ({ bed: { redis } }) => redis.client().config('SET', 'min-replicas-to-write', 1),
    end: ({ bed: { redis } }) => redis.client().config('SET', 'min-replicas-to-write', 0),
  },
};

t.test('each built-in rule has a case', async (t) => {
  t.strictSame(Object.keys(CASES).sort(), BUILT_IN_RULES.map(({ name }) => name).sort());
});

/** Looks each minute until `for` has passed: pending before its end, firing at it. */
async function fires(t: Test, world: World, rule: AlertRule, one: Case): Promise<void> {
  for (let leftMs = rule.forMs; leftMs > 0;) {
    await world.look();
    t.match(world.alertsOf(rule), [{ state: 'pending' }], `${leftMs} ms before it fires`);
    const stepMs =
      leftMs > MINUTE_MS ? MINUTE_MS : leftMs > SECOND_MS ? leftMs - SECOND_MS : leftMs;
    world.pass(stepMs);
    leftMs -= stepMs;
    await one.goOn?.(world);
  }
  await world.look();
  t.match(world.alertsOf(rule), [{ state: 'firing', severity: rule.severity }]);
  const { alertname, severity, ...labels } = world.alertsOf(rule)[0]?.labels ?? {};
  t.strictSame({ alertname, severity }, { alertname: rule.name, severity: rule.severity });
  t.strictSame(labels, one.labels(world));
}

for (const rule of BUILT_IN_RULES)
  t.test(rule.name, async (t) => {
    const one = CASES[rule.name];
    if (one === undefined) return t.fail(`${rule.name} has no case`);
    const world = await makeWorld(t);
    const quiet = async (): Promise<void> => {
      await world.look();
      t.strictSame(world.alertsOf(rule), [], 'it is quiet');
    };
    await one.before?.(world);
    await quiet();
    world.pass(MINUTE_MS);
    await quiet();
    await one.begin(world, quiet);
    await fires(t, world, rule, one);
    await one.end(world);
    await world.look();
    t.match(world.alertsOf(rule), [{ state: 'resolved' }]);
  });
