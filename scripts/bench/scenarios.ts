/**
 * Millrace's own scenarios. Each runs on a fresh server, with producer and dispatcher in processes
 * of their own.
 */
import { rebuildSettings, type Environment } from '../../src/config.ts';
import { accounted, countersOf } from './accounted.ts';
import { cpuNow, usage } from './cpu-usage.ts';
import { onFreshServer, type Bench } from './fresh-server.ts';
import { Histogram } from './histogram.ts';
import { makeFunctions } from './many-functions.ts';
import type { BenchOptions, Fsync, ScenarioName } from './options.ts';
import { round } from './round.ts';
import type { ScenarioResult } from './result.ts';
import { runStoreScenario } from './store-scenarios.ts';

const NO_LATENCY = { p50Ms: null, p99Ms: null, p999Ms: null, maxMs: null } as const;
/** Numbers of functions on one type, and events per second. */
const LAG_FUNCTIONS = [1, 4, 16];
const LAG_RATE = 5000;

export async function runScenario(
  name: ScenarioName,
  options: BenchOptions,
  fsync: Fsync,
  say: (text: string) => void,
): Promise<ScenarioResult[]> {
  const { events, quick } = options;
  const onServer = <T>(work: (bench: Bench) => Promise<T>): Promise<T> =>
    onFreshServer(options, fsync, work);
  const drained = (
    functions: string,
    workers = options.workers,
    settings: Partial<Environment> = {},
  ): Promise<ScenarioResult> =>
    onServer((bench) =>
      drain(bench, { name, functions, events: options.backlog, workers, settings }, say),
    );
  switch (name) {
    case 'publish':
      return [await onServer((bench) => publish(bench, events))];
    case 'drain':
      return [await drained('noop-decode')];
    case 'through':
      return [await onServer((bench) => through(name, bench, 'noop-decode', events))];
    case 'view':
      return [await onServer((bench) => through(name, bench, 'view', events))];
    case 'view-drain':
      return [await drained('view')];
    case 'rebuild': {
      // These are the settings with which millrace view rebuild runs a new version's lanes.
      const settings = rebuildSettings({});
      return [await drained('view', settings.WORKERS, settings)];
    }
    case 'latency-1k':
      return [await onServer((bench) => latency(name, bench, 1000))];
    case 'latency-33k':
      return [await onServer((bench) => latency(name, bench, quick ? 5000 : 33_334))];
    case 'cpu':
    case 'io': {
      const results: ScenarioResult[] = [];
      const perWorker = name === 'cpu' ? 20_000 : 10_000;
      for (let workers = 1; workers <= options.workers; workers++) {
        const count = quick ? 1000 : perWorker * workers;
        results.push(
          await onServer((bench) =>
            drain(bench, { name, functions: name, events: count, workers }, say),
          ),
        );
      }
      return results;
    }
    case 'lag': {
      const results: ScenarioResult[] = [];
      for (const count of quick ? [2] : LAG_FUNCTIONS)
        results.push(await onServer((bench) => lag(bench, count, quick ? 500 : LAG_RATE)));
      return results;
    }
    case 'append':
    case 'load':
      return [await runStoreScenario(name, options, fsync)];
  }
}

async function publish(bench: Bench, events: number): Promise<ScenarioResult> {
  const producer = bench.producer(events);
  await producer.ready;
  const before = cpuNow(bench);
  producer.go();
  const result = await producer.result;
  const ms = result.endMs - result.startMs;
  const totals = await countersOf(bench.server.url, []);
  return {
    name: 'publish',
    params: {
      events,
      appendfsync: bench.fsync,
      partitions: bench.options.partitions,
      chunk: bench.options.chunk,
      callers: bench.options.callers,
      ...usage(bench, ms, { producerCpu: result.cpuSeconds }, before),
      bytesPerEvent: round(totals.bytes / events),
    },
    eventsPerSecond: round((events * 1000) / ms),
    ...NO_LATENCY,
    rssMb: null,
    accounted: totals.appended === events,
  };
}

interface Backlog {
  /** Name of the scenario. */
  readonly name: string;
  readonly functions: string;
  readonly events: number;
  readonly workers: number;
  readonly settings?: Partial<Environment>;
}

