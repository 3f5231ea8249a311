/** Runs at a fixed rate, for the latency. */
import { accounted } from './accounted.ts';
import { cpuNow, cpuPerDeliveryUs, usage } from './cpu-usage.ts';
import type { Bench } from './fresh-server.ts';
import { Histogram } from './histogram.ts';
import { makeFunctions } from './many-functions.ts';
import type { ScenarioResult } from './result.ts';
import { round } from './round.ts';

/**
 * Time in which all code is still being compiled, s. The events of that time are run and accounted
 * for, but not measured.
 */
const WARM_UP_SECONDS = 3;

/**
 * Measures how far `count` functions on one type are behind, ms: the ages at the commits of all of
 * them.
 */
export async function lag(bench: Bench, count: number, rate: number): Promise<ScenarioResult> {
  const functions = makeFunctions(count);
  try {
    return await latency(bench, 'lag', rate, functions);
  } finally {
    await functions.remove();
  }
}

export async function latency(
  bench: Bench,
  name: string,
  rate: number,
  functions: { readonly dir: string; readonly names: readonly string[] } = {
    dir: 'noop-decode',
    names: ['noop-decode'],
  },
): Promise<ScenarioResult> {
  const { quick, seconds, workers, partitions } = bench.options;
  const warmUpSeconds = quick ? 0 : WARM_UP_SECONDS;
  const events = rate * (seconds + warmUpSeconds);
  const count = functions.names.length;
  const consumer = bench.consumer(functions.dir, {
    events: events * count,
    warmUp: rate * warmUpSeconds * count,
  });
  const producer = bench.producer({ events, rate, warmUp: rate * warmUpSeconds });
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
      functions: count,
      appendfsync: bench.fsync,
      partitions,
      rate,
      seconds,
      warmUpSeconds,
      workers,
      turns: result.turns,
      entries: result.entries,
      producerLatestMs: round(sent.latestMs),
      cpuPerDeliveryUs: cpuPerDeliveryUs(result),
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
      result.measured === ages.total && (await accounted(bench, functions.names, events, result)),
  };
}
