/** One result of several runs of a scenario. */
import { medianOf } from './median.ts';
import type { Others } from './others.ts';
import type { Runs, ScenarioResult } from './result.ts';

/**
 * Returns the medians of all figures, with the range of the main ones. The other fields are those
 * of the run with the median rate.
 */
export function resultOfRuns(results: readonly ScenarioResult[]): ScenarioResult {
  const sorted = [...results].sort((a, b) => a.eventsPerSecond - b.eventsPerSecond);
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  if (!middle) throw new Error('there is no run');
  if (results.length === 1) return middle;
  const median = (of: (result: ScenarioResult) => number | null): number | null => {
    const values = numbers(results, of);
    return values.length === 0 ? null : rounded(medianOf(values));
  };
  const params = Object.fromEntries(
    Object.entries(middle.params).map(([key, value]) => [
      key,
      typeof value === 'number' ? median(({ params }) => params[key] as number) : value,
    ]),
  );
  return {
    ...middle,
    params,
    eventsPerSecond: median((result) => result.eventsPerSecond) ?? 0,
    p50Ms: median((result) => result.p50Ms),
    p99Ms: median((result) => result.p99Ms),
    p999Ms: median((result) => result.p999Ms),
    maxMs: median((result) => result.maxMs),
    rssMb: median((result) => result.rssMb),
    accounted: results.every(({ accounted }) => accounted),
    others: worstOf(results),
    runs: rangesOf(results),
  };
}

function rangesOf(results: readonly ScenarioResult[]): Runs {
  const range = (of: (result: ScenarioResult) => number | null): [number, number] | null => {
    const values = numbers(results, of);
    return values.length === 0 ? null : [Math.min(...values), Math.max(...values)];
  };
  return {
    count: results.length,
    disturbed: results.filter(({ others }) => others?.disturbed).length,
    eventsPerSecond: range((result) => result.eventsPerSecond) ?? [0, 0],
    p50Ms: range((result) => result.p50Ms),
    p99Ms: range((result) => result.p99Ms),
  };
}

/** Returns the others of the run that they disturbed most. */
function worstOf(results: readonly ScenarioResult[]): Others | null {
  const known = results.flatMap(({ others }) => others ?? []);
  return known.sort((a, b) => b.mean + b.steal - a.mean - a.steal)[0] ?? null;
}

function numbers(
  results: readonly ScenarioResult[],
  of: (result: ScenarioResult) => number | null,
): number[] {
  return results.map(of).filter((value) => typeof value === 'number');
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
