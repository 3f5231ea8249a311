/**
 * Millrace's own scenarios. Each runs on a fresh server, with producer and dispatcher in processes
 * of their own.
 */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rebuildSettings, type Environment } from '../../src/config.ts';
import { counterFields } from '../../src/redis/counters.ts';
import { openConnection } from '../../src/redis/connection.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { machineCpuSeconds, startBenchServer, type BenchServer } from './bench-server.ts';
import { Child } from './child.ts';
import type { ConsumerArgument, ConsumerResult } from './consumer.ts';
import { Histogram } from './histogram.ts';
import { makeFunctions } from './many-functions.ts';
import type { BenchOptions, Fsync, ScenarioName } from './options.ts';
import { View, type Page } from '../../src/views/view-query.ts';
import type { OrderRow } from './functions/view/view.ts';
import { expectedSeen, ORDER_TYPE, sameSeen, type Seen } from './order.ts';
import type { ProducerArgument, ProducerResult } from './producer.ts';
import type { ScenarioResult } from './result.ts';
import { runStoreScenario } from './store-scenarios.ts';

interface Bench {
  readonly server: BenchServer;
  readonly options: BenchOptions;
  readonly fsync: Fsync;
  producer(
    events: number,
    rate?: number,
    warmUp?: number,
    eventsPerOrder?: number,
  ): Child<ProducerResult>;
  /**
   * @param functionsDir absolute path, or name of a folder under functions/
   * @param events number to settle, of all functions together
   * @param warmUp number of first events whose ages are left out
   */
  consumer(
    functionsDir: string,
    events: number,
    workers: number,
    warmUp?: number,
    settings?: Partial<Environment>,
  ): Child<ConsumerResult>;
}

type Params = Record<string, string | number | boolean | null>;
const NO_LATENCY = { p50Ms: null, p99Ms: null, p999Ms: null, maxMs: null } as const;
const FUNCTIONS = fileURLToPath(new URL('./functions/', import.meta.url));
const STALL_MS = 30_000;
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

