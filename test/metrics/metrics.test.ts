/** The counts behind the metrics, and the text that Prometheus reads. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import fc from 'fast-check';
import { Distribution } from '../../src/core/distribution.ts';
import type { Deployment } from '../../src/deployment.ts';
import type { FunctionLag, LagReport } from '../../src/lag/lag.ts';
import { sumRows } from '../../src/lag/lag-counts.ts';
import { rateLag, type RatedLag } from '../../src/lag/rates.ts';
import {
  DEPLOYMENT_METRICS,
  PROCESS_METRICS,
  STATE_METRICS,
  type MetricRule,
} from '../../src/metrics/catalogue.ts';
import { Metrics, type MetricsSources } from '../../src/metrics/metrics.ts';
import type { Watched } from '../../src/metrics/process-metrics.ts';
import { TurnMeters } from '../../src/metrics/turn-meters.ts';
import { PublishMeters } from '../../src/pipeline/append/publish-meters.ts';
import { queueTimes } from '../../src/pipeline/lane/queue-times.ts';
import { RoundTrips } from '../../src/redis/round-trips.ts';
import { projectDir } from '../../scripts/lab/redis-server.ts';
import { ROWS } from '../../scripts/dashboard/panels.ts';

t.test('a distribution counts values up to its bounds, each with its weight', async (t) => {
  const told = new Distribution([1, 10]);
  for (const [value, weight] of [
    [0.5, 1],
    [1, 2],
    [1.01, 3],
    [10, 1],
    [11, 5],
    [-4, 1],
  ] as const)
    told.observe(value, weight);
  told.observe(NaN);
  t.strictSame(told.upTo(), [4, 8]);
  t.equal(told.count, 13);
  t.equal(told.sum, 0.5 + 2 + 3.03 + 10 + 55 + 0);
  const sum = Distribution.sum([1, 10], [told, told]);
  t.strictSame([sum.upTo(), sum.count, sum.sum], [[8, 16], 26, told.sum * 2]);
  t.strictSame(Distribution.sum([1], []).upTo(), [0]);
});

t.test(
  'the times in the stream stand for about all events, and cost at most 16 looks',
  async (t) => {
    t.strictSame(queueTimes([], 5), []);
    t.strictSame(
      queueTimes(
        [
          { id: '100-0', count: 3 },
          { id: '150-7', count: 1 },
          { id: '900-0', count: 2 },
        ],
        200,
      ),
      [100, 3, 50, 1, 0, 2],
      'an entry of the future has waited for no time',
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (size) => {
        const entries = Array.from({ length: size }, (_, i) => ({ id: `${i}-0`, count: 2 }));
        const times = queueTimes(entries, size);
        const events = times.reduce((sum, n, i) => (i % 2 === 1 ? sum + n : sum), 0);
        return events === size * 2 && times.length <= 32;
      }),
      { numRuns: 200 },
    );
  },
);

const row = (type: string, partition: number, more: object): FunctionLag['types'][number] => ({
  type,
  partition,
  appended: 10,
  done: 6,
  skipped: 0,
  parked: 0,
  dead: 1,
  purged: 0,
  pending: 0,
  lag: 3,
  oldestMs: 1500,
  states: {
    lag: { events: 3, oldestMs: partition === 0 ? 1500 : 900 },
    pending: { events: 0, oldestMs: null },
    parked: { events: 0, oldestMs: null },
    held: { events: 0, oldestMs: null },
  },
  ...more,
});

const ROWS_NOW = [row('a', 0, {}), row('a', 1, { appended: 11 }), row('b', 0, { dead: 0 })];

function report(nowMs: number, types: FunctionLag['types']): LagReport {
  const f = { name: 'f', letters: 1, conserved: true, types, ...sumRows(types) };
  return { nowMs, functions: [f] };
}

const NOW = report(3000, ROWS_NOW);
/** Two seconds before. */
const BEFORE = report(1000, [
  row('a', 0, { appended: 5, done: 2, lag: 2 }),
  row('a', 1, { appended: 11, done: 4, dead: 0 }),
  row('b', 0, { dead: 0 }),
]);

const rated = (...readings: LagReport[]): (() => Promise<RatedLag>) => {
  const limits = { partitions: 2, maxBacklogs: new Map([['a', 50]]) };
  return () => Promise.resolve(rateLag(readings, limits));
};