async function drain(
  bench: Bench,
  { name, functions, events, workers, settings = {} }: Backlog,
  say: (text: string) => void,
): Promise<ScenarioResult> {
  const producer = bench.producer(events, undefined, 0, eventsPerOrder(functions));
  await producer.ready;
  producer.go();
  await producer.result;
  await producer.end();
  say(`${events} events are waiting`);
  const consumer = bench.consumer(functions, events, workers, 0, settings);
  await consumer.ready;
  const before = cpuNow(bench);
  consumer.go();
  const result = await consumer.result;
  const ms = result.lastCommitMs - result.firstCommitMs;
  const startMs = result.lastCommitMs - result.processStartMs;
  return {
    name,
    params: {
      events,
      appendfsync: bench.fsync,
      partitions: bench.options.partitions,
      workers,
      turns: result.turns,
      entries: result.entries,
      eventsPerSecondFromProcessStart: round((events * 1000) / startMs),
      ...usage(
        bench,
        result.lastCommitMs - result.readyMs,
        { dispatcherCpu: result.cpuSeconds },
        before,
      ),
    },
    eventsPerSecond: round(((result.done - result.firstCommitEvents) * 1000) / Math.max(1, ms)),
    ...NO_LATENCY,
    rssMb: round(result.rssMb),
    accounted: await accounted(bench, [functions], events, result),
  };
}

async function through(
  name: string,
  bench: Bench,
  functions: string,
  events: number,
): Promise<ScenarioResult> {
  const consumer = bench.consumer(functions, events, bench.options.workers);
  const producer = bench.producer(events, undefined, 0, eventsPerOrder(functions));
  await Promise.all([consumer.ready, producer.ready]);
  const before = cpuNow(bench);
  consumer.go();
  producer.go();
  const [sent, result] = await Promise.all([producer.result, consumer.result]);
  const ms = result.lastCommitMs - sent.startMs;
  return {
    name,
    params: {
      events,
      appendfsync: bench.fsync,
      partitions: bench.options.partitions,
      workers: bench.options.workers,
      turns: result.turns,
      entries: result.entries,
      publishedPerSecond: round((events * 1000) / (sent.endMs - sent.startMs)),
      ...usage(
        bench,
        ms,
        { producerCpu: sent.cpuSeconds, dispatcherCpu: result.cpuSeconds },
        before,
      ),
    },
    eventsPerSecond: round((events * 1000) / ms),
    ...NO_LATENCY,
    rssMb: round(result.rssMb),
    accounted: await accounted(bench, [functions], events, result),
  };
}

/**
 * Returns the number of events per order: several for a view's rows, one for the other functions,
 * which take each event by itself.
 */
function eventsPerOrder(functions: string): number {
  return functions === 'view' ? 5 : 1;
}

/**
 * Measures how far `count` functions on one type are behind, ms: the ages at the commits of all of
 * them.
 */
async function lag(bench: Bench, count: number, rate: number): Promise<ScenarioResult> {
  const functions = makeFunctions(count);
  try {
    return await latency('lag', bench, rate, functions.dir, functions.names);
  } finally {
    await functions.remove();
  }
}

async function latency(
  name: string,
  bench: Bench,
  rate: number,
  functionsDir = 'noop-decode',
  functions: readonly string[] = ['noop-decode'],
): Promise<ScenarioResult> {
  // In the first seconds all code is still being compiled. Their events are run and accounted for,
  // but not measured.
  const warmUpSeconds = bench.options.quick ? 0 : 3;
  const events = rate * (bench.options.seconds + warmUpSeconds);
  const consumer = bench.consumer(
    functionsDir,
    events * functions.length,
    bench.options.workers,
    rate * warmUpSeconds * functions.length,
  );
  const producer = bench.producer(events, rate, rate * warmUpSeconds);
  await Promise.all([consumer.ready, producer.ready]);
  const before = cpuNow(bench);
  consumer.go();
  producer.go();
  const [sent, result] = await Promise.all([producer.result, consumer.result]);
  const ms = result.lastCommitMs - sent.startMs;
  const ages = new Histogram();
  ages.addPairs(result.ages);
  return {
    name,
    params: {
      events,
      functions: functions.length,
      appendfsync: bench.fsync,
      partitions: bench.options.partitions,
      rate,
      seconds: bench.options.seconds,
      warmUpSeconds,
      workers: bench.options.workers,
      turns: result.turns,
      entries: result.entries,
      producerLatestMs: round(sent.latestMs),
      ...usage(
        bench,
        ms,
        { producerCpu: sent.cpuSeconds, dispatcherCpu: result.cpuSeconds },
        before,
      ),
    },
    eventsPerSecond: round((events * 1000) / ms),
    p50Ms: ages.quantile(0.5),
    p99Ms: ages.quantile(0.99),
    p999Ms: ages.quantile(0.999),
    maxMs: ages.quantile(1),
    rssMb: round(result.rssMb),
    accounted:
      result.measured === ages.total && (await accounted(bench, functions, events, result)),
  };
}
