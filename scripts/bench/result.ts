/** Prints the result of a run, as JSON and as a table. */
import { availableParallelism, cpus, totalmem } from 'node:os';
import Table from 'cli-table3';
import type { BenchOptions } from './options.ts';
import type { ServerBinary } from '../../src/redis/server-program.ts';

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
    quick: options.quick ? 'yes: a smoke test, its figures mean nothing' : 'no',
  };
}

/** Returns ratios of one run's figures. On a shared machine only ratios can be trusted. */
export function ratiosOf(scenarios: readonly ScenarioResult[]): Record<string, number> {
  const rate = (name: string, workers?: number, fsync?: string): number | null =>
    scenarios.find(
      (s) =>
        s.name === name &&
        s.accounted &&
        (workers === undefined || s.params['workers'] === workers) &&
        (fsync === undefined || s.params['appendfsync'] === fsync),
    )?.eventsPerSecond ?? null;
  const ratios: Record<string, number> = {};
  const put = (name: string, a: number | null, b: number | null): void => {
    if (a !== null && b !== null && b > 0) ratios[name] = Math.round((a / b) * 1000) / 1000;
  };
  put('drain / bound-decode', rate('drain'), rate('bound-decode'));
  put('drain / ioredis-loop', rate('drain'), rate('ioredis-loop-drain'));
  put('drain / bullmq', rate('drain'), rate('bullmq-drain'));
  put('publish / ioredis-loop', rate('publish'), rate('ioredis-loop-publish'));
  put('publish / bullmq', rate('publish'), rate('bullmq-publish'));
  put('append / naive-append', rate('append'), rate('naive-append'));
  put('append / watch-append', rate('append'), rate('watch-append'));
  put('through / drain', rate('through'), rate('drain'));
  for (const name of ['cpu', 'io']) {
    for (const workers of new Set(
      scenarios.filter((s) => s.name === name).map((s) => s.params['workers'] as number),
    )) {
      if (workers > 1) put(`${name}: ${workers} workers / 1`, rate(name, workers), rate(name, 1));
    }
  }
  for (const name of ['publish', 'drain', 'through']) {
    put(
      `${name}: appendfsync always / everysec`,
      rate(name, undefined, 'always'),
      rate(name, undefined, 'everysec'),
    );
  }
  return ratios;
}

export function tableOf(result: BenchResult): string {
  const table = new Table({
    head: [
      'scenario',
      'fsync',
      'functions',
      'events',
      'workers',
      'events/s',
      'M/min',
      'p50 ms',
      'p99 ms',
      'p99.9 ms',
      'max ms',
      'RSS MB',
      'accounted',
    ],
    colAligns: ['left', 'left', ...new Array<'right'>(10).fill('right'), 'left'],
    style: { head: [], border: [], compact: true },
  });
  const number = (value: number | null, digits = 0): string =>
    value === null
      ? ''
      : value.toLocaleString('en-US', {
          minimumFractionDigits: digits,
          maximumFractionDigits: digits,
        });
  for (const s of result.scenarios) {
    table.push([
      s.name,
      String(s.params['appendfsync'] ?? ''),
      String(s.params['functions'] ?? ''),
      number(s.params['events'] as number),
      String(s.params['workers'] ?? ''),
      number(s.eventsPerSecond),
      number((s.eventsPerSecond * 60) / 1e6, 2),
      number(s.p50Ms),
      number(s.p99Ms),
      number(s.p999Ms),
      number(s.maxMs),
      number(s.rssMb),
      s.accounted ? 'yes' : 'NO',
    ]);
  }
  const ratios = Object.entries(result.ratios).map(
    ([name, value]) => `  ${name.padEnd(36)} ${value.toFixed(2).padStart(8)}`,
  );
  return [table.toString(), ...(ratios.length > 0 ? ['', 'Ratios', ...ratios] : [])].join('\n');
}
