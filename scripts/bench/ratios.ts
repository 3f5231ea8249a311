/** Ratios of one run's figures. On a shared machine only ratios can be trusted. */
import type { ScenarioResult } from './result.ts';

/** Pairs of scenarios whose rates are compared. */
const PAIRS: readonly (readonly [ours: string, theirs: string, name?: string])[] = [
  ['drain', 'bound-decode'],
  ['drain', 'bound-redis-drain', 'drain / bound-redis'],
  ['publish', 'bound-redis-publish', 'publish / bound-redis'],
  ['drain', 'ioredis-loop-drain', 'drain / ioredis-loop'],
  ['foreign', 'ioredis-loop-drain', 'foreign / ioredis-loop'],
  ['drain', 'node-redis-loop-drain', 'drain / node-redis-loop'],
  ['drain', 'bullmq-drain', 'drain / bullmq'],
  ['drain', 'bullmq-sandbox-drain', 'drain / bullmq-sandbox'],
  ['drain', 'jetstream-drain', 'drain / jetstream'],
  ['publish', 'ioredis-loop-publish', 'publish / ioredis-loop'],
  ['publish', 'node-redis-loop-publish', 'publish / node-redis-loop'],
  ['publish', 'bullmq-publish', 'publish / bullmq'],
  ['publish', 'jetstream-publish', 'publish / jetstream'],
  ['append', 'naive-append'],
  ['append', 'watch-append'],
  ['through', 'drain'],
  ['foreign', 'drain'],
  ['failing', 'drain'],
];

/** Parameters that tell the results of one scenario apart. */
type Which = Readonly<Record<string, string | number>>;

export function ratiosOf(scenarios: readonly ScenarioResult[]): Record<string, number> {
  const ratios: Record<string, number> = {};
  const put = (name: string, a: number | null, b: number | null): void => {
    if (a !== null && b !== null && b > 0) ratios[name] = Math.round((a / b) * 1000) / 1000;
  };
  const rates = (name: string, which: Which = {}): number | null =>
    find(scenarios, name, which)?.eventsPerSecond ?? null;

  const fsyncs = new Set(scenarios.map(({ params }) => params['appendfsync']));
  for (const fsync of fsyncs) {
    if (typeof fsync !== 'string') continue;
    const only = fsyncs.has('everysec') && fsync === 'always' ? ' (always)' : '';
    const which = { appendfsync: fsync };
    for (const [ours, theirs, name] of PAIRS)
      put(`${name ?? `${ours} / ${theirs}`}${only}`, rates(ours, which), rates(theirs, which));
  }
  for (const [name, key] of [
    ['cpu', 'workers'],
    ['io', 'workers'],
  ] as const)
    for (const value of valuesOf(scenarios, name, key))
      if (value > 1)
        put(
          `${name}: ${value} ${key} / 1`,
          rates(name, { [key]: value }),
          rates(name, { [key]: 1 }),
        );
  putFunctions(scenarios, put);
  const onRedis = scenarios.filter(({ params }) => typeof params['appendfsync'] === 'string');
  for (const name of new Set(onRedis.map((one) => one.name)))
    put(
      `${name}: appendfsync always / everysec`,
      rates(name, { appendfsync: 'always' }),
      rates(name, { appendfsync: 'everysec' }),
    );
  return ratios;
}

/** Compares several functions on a type with one. */
function putFunctions(
  scenarios: readonly ScenarioResult[],
  put: (name: string, a: number | null, b: number | null) => void,
): void {
  for (const [name, key, text] of [
    ['fan-out', 'deliveriesPerSecond', 'deliveries/s'],
    ['fan-out', 'cpuPerDeliveryUs', 'CPU per delivery'],
    ['lag', 'cpuPerDeliveryUs', 'CPU per delivery'],
  ] as const) {
    const of = (functions: number): number | null => {
      const value = find(scenarios, name, { functions })?.params[key];
      return typeof value === 'number' ? value : null;
    };
    for (const functions of valuesOf(scenarios, name, 'functions'))
      if (functions > 1) put(`${name}: ${text}, ${functions} functions / 1`, of(functions), of(1));
  }
}

function valuesOf(
  scenarios: readonly ScenarioResult[],
  name: string,
  key: string,
): ReadonlySet<number> {
  return new Set(
    scenarios.filter((one) => one.name === name).map(({ params }) => params[key] as number),
  );
}

/** Returns the first accounted result. A scenario without a parameter fits any value of it. */
function find(
  scenarios: readonly ScenarioResult[],
  name: string,
  which: Which,
): ScenarioResult | undefined {
  return scenarios.find(
    (one) =>
      one.name === name &&
      one.accounted &&
      Object.entries(which).every(([key, value]) => (one.params[key] ?? value) === value),
  );
}
