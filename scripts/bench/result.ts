/** Prints the result of a run, as JSON and as a table. */
import { availableParallelism, cpus, totalmem } from 'node:os';
import Table from 'cli-table3';
import type { BenchOptions } from './options.ts';
import type { ServerBinary } from '../../src/redis/server-program.ts';
import type { Others } from './others.ts';
import type { RssSamples } from './rss-samples.ts';

export interface ScenarioResult {
  readonly name: string;
  readonly params: Readonly<Record<string, string | number | boolean | null>>;
  readonly eventsPerSecond: number;
  /**
   * Latency from the event's (intended) time to its commit, ms; null where the scenario does not
   * measure latency.
   */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly p999Ms: number | null;
  readonly maxMs: number | null;
  /** Peak memory of the process under test, threads included, MB. */
  readonly rssMb: number | null;
  /** Whether every published event was processed exactly once, and counted so. */
  readonly accounted: boolean;
  /** Resident memory of the dispatcher over the run; only of `backlog`. */
  readonly rssOverTime?: RssSamples;
  /** Busy cores of other processes; null or absent: not known. With several runs the worst run. */
  readonly others?: Others | null;
  /** The runs behind the medians; absent with one run. */
  readonly runs?: Runs;
}

/** Smallest and largest value of several runs. */
type Range = readonly [min: number, max: number];

export interface Runs {
  readonly count: number;
  /** Number of runs that other processes disturbed. */
  readonly disturbed: number;
  readonly eventsPerSecond: Range;
  readonly p50Ms: Range | null;
  readonly p99Ms: Range | null;
}

export interface BenchResult {
  readonly environment: Readonly<Record<string, string | number>>;
  readonly scenarios: readonly ScenarioResult[];
  readonly ratios: Readonly<Record<string, number>>;
}

export function describeEnvironment(
  options: BenchOptions,
  binary: ServerBinary,
): BenchResult['environment'] {
  return {
    date: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1024 / 1024),
    redis: `${binary.flavor} ${binary.version}`,
    appendfsync: options.fsync.join(', '),
    workers: options.workers,
    partitions: options.partitions,
    runs: options.runs,
    quick: options.quick ? 'yes: a smoke test, its figures mean nothing' : 'no',
  };
}

const NO_LATENCY = { p50Ms: null, p99Ms: null, p999Ms: null, maxMs: null } as const;

/** A result without latency. */
export function rateResult(result: Omit<ScenarioResult, keyof typeof NO_LATENCY>): ScenarioResult {
  return { ...NO_LATENCY, ...result };
}

/** Columns of the table: the head, and the text of a result. All but the first align right. */
const COLUMNS: readonly (readonly [head: string, text: (result: ScenarioResult) => string])[] = [
  ['scenario', labelOf],
  ['fsync', ({ params }) => String(params['appendfsync'] ?? '')],
  ['functions', ({ params }) => String(params['functions'] ?? '')],
  ['events', ({ params }) => number(params['events'])],
  ['workers', ({ params }) => String(params['workers'] ?? '')],
  ['events/s', (result) => number(result.eventsPerSecond)],
  ['M/min', (result) => number((result.eventsPerSecond * 60) / 1e6, 2)],
  ['p50 ms', (result) => number(result.p50Ms)],
  ['p99 ms', (result) => number(result.p99Ms)],
  ['p99.9 ms', (result) => number(result.p999Ms)],
  ['max ms', (result) => number(result.maxMs)],
  ['RSS MB', (result) => number(result.rssMb)],
  ['accounted', (result) => (result.accounted ? 'yes' : 'NO')],
  ['disturbed', disturbanceOf],
];
const RANGES: typeof COLUMNS = [
  ['events/s min to max', ({ runs }) => rangeOf(runs?.eventsPerSecond)],
  ['p99 ms min to max', ({ runs }) => rangeOf(runs?.p99Ms)],
];

/** Returns the text of a number; empty where there is none. */
function number(value: string | number | boolean | null | undefined, digits = 0): string {
  if (typeof value !== 'number') return '';
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString('en-US', options);
}

function labelOf({ name, params }: ScenarioResult): string {
  const bytes = params['payloadBytes'];
  return typeof bytes === 'number' ? `${name} ${number(bytes)} B` : name;
}

function rangeOf(range: Range | null | undefined): string {
  return range ? `${number(range[0])} to ${number(range[1])}` : '';
}

function disturbanceOf({ others, runs }: ScenarioResult): string {
  if (!others?.disturbed) return others ? 'no' : '';
  const cores = `${others.mean} cores, worst ${others.worst}`;
  return runs === undefined ? cores : `${runs.disturbed} of ${runs.count}: ${cores}`;
}

export function tableOf(result: BenchResult): string {
  const columns = result.scenarios.some(({ runs }) => runs !== undefined)
    ? [...COLUMNS, ...RANGES]
    : COLUMNS;
  const table = new Table({
    head: columns.map(([head]) => head),
    colAligns: columns.map((_, i) => (i === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  for (const scenario of result.scenarios) table.push(columns.map(([, text]) => text(scenario)));
  const ratios = Object.entries(result.ratios).map(
    ([name, value]) => `  ${name.padEnd(52)} ${value.toFixed(2).padStart(8)}`,
  );
  return [table.toString(), ...(ratios.length > 0 ? ['', 'Ratios', ...ratios] : [])].join('\n');
}
