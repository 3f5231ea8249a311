/**
 * Reads facts about functions and event types: who reads, who owns, what is kept. The work in Redis
 * grows with functions, types and partitions, never with the number of events.
 */
import { parseSetupFailure } from '../core/setup-failure.ts';
import { partOf } from '../lag/rates.ts';
import { readLag, type FunctionLag, type LagReport } from '../lag/lag.ts';
import {
  countOf,
  counterFields,
  readPartitions,
  splitCounterField,
  type PartitionState,
} from '../redis/counters.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { unlessDamaged } from './damaged-keys.ts';
import { readTypeLimits, type TypeLimits } from '../upkeep/type-limits.ts';
import { serverTime } from '../redis/server-time.ts';

/** A lane of a function, as far as something is wrong with it. */
export interface LaneTrouble {
  readonly partition: number;
  /** Whether a dispatcher holds its lease. */
  readonly owned: boolean;
  /** Error of the function's setup. Null: the setup does not fail. */
  readonly setup: { readonly error: string; readonly sinceMs: number } | null;
  /** Owners in a row that died there. */
  readonly deaths: number;
  /** Types whose consumer group is gone. */
  readonly groupless: readonly string[];
}

export interface FunctionFacts extends Pick<
  FunctionLag,
  'name' | 'lag' | 'pending' | 'parked' | 'letters' | 'oldestMs' | 'conserved' | 'appended'
> {
  readonly types: readonly string[];
  /** Dispatchers that serve it. */
  readonly members: readonly string[];
  /** Lanes with trouble. */
  readonly lanes: readonly LaneTrouble[];
}

export interface TypeFacts {
  readonly type: string;
  readonly appended: number;
  /** Events that the streams keep. */
  readonly kept: number;
  /** Functions that read it. */
  readonly readers: readonly string[];
  /** Groups of other programs, each with one of its streams. */
  readonly foreign: readonly { readonly group: string; readonly stream: string }[];
  /** Null: it has no limits. */
  readonly limits: TypeLimits | null;
  /** Largest backlog of a function in a partition. Null: the type has no limit of it. */
  readonly backlog: {
    readonly fn: string;
    readonly partition: number;
    readonly events: number;
    /** Part of max-backlog that each partition has, events. */
    readonly limit: number;
    /** Whether dispatchers serve the function. */
    readonly served: boolean;
  } | null;
}

