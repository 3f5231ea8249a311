/**
 * Looks for keys of another type than Millrace gives them: another program has written them. Keys
 * of functions, event types and partitions are asked by name. The others (parked subjects,
 * histories, views) are asked in a sample of the server's keys. Reads only.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { readPartition } from '../redis/counters.ts';
import { expectedType } from '../redis/key-types.ts';
import type { Keys } from '../redis/keys.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { grouping, unknown, type Diagnosis } from './diagnosis.ts';
import { OF_KEY, type RedisCli } from './redis-cli.ts';
import { sampleKeys } from './sample-keys.ts';
import { shellWord } from './shell-word.ts';

export interface DamagedKey {
  readonly key: string;
  readonly found: string;
  readonly wanted: string;
}

export interface KeyFacts {
  readonly damaged: readonly DamagedKey[];
  /** Partitions that did not answer, with the reason. */
  readonly silent: ReadonlyMap<number, string>;
  /** Partitions that no other check can read: silent ones, and those with a damaged key. */
  readonly leftOut: ReadonlySet<number>;
}

/** @throws RedisReplyError where TYPE is not granted */
export async function readKeys(source: RedisSource): Promise<KeyFacts> {
  const { keys } = source;
  const damaged = new Map<string, DamagedKey>();
  const ask = async (key: string): Promise<void> => {
    const found = await damageOf(source, key);
    if (found !== null) damaged.set(key, found);
  };
  const silent = new Map<number, string>();
  const each = async (work: (partition: number) => Promise<void>): Promise<void> => {
    const all = partitionsOf(source).map(async (partition) => {
      if (silent.has(partition)) return;
      try {
        await work(partition);
      } catch (error) {
        // A refusal that lasts concerns the user of REDIS_URL, not the partition.
        if (!(error instanceof MillraceError) || !error.retryable) throw error;
        silent.set(partition, error.message);
      }
    });
    await Promise.all(all);
  };
  const [functions, types] = [new Set<string>(), new Set<string>()];
  await each(async (partition) => {
    await ask(keys.counters(partition));
    if (damaged.has(keys.counters(partition))) return;
    const state = await readPartition(source, partition);
    for (const fn of state.functions) {
      functions.add(fn.name);
      for (const type of fn.types) types.add(type);
    }
    for (const field of state.counters.keys())
      if (field.startsWith('appended:')) types.add(field.slice('appended:'.length));
  });
  // A damaged partition has the functions and types that the others have.
  await each(async (partition) => {
    await Promise.all(namedKeys(keys, partition, functions, types).map(ask));
  });
  await Promise.all([...globalKeys(keys, functions)].map(ask));
  for await (const page of sampleKeys(source, `${keys.namespace}:*`))
    await Promise.all(page.filter((key) => expectedType(key) !== null).map(ask));
  const leftOut = new Set(silent.keys());
  for (const key of damaged.keys()) {
    const partition = partitionIn(key);
    if (partition !== null) leftOut.add(partition);
  }
  return { damaged: [...damaged.values()], silent, leftOut };
}

/** Returns the partition that a key belongs to. Null: the key belongs to the deployment. */
function partitionIn(key: string): number | null {
  const partition = /:\{(\d+)\}:/.exec(key)?.[1];
  return partition === undefined ? null : Number(partition);
}

/** Null: the key has its type, or does not exist. */
async function damageOf({ connection }: RedisSource, key: string): Promise<DamagedKey | null> {
  const wanted = expectedType(key);
  const found = String(await connection.command('TYPE', key));
  return wanted === null || found === 'none' || found === wanted ? null : { key, found, wanted };
}

/** Methods of Keys, by what they take; and the parts that two of them have. */
const OF_PARTITION = [
  'clock',
  'scheduled',
  'scheduledEvents',
  'outbox',
  'relayed',
  'losses',
  'trial',
] as const;
const OF_FUNCTION = [
  'due',
  'held',
  'arrived',
  'setupFailure',
  'dead',
  'groups',
  'lease',
  'helpers',
] as const;
const OF_REGISTRY = [
  'meta',
  'ids',
  'fingerprints',
  'texts',
  'subjects',
  'levels',
  'uses',
  'references',
] as const;
const OF_ALERTS = ['lease', 'state', 'silences'] as const;
const OF_TREND = ['lease', 'state', 'marks'] as const;

function namedKeys(
  keys: Keys,
  partition: number,
  functions: ReadonlySet<string>,
  types: ReadonlySet<string>,
): string[] {
  const p = partition;
  return [
    ...OF_PARTITION.map((name) => keys[name](p)),
    ...[...types].flatMap((type) => [
      keys.events(p, type),
      keys.publishedIds(p, type, 0),
      keys.publishedIds(p, type, 1),
    ]),
    ...[...functions].flatMap((fn) => [
      ...OF_FUNCTION.map((name) => keys[name](p, fn)),
      keys.settledIds(p, fn, 0),
      keys.settledIds(p, fn, 1),
    ]),
  ];
}

function globalKeys(keys: Keys, functions: ReadonlySet<string>): string[] {
  return [
    ...[keys.settings(), keys.limits(), keys.views(), keys.audit()],
    ...OF_REGISTRY.map((part) => keys.registry(part)),
    ...OF_ALERTS.map((part) => keys.alerts(part)),
    ...OF_TREND.map((part) => keys.trend(part)),
    ...[null, ...functions].flatMap((fn) => [
      keys.trendSamples('1m', fn),
      keys.trendSamples('10m', fn),
    ]),
    ...[...functions].map((fn) => keys.members(fn)),
  ];
}

/**
 * Returns what the read gives; the other value, where its key is damaged. The key has a finding of
 * its own.
 */
export async function unlessDamaged<T>(read: Promise<T>, other: T): Promise<T> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof RedisReplyError && error.reply === 'WRONGTYPE') return other;
    throw error;
  }
}

/** @param nowMs makes the name of a renamed key unique */
export function judgeKeys(facts: KeyFacts, nowMs: number, cli: RedisCli): Diagnosis[] {
  const bySilence = grouping([...facts.silent], ([, reason]) => reason);
  return [
    ...facts.damaged.map((damage) => judgeDamagedKey(damage, nowMs, cli)),
    ...[...bySilence].map(([reason, silent]) =>
      unknown(
        `partitions ${silent.map(([partition]) => partition).join(', ')}`,
        `${reason}. They are missing in the other findings`,
      ),
    ),
  ];
}

/** @param cli null: no command leads to the server */
export function judgeDamagedKey(
  { key, found, wanted }: DamagedKey,
  nowMs: number,
  cli: RedisCli | null,
): Diagnosis {
  const partition = partitionIn(key);
  // The new name has the slot of the old one, and is no name of the deployment.
  const safe = `damaged:${nowMs}:${/\{[^}]+\}/.test(key) ? key : `{${key}}`}`;
  return {
    code: 'key-damaged',
    severity: 'error',
    about: key,
    problem: `Another program has written the key: work that needs it stops`,
    evidence: `a ${found} in the place of a ${wanted}${partition === null ? '' : `; partition ${partition} is missing in the other findings`}`,
    cure: key.endsWith(':registry:settings')
      ? 'Rename the key, and start processes with the same MILLRACE_PARTITIONS as before'
      : 'Rename the key: work then goes on without its content. Where the true key was kept under another name, rename that one back',
    command: cli?.(OF_KEY, `RENAME ${shellWord(key)} ${shellWord(safe)}`) ?? null,
  };
}