async function onFreshServer<T>(
  options: BenchOptions,
  fsync: Fsync,
  work: (bench: Bench) => Promise<T>,
): Promise<T> {
  const server = await startBenchServer(fsync);
  const children: { end(graceMs?: number): Promise<void> }[] = [];
  const start = <R>(file: string, argument: unknown): Child<R> => {
    const child = new Child<R>(file, argument, options.cpuProf);
    children.push(child);
    return child;
  };
  let ok = false;
  try {
    const result = await work({
      server,
      options,
      fsync,
      producer: (events, rate, warmUp = 0, eventsPerOrder = 1) =>
        start<ProducerResult>('./producer.js', {
          url: server.url,
          events,
          rate: rate ?? null,
          chunk: options.chunk,
          callers: options.callers,
          warmUp,
          eventsPerOrder,
          partitions: options.partitions,
        } satisfies ProducerArgument),
      consumer: (functionsDir, events, workers, warmUp = 0, settings = {}) =>
        start<ConsumerResult>('./consumer.js', {
          url: server.url,
          functionsDir: resolve(FUNCTIONS, functionsDir),
          workers,
          settings,
          events,
          warmUp,
          partitions: options.partitions,
          stallMs: STALL_MS,
        } satisfies ConsumerArgument),
    });
    ok = true;
    return result;
  } finally {
    await Promise.all(children.map((child) => child.end(ok ? 15_000 : 0)));
    await server.remove();
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

/**
 * Compares Millrace's counters in Redis, the dispatcher's report, and the events that the functions
 * saw. All three must agree.
 */
async function accounted(
  bench: Bench,
  functions: readonly string[],
  events: number,
  result: ConsumerResult,
): Promise<boolean> {
  const isView = functions[0] === 'view';
  const totals = await countersOf(bench.server.url, isView ? ['view@1'] : functions);
  const seen = isView ? await seenInRows(bench.server.url, bench.options.partitions) : result.seen;
  const runs = events * functions.length;
  const problems: string[] = [];
  if (totals.appended !== events) problems.push(`appended ${totals.appended}`);
  if (totals.done !== runs || totals.dead !== 0 || totals.parked !== 0)
    problems.push(`done ${totals.done}, dead ${totals.dead}, parked ${totals.parked}`);
  if (result.done !== runs || result.dead !== 0)
    problems.push(
      `the dispatcher reported done ${result.done}, retried ${result.retried}, dead ${result.dead}`,
    );
  const expected = expectedSeen(events, functions.length);
  if (!sameSeen(seen, expected))
    problems.push(
      `${isView ? 'the rows say' : 'the functions saw'} ${JSON.stringify(seen)}, expected ${JSON.stringify(expected)}`,
    );
  if (result.threadDeaths > 0) problems.push(`${result.threadDeaths} threads died`);
  if (problems.length > 0)
    console.error(
      `NOT ACCOUNTED, of ${events} events for ${functions.length} functions: ${problems.join('; ')}`,
    );
  return problems.length === 0;
}

/** Sums up every row, through the view's own list. */
async function seenInRows(url: string, partitions: number): Promise<Seen> {
  const connection = openConnection({ url, name: 'bench' });
  const seen: Seen = { count: 0, sum: 0, mixed: 0 };
  try {
    const view = new View<OrderRow>({ connection, keys: createKeys('mr'), partitions }, 'view');
    let cursor: string | null = null;
    do {
      const page: Page<OrderRow> = await view.list({
        limit: 1000,
        ...(cursor === null ? {} : { cursor }),
      });
      for (const { row } of page.rows) {
        seen.count += row.count;
        seen.sum += row.sum;
        seen.mixed += row.mixed;
      }
      cursor = page.cursor;
    } while (cursor !== null);
    return seen;
  } finally {
    await connection.close();
  }
}

/** Sums up the counters over all partitions and the named functions. */
async function countersOf(
  url: string,
  functions: readonly string[],
): Promise<{ appended: number; done: number; dead: number; parked: number; bytes: number }> {
  const connection = openConnection({ url, name: 'bench' });
  try {
    const keys = createKeys('mr');
    const partitions = Number(await connection.command('HGET', keys.settings(), 'partitions'));
    const totals = { appended: 0, done: 0, dead: 0, parked: 0, bytes: 0 };
    for (let partition = 0; partition < partitions; partition++) {
      const flat = (await connection.command('HGETALL', keys.counters(partition))) as
        string[] | Record<string, string>;
      const fields = new Map<string, string>(
        Array.isArray(flat) ? pairs(flat) : Object.entries(flat),
      );
      const of = (field: string): number => Number(fields.get(field) ?? 0);
      totals.appended += of(counterFields.appended(ORDER_TYPE));
      for (const fn of functions) {
        totals.done += of(counterFields.done(fn, ORDER_TYPE));
        totals.dead += of(counterFields.dead(fn, ORDER_TYPE));
        totals.parked += of(counterFields.parked(fn, ORDER_TYPE));
      }
      totals.bytes += Number(
        (await connection.command('MEMORY', 'USAGE', keys.events(partition, ORDER_TYPE))) ?? 0,
      );
    }
    return totals;
  } finally {
    await connection.close();
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [
    flat[2 * i] as string,
    flat[2 * i + 1] as string,
  ]);
}

interface CpuNow {
  readonly redis: number | null;
  readonly machine: ReturnType<typeof machineCpuSeconds>;
}

function cpuNow(bench: Bench): CpuNow {
  return { redis: bench.server.cpuSeconds(), machine: machineCpuSeconds() };
}

/**
 * Returns the busy cores from `before` until now, `ms` long. `othersCpu` (this process and all
 * others of the machine) and `stealCpu` (the host) say how far the figures can be trusted.
 */
function usage(bench: Bench, ms: number, seconds: Record<string, number>, before: CpuNow): Params {
  const params: Params = {};
  const cores = (value: number): number => round((value * 1000) / ms, 2);
  const now = cpuNow(bench);
  let ours = 0;
  for (const [name, value] of Object.entries(seconds)) {
    params[name] = cores(value);
    ours += value;
  }
  if (now.redis !== null && before.redis !== null) {
    params['redisCpu'] = cores(now.redis - before.redis);
    ours += now.redis - before.redis;
  }
  if (now.machine !== null && before.machine !== null) {
    params['othersCpu'] = cores(Math.max(0, now.machine.busy - before.machine.busy - ours));
    params['stealCpu'] = cores(now.machine.steal - before.machine.steal);
  }
  const rss = bench.server.peakRssMb();
  if (rss !== null) params['redisRssMb'] = round(rss);
  return params;
}

function round(value: number, digits = 0): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
