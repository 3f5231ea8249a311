import { parseArgs } from 'node:util';
import { availableParallelism } from 'node:os';

export const SCENARIOS = [
  'publish',
  'drain',
  'foreign',
  'payload',
  'failing',
  'backlog',
  'through',
  'view',
  'view-drain',
  'rebuild',
  'latency-1k',
  'latency-33k',
  'cpu',
  'io',
  'io-500',
  'lag',
  'fan-out',
  'cold-start',
  'append',
  'load',
] as const;
export const RIVALS = [
  'bound-decode',
  'bound-redis',
  'ioredis-loop',
  'node-redis-loop',
  'bullmq',
  'bullmq-sandbox',
  'jetstream',
  'naive-append',
  'watch-append',
] as const;
export type ScenarioName = (typeof SCENARIOS)[number];
export type RivalName = (typeof RIVALS)[number];

export type Fsync = 'everysec' | 'always';

export interface BenchOptions {
  readonly json: string | null;
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly events: number;
  readonly backlog: number;
  /** Events of the scenario `backlog`. */
  readonly deep: number;
  readonly seconds: number;
  readonly workers: number;
  /** appendfsync of the servers. All scenarios run with each value. */
  readonly fsync: readonly [Fsync, ...Fsync[]];
  readonly rivals: boolean;
  /** Whether dispatchers count metrics, and are scraped each second. */
  readonly metrics: boolean;
  readonly cpuProf: string | null;
  readonly chunk: number;
  readonly callers: number;
  readonly partitions: number;
  /** Events of one subject; null: as the scenario has. */
  readonly perSubject: number | null;
  /** Number of runs of each scenario. */
  readonly runs: number;
}

export const USAGE = `npm run bench -- [options]
  --json FILE        write the results as JSON
  --only NAME,NAME   run these only: ${[...SCENARIOS, ...RIVALS].join(', ')}
  --quick            small counts: a smoke test, not a measurement
  --events N         events of publish, through, append and the rivals' runs (default 2,000,000)
  --backlog N        events of drain, view-drain and rebuild (default: --events)
  --deep N           events of backlog, with the memory sampled (default 10,000,000)
  --runs N           runs of each scenario, one after the other: medians, with min and max (default 1)
  --seconds N        length of a latency run (default 15)
  --workers N        worker threads (default: available cores)
  --fsync WHEN       appendfsync of the servers: everysec, always or both (default: both, with --only or --quick everysec)
  --no-rivals        leave out the peers and the bounds
  --no-metrics       dispatchers count no metrics and are not scraped: what metrics cost is the difference
  --chunk N          events of one publishMany, flat out (default 250)
  --partitions N     partitions of the deployment (default 16, as any deployment has)
  --per-subject N    events of one subject (default: 1, view 5); 1,000 subjects take turns
  --callers N        publishMany calls under way at once, flat out (default 8)
  --cpu-prof DIR     write CPU profiles of the producer and dispatcher processes`;

export class UsageError extends Error {}

/** Options that take a whole number. */
type WholeOption =
  | 'events'
  | 'backlog'
  | 'deep'
  | 'seconds'
  | 'workers'
  | 'chunk'
  | 'callers'
  | 'partitions'
  | 'per-subject'
  | 'runs';

function parse(argv: readonly string[]) {
  const option = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        json: option,
        only: option,
        events: option,
        backlog: option,
        deep: option,
        runs: option,
        seconds: option,
        workers: option,
        fsync: option,
        chunk: option,
        callers: option,
        partitions: option,
        'per-subject': option,
        'cpu-prof': option,
        quick: { type: 'boolean' },
        'no-rivals': { type: 'boolean' },
        'no-metrics': { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** @throws UsageError */
export function readOptions(argv: readonly string[]): BenchOptions | 'help' {
  const values = parse(argv);
  if (values.help) return 'help';
  const whole = (name: WholeOption, fallback: number, max: number): number => {
    const text = values[name];
    if (text === undefined) return fallback;
    const value = Number(text.replaceAll('_', ''));
    if (!Number.isInteger(value) || value < 1 || value > max)
      throw new UsageError(`--${name} must be a whole number from 1 to ${max}, got ${text}`);
    return value;
  };
  const known: readonly string[] = [...SCENARIOS, ...RIVALS];
  const only = (values.only ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const name of only)
    if (!known.includes(name))
      throw new UsageError(`--only names "${name}"; known are ${known.join(', ')}`);
  const quick = values.quick ?? false;
  const fsync = values.fsync ?? (only.length > 0 || quick ? 'everysec' : 'both');
  if (fsync !== 'always' && fsync !== 'everysec' && fsync !== 'both')
    throw new UsageError(`--fsync must be always, everysec or both, got ${fsync}`);
  const events = whole('events', quick ? 20_000 : 2_000_000, 100_000_000);
  return {
    json: values.json ?? null,
    only,
    quick,
    events,
    backlog: whole('backlog', events, 100_000_000),
    deep: whole('deep', quick ? 20_000 : 10_000_000, 100_000_000),
    runs: whole('runs', 1, 100),
    seconds: whole('seconds', quick ? 1 : 15, 3600),
    workers: whole('workers', availableParallelism(), 256),
    fsync: fsync === 'both' ? ['everysec', 'always'] : [fsync],
    rivals: !(values['no-rivals'] ?? false),
    metrics: !(values['no-metrics'] ?? false),
    cpuProf: values['cpu-prof'] ?? null,
    chunk: whole('chunk', 250, 65_536),
    callers: whole('callers', 8, 1000),
    partitions: whole('partitions', 16, 1024),
    perSubject: values['per-subject'] === undefined ? null : whole('per-subject', 1, 1_000_000),
  };
}
