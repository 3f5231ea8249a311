/** Rates: as a table, and of a lane on a server. */
import t from 'tap';
import type { FunctionLag, LagReport } from '../../src/lag/lag.ts';
import { sumRows, type TypeLag } from '../../src/lag/lag-counts.ts';
import { LagWatch } from '../../src/lag/lag-watch.ts';
import { rateLag, type FunctionRate } from '../../src/lag/rates.ts';
import { readBacklogLimits, setTypeLimits } from '../../src/upkeep/type-limits.ts';
import { events, makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';

interface Counts {
  readonly appended: number;
  readonly done: number;
  readonly dead?: number;
  readonly parked?: number;
  readonly held?: number;
  readonly pending?: number;
  readonly type?: string;
  readonly partition?: number;
}

/** A row whose other events are in lag. */
function row({
  appended,
  done,
  dead = 0,
  parked = 0,
  held = 0,
  pending = 0,
  ...at
}: Counts): TypeLag {
  const lag = appended - done - dead - parked - pending;
  const state = (events: number) => ({ events, oldestMs: events > 0 ? 1 : null });
  return {
    type: 'a',
    partition: 0,
    ...at,
    appended,
    done,
    dead,
    parked,
    pending,
    lag,
    skipped: 0,
    purged: 0,
    oldestMs: null,
    states: {
      lag: state(lag),
      pending: state(pending),
      parked: state(parked - held),
      held: state(held),
    },
  };
}

const reading = (nowMs: number, ...rows: Counts[]): LagReport => {
  const types = rows.map(row);
  const fn: FunctionLag = { name: 'f', letters: 0, conserved: true, types, ...sumRows(types) };
  return { nowMs, functions: [fn] };
};

const rated = (readings: readonly LagReport[], maxBacklogs: Record<string, number> = {}) =>
  rateLag(readings, { partitions: 2, maxBacklogs: new Map(Object.entries(maxBacklogs)) })
    .functions[0]?.rate as FunctionRate | null;

t.test('arrival, service and time to drain', (t) => {
  const table: readonly [string, readonly LagReport[], Partial<FunctionRate> | null][] = [
    ['one reading', [reading(0, { appended: 9, done: 0 })], null],
    [
      'no time has passed',
      [reading(5, { appended: 9, done: 0 }), reading(5, { appended: 9, done: 1 })],
      null,
    ],
    [
      'the clock went back',
      [reading(5, { appended: 9, done: 0 }), reading(4, { appended: 9, done: 1 })],
      null,
    ],
    [
      'draining: 100 wait, and 20 more are settled than come each second',
      [reading(1000, { appended: 200, done: 80 }), reading(3000, { appended: 220, done: 120 })],
      { windowMs: 2000, arrivalPerSecond: 10, servicePerSecond: 20, drainMs: 10_000 },
    ],
    [
      'as many come as are settled',
      [reading(1000, { appended: 200, done: 80 }), reading(3000, { appended: 220, done: 100 })],
      { arrivalPerSecond: 10, servicePerSecond: 10, drainMs: null },
    ],
    [
      'nothing waits',
      [reading(1000, { appended: 10, done: 10 }), reading(2000, { appended: 30, done: 30 })],
      { arrivalPerSecond: 20, servicePerSecond: 20, drainMs: 0 },
    ],
    [
      'held events do not drain, dead ones have ended',
      [
        reading(0, { appended: 20, done: 5, parked: 5, held: 5 }),
        reading(1000, { appended: 20, done: 7, dead: 3, parked: 5, held: 5 }),
      ],
      { arrivalPerSecond: 0, servicePerSecond: 5, drainMs: 1000 },
    ],
    [
      'replays take dead events back',
      [
        reading(0, { appended: 20, done: 5, dead: 15 }),
        reading(1000, { appended: 20, done: 5, dead: 10, parked: 5 }),
      ],
      { arrivalPerSecond: 0, servicePerSecond: 0, drainMs: null },
    ],
    [
      'the first of several readings counts',
      [0, 1, 2, 3].map((i) => reading(1000 * i, { appended: 10 * i * i, done: 0 })),
      { windowMs: 3000, arrivalPerSecond: 30 },
    ],
    [
      'a rewind begins anew',
      [
        reading(0, { appended: 100, done: 100 }),
        reading(1000, { appended: 100, done: 0 }),
        reading(2000, { appended: 100, done: 50 }),
      ],
      { windowMs: 1000, arrivalPerSecond: 0, servicePerSecond: 50, drainMs: 1000 },
    ],
    [
      'a look taken twice',
      [0, 1000, 1000].map((ms) => reading(ms, { appended: 9 + ms, done: 0 })),
      { windowMs: 1000, arrivalPerSecond: 1000 },
    ],
    [
      'a flush of the server, and the function is registered again',
      [reading(0, { appended: 100, done: 90 }), reading(1000, { appended: 5, done: 2 })],
      null,
    ],
    [
      'a failover to a server whose clock is behind',
      [
        reading(60_000, { appended: 1, done: 1 }),
        reading(1000, { appended: 5, done: 1 }),
        reading(2000, { appended: 9, done: 1 }),
      ],
      { windowMs: 1000, arrivalPerSecond: 4 },
    ],
    [
      'a type has come',
      [
        reading(0, { appended: 1, done: 1 }),
        reading(1000, { appended: 1, done: 1 }, { appended: 9, done: 0, type: 'b' }),
      ],
      null,
    ],
    [
      'the function has come',
      [{ nowMs: 0, functions: [] }, reading(1000, { appended: 1, done: 1 })],
      null,
    ],
  ];
  for (const [name, readings, expected] of table) {
    const rate = rated(readings);
    if (expected === null) t.equal(rate, null, name);
    else t.match(rate, expected, name);
  }
  t.end();
});

t.test('time until a backlog limit is reached', (t) => {
  const at = (ms: number, ...lags: number[]): LagReport =>
    reading(ms, ...lags.map((lag, partition) => ({ appended: ms + lag, done: ms, partition })));
  const limit = (readings: readonly LagReport[], max: number) =>
    rated(readings, { a: max })?.backlogLimit;
  t.equal(rated([at(0, 1, 1), at(1000, 1, 1)])?.backlogLimit, undefined, 'no limit');
  t.strictSame(
    limit([at(0, 10, 10), at(1000, 20, 30)], 200),
    { type: 'a', partition: 1, events: 30, limit: 100, reachedInMs: 3500 },
    'each partition has half of the limit',
  );
  t.match(limit([at(0, 90, 10), at(1000, 90, 20)], 200), { partition: 1, reachedInMs: 8000 });
  t.match(limit([at(0, 10, 40), at(1000, 9, 30)], 200), { partition: 1, reachedInMs: null });
  t.match(limit([at(0, 10, 40), at(1000, 100, 30)], 200), { partition: 0, reachedInMs: 0 });
  t.match(
    limit([at(0, 10, 0, 90), at(1000, 20, 0, 99)], 200),
    { partition: 0 },
    'a partition that the deployment does not have',
  );
  t.end();
});

t.test('rates of a lane, from two looks at a server', async (t) => {
  const bed = await makeBed(t, 2);
  const lane = await startLane(bed, specOf('f', ['a.b']), 0);
  await setTypeLimits(bed, 'a.b', { maxBacklog: 100 });
  const watch = new LagWatch(bed, () => readBacklogLimits(bed));
  t.equal((await watch.read()).functions[0]?.rate, null, 'one look has no rates');
  await publish(bed, 0, { 'a.b': events(30) });
  await lane.work(() => 'done');
  await publish(bed, 0, { 'a.b': events(10) });
  const { functions, nowMs } = await watch.read();
  const rate = functions[0]?.rate;
  t.ok(rate && nowMs);
  if (!rate) return;
  const seconds = rate.windowMs / 1000;
  t.equal(Math.round(rate.arrivalPerSecond * seconds), 40);
  t.equal(Math.round(rate.servicePerSecond * seconds), 30);
  t.equal(rate.drainMs, null);
  t.match(rate.backlogLimit, { type: 'a.b', partition: 0, events: 10, limit: 50 });
  t.equal(rate.backlogLimit?.reachedInMs, 4 * rate.windowMs);
});