function sources(more: Partial<MetricsSources['deployment']> = {}): MetricsSources {
  const turns = new TurnMeters();
  const publishing = new PublishMeters();
  const roundTrips = new RoundTrips();
  const dispatcher = {
    functions: [{ spec: { name: 'f' } }, { spec: { name: 'quiet' } }],
    lanesOwned: 4,
    threads: 2,
    busyThreads: 1,
    threadDeaths: 0,
    uncaughtErrors: 0,
    leaseLosses: 0,
    repeats: 3,
    queuedBatches: 0,
    schemaWaits: new Distribution([1]),
    health: () => ({
      problems: [{}],
      reasons: [],
      setups: [{ function: 'f', lanes: 2, at: 'f.ts:3' }],
    }),
  } as unknown as Watched;
  turns.turn({
    fn: 'f',
    partition: 0,
    done: 5,
    retried: 1,
    dead: 0,
    entries: 1,
    ages: [20, 3, 3000, 2],
    busyMs: 4,
    events: 6,
    bytes: 600,
    commitMs: 2,
    waitMs: null,
    queued: [7, 6],
  });
  publishing.appended(
    [
      { type: 'a', count: 3 },
      { type: 'b', count: 1 },
    ],
    3,
  );
  publishing.open.add({ bufferedBytes: 70, waitingCalls: 2 });
  roundTrips.seconds.of('take').observe(0.002);
  return {
    apart: false,
    process: {
      deployment: {
        connection: { status: 'up' },
        server: { version: '7.0.15' },
        roundTrips,
      } as unknown as Deployment,
      turns,
      publishing,
      dispatchers: () => [dispatcher],
    },
    deployment: {
      partitions: 2,
      lag: rated(BEFORE, NOW),
      outboxes: () => Promise.resolve([]),
      server: () =>
        Promise.resolve({
          memory: { usedBytes: 10, limitBytes: 100 },
          disk: { usedBytes: 7, limitBytes: 70 },
          lastLossMs: 5000,
          limits: new Map([
            ['a', { maxBacklog: 50, maxEvents: 4 }],
            ['b', { maxAgeMs: 10_000 }],
          ]),
        }),
      byPartition: false,
      ...more,
    },
  };
}