export interface WorkFacts {
  readonly nowMs: number;
  readonly partitions: number;
  readonly functions: readonly FunctionFacts[];
  readonly types: readonly TypeFacts[];
  readonly unserved: NonNullable<LagReport['unserved']>;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readWork(source: RedisSource): Promise<WorkFacts> {
  const [states, lag, limits, nowMs] = await Promise.all([
    readPartitions(source),
    readLag(source),
    unlessDamaged(readTypeLimits(source), new Map<string, never>()),
    serverTime(source),
  ]);
  const types = typesOf(states);
  const groups = await readGroups(source, types);
  const functions = await Promise.all(
    lag.functions.map((fn) => factsOf(source, fn, { states, groups, nowMs })),
  );
  const served = new Set(functions.filter((fn) => fn.members.length > 0).map(({ name }) => name));
  return {
    nowMs,
    partitions: source.partitions,
    functions,
    types: types.map((type) => ({
      ...countsOf(type, states),
      foreign: foreignGroups(source, type, states, groups),
      limits: limits.get(type) ?? null,
      backlog: backlogOf(type, limits.get(type)?.maxBacklog, {
        lag,
        served,
        partitions: source.partitions,
      }),
    })),
    unserved: lag.unserved ?? [],
  };
}

function backlogOf(
  type: string,
  max: number | undefined,
  known: {
    readonly lag: LagReport;
    readonly served: ReadonlySet<string>;
    readonly partitions: number;
  },
): TypeFacts['backlog'] {
  if (max === undefined) return null;
  const { lag, served, partitions } = known;
  const limit = partOf({ max, partitions });
  const rows = lag.functions.flatMap(({ name, types }) =>
    types
      .filter((row) => row.type === type && row.partition < partitions)
      .map(({ partition, lag: waiting, pending }) => {
        const events = waiting + pending;
        return { fn: name, partition, events, limit, served: served.has(name) };
      }),
  );
  return rows.toSorted((a, b) => b.events - a.events)[0] ?? null;
}

function typesOf(states: readonly PartitionState[]): string[] {
  const types = new Set<string>();
  for (const { counters, functions } of states) {
    for (const fn of functions) for (const type of fn.types) types.add(type);
    for (const field of counters.keys()) {
      const [name, type] = splitCounterField(field);
      if (name === 'appended' && type !== undefined) types.add(type);
    }
  }
  return [...types].sort();
}

/** Names of the groups by `<partition> <type>`. */
type Groups = ReadonlyMap<string, readonly string[]>;

async function readGroups(source: RedisSource, types: readonly string[]): Promise<Groups> {
  const { connection, keys } = source;
  const found = new Map<string, string[]>();
  for (const type of types) {
    await Promise.all(
      partitionsOf(source).map(async (partition) => {
        const key = keys.events(partition, type);
        if ((await connection.command('EXISTS', key)) === 0) return;
        const groups = (await connection.command('XINFO', 'GROUPS', key)) as unknown[][];
        found.set(
          `${partition} ${type}`,
          groups.map((flat) => String(flat[flat.indexOf('name') + 1])),
        );
      }),
    );
  }
  return found;
}

interface Known {
  readonly states: readonly PartitionState[];
  readonly groups: Groups;
  readonly nowMs: number;
}

async function factsOf(source: RedisSource, fn: FunctionLag, known: Known): Promise<FunctionFacts> {
  const { connection, keys } = source;
  const { name } = fn;
  const members = (await unlessDamaged(
    connection.command('ZRANGEBYSCORE', keys.members(name), known.nowMs, '+inf'),
    [],
  )) as string[];
  const lanes = await Promise.all(
    known.states.map((state) => laneOf(source, name, state, known.groups)),
  );
  const { lag, pending, parked, letters, oldestMs, conserved, appended } = fn;
  return {
    ...{ name, lag, pending, parked, letters, oldestMs, conserved, appended },
    types: [...new Set(fn.types.map(({ type }) => type))],
    members,
    lanes: lanes.filter(
      ({ owned, setup, deaths, groupless }) =>
        !owned || setup !== null || deaths > 1 || groupless.length > 0,
    ),
  };
}

async function laneOf(
  { connection, keys }: RedisSource,
  fn: string,
  state: PartitionState,
  groups: Groups,
): Promise<LaneTrouble> {
  const { partition, counters, functions } = state;
  const [lease, setup] = (await Promise.all([
    connection.command('GET', keys.lease(partition, fn)),
    connection.command('GET', keys.setupFailure(partition, fn)),
  ])) as [string | null, string | null];
  const registered = functions.find((one) => one.name === fn)?.types ?? [];
  const failure = parseSetupFailure(setup);
  return {
    partition,
    owned: lease !== null,
    setup: failure && { error: failure.error, sinceMs: failure.sinceMs },
    deaths: Number((counters.get(`crash:${fn}`) ?? '0').split(' ')[0]) || 0,
    groupless: registered.filter(
      (type) => groups.get(`${partition} ${type}`)?.includes(fn) !== true,
    ),
  };
}

function readersOf(type: string, states: readonly PartitionState[]): string[] {
  const readers = states.flatMap(({ functions }) =>
    functions.filter((fn) => fn.types.includes(type)).map((fn) => fn.name),
  );
  return [...new Set(readers)].sort();
}

function countsOf(
  type: string,
  states: readonly PartitionState[],
): Pick<TypeFacts, 'type' | 'appended' | 'kept' | 'readers'> {
  const sum = (field: string): number =>
    states.reduce((total, state) => total + countOf(state, field), 0);
  const appended = sum(counterFields.appended(type));
  const kept = Math.max(0, appended - sum(counterFields.trimmed(type)));
  return { type, appended, kept, readers: readersOf(type, states) };
}

function foreignGroups(
  { keys }: RedisSource,
  type: string,
  states: readonly PartitionState[],
  groups: Groups,
): TypeFacts['foreign'] {
  const readers = new Set(readersOf(type, states));
  const found = new Map<string, string>();
  for (const { partition } of states) {
    for (const group of groups.get(`${partition} ${type}`) ?? [])
      if (!readers.has(group) && !found.has(group)) found.set(group, keys.events(partition, type));
  }
  return [...found].map(([group, stream]) => ({ group, stream }));
}
