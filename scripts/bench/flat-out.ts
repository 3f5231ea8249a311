/** Runs flat out: publish alone, drain of a backlog, and both at once. */
import type { Environment } from '../../src/config.ts';
import { accounted, countersOf } from './accounted.ts';
import { cpuNow, cpuPerDeliveryUs, usage } from './cpu-usage.ts';
import type { Bench } from './fresh-server.ts';
import { rateResult, type ScenarioResult } from './result.ts';
import { round } from './round.ts';
import { rssGrowth, sampleRss } from './rss-samples.ts';

export async function publish(bench: Bench, events: number): Promise<ScenarioResult> {
  const producer = bench.producer({ events });
  await producer.ready;
  const before = cpuNow(bench);
  producer.go();
  const result = await producer.result;
  const ms = result.endMs - result.startMs;
  const totals = await countersOf(bench.server.url, []);
  return rateResult({
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
    rssMb: null,
    accounted: totals.appended === events,
  });
}

export interface Backlog {
  /** Name of the scenario. */
  readonly name: string;
  /** Folder of the functions. */
  readonly functionsDir: string;
  /** Names of the functions. Default: one, with the name of the folder. */
  readonly functions?: readonly string[];
  readonly events: number;
  /** Default: those of the options. */
  readonly workers?: number;
  readonly settings?: Partial<Environment>;
  /** Length of each order's note. Default 0. */
  readonly noteBytes?: number;
  /** Whether a producer that knows only XADD appends the events. Default false. */
  readonly foreign?: boolean;
  /** Whether the result has the memory over time. Default false. */
  readonly sampled?: boolean;
  /** More parameters of the result. */
  readonly params?: ScenarioResult['params'];
}

/** Drains a backlog that was published before. */
export async function drain(
  bench: Bench,
  backlog: Backlog,
  say: (text: string) => void,
): Promise<ScenarioResult> {
  const { name, functionsDir, functions = [functionsDir], events, settings = {} } = backlog;
  const workers = backlog.workers ?? bench.options.workers;
  const publishMs = await publishBacklog(bench, backlog);
  say(`${events} events are waiting`);
  const consumer = bench.consumer(functionsDir, {
    events: events * functions.length,
    workers,
    settings,
  });
  await consumer.ready;
  const rss = sampleRss(consumer.pid);
  const before = cpuNow(bench);
  consumer.go();
  const result = await consumer.result.finally(() => rss.stop());
  const ms = Math.max(1, result.lastCommitMs - result.firstCommitMs);
  const startMs = result.lastCommitMs - result.processStartMs;
  const deliveriesPerSecond = ((result.done - result.firstCommitEvents) * 1000) / ms;
  const samples = rss.stop();
  return rateResult({
    name,
    params: {
      events,
      functions: functions.length,
      appendfsync: bench.fsync,
      partitions: bench.options.partitions,
      workers,
      turns: result.turns,
      entries: result.entries,
      retried: result.retried,
      publishedPerSecond: round((events * 1000) / publishMs),
      eventsPerSecondFromProcessStart: round((events * 1000) / startMs),
      deliveriesPerSecond: round(deliveriesPerSecond),
      cpuPerDeliveryUs: cpuPerDeliveryUs(result),
      ...usage(
        bench,
        result.lastCommitMs - result.readyMs,
        { dispatcherCpu: result.cpuSeconds },
        before,
      ),
      ...(backlog.sampled ? { rssLateOverEarly: rssGrowth(samples) } : {}),
      ...backlog.params,
    },
    eventsPerSecond: round(deliveriesPerSecond / functions.length),
    rssMb: round(result.rssMb),
    accounted: await accounted(bench, functions, events, result),
    ...(backlog.sampled ? { rssOverTime: samples } : {}),
  });
}

/** @returns the time that it took, ms */
async function publishBacklog(
  bench: Bench,
  { events, functionsDir, noteBytes = 0, foreign = false }: Backlog,
): Promise<number> {
  if (foreign) {
    const producer = bench.foreignProducer(events);
    await producer.ready;
    producer.go();
    const { ms } = await producer.result;
    await producer.end();
    return ms;
  }
  const eventsPerOrder = bench.options.perSubject ?? eventsPerOrderOf(functionsDir);
  const producer = bench.producer({ events, eventsPerOrder, noteBytes });
  await producer.ready;
  producer.go();
  const { startMs, endMs } = await producer.result;
  await producer.end();
  return endMs - startMs;
}

/** Publishes and processes at once. */
export async function through(
  bench: Bench,
  name: string,
  functions: string,
  events: number,
): Promise<ScenarioResult> {
  const consumer = bench.consumer(functions, { events });
  const eventsPerOrder = bench.options.perSubject ?? eventsPerOrderOf(functions);
  const producer = bench.producer({ events, eventsPerOrder });
  await Promise.all([consumer.ready, producer.ready]);
  const before = cpuNow(bench);
  consumer.go();
  producer.go();
  const [sent, result] = await Promise.all([producer.result, consumer.result]);
  const ms = result.lastCommitMs - sent.startMs;
  return rateResult({
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
    rssMb: round(result.rssMb),
    accounted: await accounted(bench, [functions], events, result),
  });
}

/**
 * Returns the number of events per order: several for a view's rows, one for the other functions,
 * which take each event by itself.
 */
function eventsPerOrderOf(functions: string): number {
  return functions === 'view' ? 5 : 1;
}