/** Names of the metrics of Millrace in a text. */
const namesIn = (text: string): string[] =>
  [...text.matchAll(/^# TYPE (millrace_\w+) /gm)].map(([, name]) => name as string).sort();
const namesOf = (...all: Readonly<Record<string, MetricRule>>[]): string[] =>
  all.flatMap((catalogue) => Object.keys(catalogue)).sort();

t.test('each metric of the catalogue is told, and no other', async (t) => {
  const metrics = new Metrics(sources());
  const [own, whole] = [await metrics.text(), await metrics.deploymentText()];
  t.strictSame(namesIn(own), namesOf(PROCESS_METRICS, STATE_METRICS));
  t.strictSame(namesIn(whole), namesOf(STATE_METRICS, DEPLOYMENT_METRICS));
  for (const line of [
    'millrace_events_total{function="f",outcome="done"} 5',
    'millrace_events_total{function="quiet",outcome="done"} 0',
    'millrace_latency_seconds_bucket{le="0.025",function="f"} 3',
    'millrace_latency_seconds_bucket{le="+Inf",function="f"} 5',
    'millrace_latency_seconds_sum{function="f"} 6.06',
    'millrace_queue_seconds_count{function="f"} 6',
    'millrace_thread_wait_seconds_count{function="f"} 0',
    'millrace_redis_round_trip_seconds_count{command="take"} 1',
    'millrace_setup_failing_lanes{function="f",at="f.ts:3"} 2',
    'millrace_setup_failing_lanes{function="quiet",at=""} 0',
    'millrace_published_events_total{type="a"} 3',
    'millrace_publisher_buffered_bytes 70',
    'millrace_lag_events{function="f"} 9',
  ])
    t.ok(own.split('\n').includes(line), line);
  for (const line of [
    'millrace_appended_events_total{function="f",type="a"} 21',
    'millrace_settled_events_total{function="f",type="a",outcome="dead"} 2',
    'millrace_state_events{function="f",type="a",state="lag"} 6',
    'millrace_state_oldest_seconds{function="f",type="a",state="lag"} 1.5',
    'millrace_arrival_events_per_second{function="f",type="a"} 2.5',
    'millrace_settled_events_per_second{function="f",type="a"} 3.5',
    'millrace_settled_events_per_second{function="f",type="b"} 0',
    'millrace_drain_seconds{function="f",type="a"} 6',
    'millrace_backlog_limit_seconds{function="f",type="a"} 44',
    'millrace_backlog_limit_events{type="a"} 50',
    'millrace_retention_held_seconds{function="f",type="a"} 1.5',
    'millrace_retention_held_seconds{function="f",type="b"} 0',
    'millrace_last_loss_timestamp_seconds 5',
    'millrace_redis_memory_limit_bytes 100',
    'millrace_redis_disk_bytes 7',
    'millrace_redis_disk_limit_bytes 70',
  ])
    t.ok(whole.split('\n').includes(line), line);
  t.notMatch(whole, /^millrace_drain_seconds\{.*type="b"/m, 'it does not drain');
  t.notMatch(whole, /^millrace_backlog_limit_\w+\{.*type="b"/m, 'there is no limit');
});

t.test('rates need two looks, and a rewind begins anew', async (t) => {
  const rates = /^millrace_(\w+_per_second|drain_seconds|backlog_limit_seconds)\{/m;
  for (const [name, lag] of [
    ['the first look', rated(NOW)],
    ['a look taken twice', rated(NOW, NOW)],
    ['after a rewind', rated({ ...NOW, nowMs: 1000 }, { ...BEFORE, nowMs: 3000 })],
  ] as const)
    t.notMatch(await new Metrics(sources({ lag })).deploymentText(), rates, name);
  t.match(await new Metrics(sources()).deploymentText(), rates);
});

t.test('the settings: the deployment apart, and by partition', async (t) => {
  const apart = new Metrics({ ...sources(), apart: true });
  t.strictSame(namesIn(await apart.text()), namesOf(PROCESS_METRICS));
  const split = await new Metrics(sources({ byPartition: true })).deploymentText();
  for (const line of [
    'millrace_appended_events_total{function="f",type="a",partition="1"} 11',
    'millrace_arrival_events_per_second{function="f",type="a",partition="0"} 2.5',
    'millrace_settled_events_per_second{function="f",type="a",partition="1"} 1.5',
    'millrace_drain_seconds{function="f",type="a",partition="1"} 2',
    'millrace_backlog_limit_seconds{function="f",type="a",partition="0"} 44',
    'millrace_retention_held_seconds{function="f",type="a",partition="1"} 0.9',
    'millrace_lag_events{function="f"} 9',
    'millrace_backlog_limit_events{type="a"} 50',
  ])
    t.ok(split.split('\n').includes(line), line);
  t.notMatch(split, /^millrace_drain_seconds\{.*partition="0"/m, 'it does not drain');
  t.notMatch(split, /^millrace_backlog_limit_seconds\{.*partition="1"/m, 'it does not grow');
});

t.test('what Redis does not tell is left out', async (t) => {
  const fails = (): Promise<never> => Promise.reject(new Error('away'));
  const text = await new Metrics(
    sources({ lag: fails, outboxes: fails, server: fails }),
  ).deploymentText();
  t.match(text, /^millrace_partitions 2$/m);
  t.notMatch(text, /^millrace_(?!partitions)/m);
});

t.test('rules and dashboard ask for metrics of the catalogue only', async (t) => {
  const known = new Set(
    Object.entries({ ...PROCESS_METRICS, ...STATE_METRICS, ...DEPLOYMENT_METRICS }).flatMap(
      ([name, { type }]) =>
        type === 'histogram' ? ['bucket', 'sum', 'count'].map((of) => `${name}_${of}`) : [name],
    ),
  );
  const rules = ['millrace.rules.yaml', 'millrace.rules-test.yaml'].map((name) =>
    readFileSync(join(projectDir, 'docs/prometheus', name), 'utf8'),
  );
  const queries = ROWS.flatMap(({ panels }) => panels.flatMap((panel) => panel.queries));
  const used = [...rules, ...queries.map(({ expr }) => expr)].flatMap(
    (text) => text.match(/\bmillrace_\w+/g) ?? [],
  );
  t.ok(used.length > 50);
  for (const name of new Set(used)) t.ok(known.has(name), name);
});
