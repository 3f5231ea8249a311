/**
 * Scenarios of the event store: many appends under way, of one event each with an expected
 * revision, and loads of an aggregate.
 */
import type { AppenderArgument, AppenderResult } from './appender.ts';
import { startBenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import { Histogram } from './histogram.ts';
import type { BenchOptions, Fsync } from './options.ts';
import type { ScenarioResult } from './result.ts';

const WRITERS = 512;
const PER_HISTORY = 10;
const MAX_APPENDS = 500_000;

const WHAT = {
  append: 'append',
  'naive-append': 'naive',
  'watch-append': 'watch',
  load: 'load',
} as const;

type StoreScenario = keyof typeof WHAT;

/**
 * Runs a scenario. `naive-append`: the same appends by a hand-written script, one call each.
 * `watch-append`: by WATCH and MULTI.
 */
export async function runStoreScenario(
  name: StoreScenario,
  options: BenchOptions,
  fsync: Fsync,
): Promise<ScenarioResult> {
  const server = await startBenchServer(fsync);
  const events =
    name === 'load' ? (options.quick ? 200 : 5000) : Math.min(options.events, MAX_APPENDS);
  const child = new Child<AppenderResult>(
    './appender.js',
    {
      url: server.url,
      partitions: options.partitions,
      what: WHAT[name],
      events,
      writers: WRITERS,
      perHistory: PER_HISTORY,
    } satisfies AppenderArgument,
    options.cpuProf,
  );
  try {
    await child.ready;
    const redisBefore = server.cpuSeconds();
    child.go();
    const result = await child.result;
    const redisAfter = server.cpuSeconds();
    const redisSeconds =
      redisBefore === null || redisAfter === null ? null : redisAfter - redisBefore;
    const measured: Measured = { name, events, fsync, result, redisSeconds };
    return name === 'load' ? loadResult(measured) : appendResult(measured, options.partitions);
  } finally {
    await child.end(5000);
    await server.remove();
  }
}

interface Measured {
  readonly name: StoreScenario;
  readonly events: number;
  readonly fsync: Fsync;
  readonly result: AppenderResult;
  /** CPU time of the server, s; null: not known. */
  readonly redisSeconds: number | null;
}

function appendResult(measured: Measured, partitions: number): ScenarioResult {
  const { events, fsync, result } = measured;
  return {
    ...commonOf(measured),
    params: {
      events,
      appendfsync: fsync,
      partitions,
      writers: WRITERS,
      perHistory: PER_HISTORY,
      ...cpuOf(measured),
    },
    accounted: result.stored === events && result.histories === Math.ceil(events / PER_HISTORY),
  };
}

function loadResult(measured: Measured): ScenarioResult {
  const { events, fsync, result } = measured;
  const loads = new Histogram();
  const pings = new Histogram();
  loads.addPairs(result.loads);
  pings.addPairs(result.pings);
  const at = (histogram: Histogram, share: number): number =>
    (histogram.quantile(share) ?? 0) / 1000;
  return {
    ...commonOf(measured),
    params: {
      events,
      appendfsync: fsync,
      history: result.stored,
      pingP50Ms: at(pings, 0.5),
      overPingP50Ms: Math.round((at(loads, 0.5) - at(pings, 0.5)) * 1000) / 1000,
      ...cpuOf(measured),
    },
    p50Ms: at(loads, 0.5),
    p99Ms: at(loads, 0.99),
    p999Ms: at(loads, 0.999),
    maxMs: at(loads, 1),
    accounted: result.right && loads.total === events,
  };
}

function commonOf({ name, events, result }: Measured) {
  const ms = result.endMs - result.startMs;
  return {
    name,
    eventsPerSecond: Math.round((events * 1000) / ms),
    p50Ms: null,
    p99Ms: null,
    p999Ms: null,
    maxMs: null,
    rssMb: Math.round(result.rssMb),
  };
}

/** Returns the busy cores of the appender and of the server. */
function cpuOf({ result, redisSeconds }: Measured) {
  const ms = result.endMs - result.startMs;
  const cores = (seconds: number): number => Math.round((seconds * 100_000) / ms) / 100;
  return {
    appenderCpu: cores(result.cpuSeconds),
    redisCpu: redisSeconds === null ? null : cores(redisSeconds),
  };
}
