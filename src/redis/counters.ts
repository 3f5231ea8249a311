/**
 * The counters of a partition, `mr:{p}:counters`: the names of the fields, and how to read them.
 * The counters also name the functions of the deployment, so no dispatcher has to run for that.
 *
 * docs/design.md describes each field. The Lua scripts write the same names as literals;
 * test/redis/counters.test.ts compares those with the names here.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { didYouMean } from '../core/suggest.ts';
import { partitionsOf, type RedisSource } from './source.ts';

const ofType =
  (name: string) =>
  (type: string): string =>
    `${name}:${type}`;
const ofFunction =
  (name: string) =>
  (fn: string): string =>
    `${name}:${fn}`;
const ofBoth =
  (name: string) =>
  (fn: string, type: string): string =>
    `${name}:${fn}:${type}`;

/** Names of the fields that are read or written outside Lua. */
export const counterFields = {
  appended: ofType('appended'),
  exact: ofType('exact'),
  foreign: ofType('foreign'),
  stored: ofType('stored'),
  trimmed: ofType('trimmed'),
  at: ofBoth('at'),
  base: ofBoth('base'),
  dead: ofBoth('dead'),
  done: ofBoth('done'),
  parked: ofBoth('parked'),
  purged: ofBoth('purged'),
  ordering: ofFunction('ordering'),
  pass: ofFunction('pass'),
  replay: ofFunction('replay'),
  running: ofFunction('running'),
  types: ofFunction('types'),
  unparked: ofFunction('unparked'),
} as const;

/** First parts of the fields that hold counts. */
const COUNTS: ReadonlySet<string> = new Set([
  'appended',
  'entries',
  'base',
  'done',
  'skipped',
  'parked',
  'dead',
  'purged',
  'trimmed',
  'foreign',
  'lost',
  'stored',
  'retried',
  'outbox',
  'unremembered',
  'forgotten',
]);

/** First parts of the fields that hold something else. */
const OTHERS = [
  'adopted',
  'at',
  'backlog',
  'crash',
  'epoch',
  'exact',
  'lives',
  'open',
  'opener',
  'ordering',
  'pass',
  'presumed',
  'recount',
  'replay',
  'rewound',
  'running',
  'schedulings',
  'spoilt',
  'start',
  'suspect',
  'turn',
  'types',
  'unparked',
] as const;

/** First parts of all fields. */
export const COUNTER_NAMES: ReadonlySet<string> = new Set([...COUNTS, ...OTHERS]);

/** Returns the parts of a field: `dead:<f>:<t>` has three, `appended:<t>` two, `outbox` one. */
export function splitCounterField(
  field: string,
): readonly [name: string, of: string | undefined, type: string | undefined] {
  const [name = '', of, type] = field.split(':', 3);
  return [name, of, type];
}

const SPOILT = 'spoilt:';

/** `spoilt:<field>` -> the field whose old text is kept there; else null. */
export function spoiltField(field: string): string | null {
  return field.startsWith(SPOILT) ? field.slice(SPOILT.length) : null;
}

export interface RegisteredFunction {
  readonly name: string;
  /** Types that it consumes now. Empty where only its dead letters are left. */
  readonly types: readonly string[];
  readonly ordering: 'key' | 'none';
}

export interface PartitionState {
  readonly partition: number;
  readonly functions: readonly RegisteredFunction[];
  /** Counters by field. A spoilt count is 0. */
  readonly counters: ReadonlyMap<string, string>;
}

/** A function that no dispatcher has registered in this deployment. */
export class UnknownFunctionError extends MillraceError {
  readonly code = 'UNKNOWN_FUNCTION';
  readonly functionName: string;
  readonly known: readonly string[];
  constructor(functionName: string, known: readonly string[]) {
    super(
      `function "${functionName}" is not registered in this deployment${didYouMean(functionName, known)}; registered are: ${known.length > 0 ? known.join(', ') : 'none'}. ` +
        'A dispatcher registers its functions when it starts',
    );
    this.functionName = functionName;
    this.known = known;
  }
}

/** Reads the counters of all partitions at the same time. */
export async function readPartitions(source: RedisSource): Promise<PartitionState[]> {
  return Promise.all(partitionsOf(source).map((partition) => readPartition(source, partition)));
}

export async function readPartition(
  source: RedisSource,
  partition: number,
): Promise<PartitionState> {
  const flat = (await source.connection.command(
    'HGETALL',
    source.keys.counters(partition),
  )) as string[];
  const counters = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2)
    counters.set(flat[i] as string, readable(flat[i] as string, flat[i + 1] as string));
  const names = new Set<string>();
  for (const [field, value] of counters) {
    const [name, fn] = splitCounterField(field);
    if (fn !== undefined && (name === 'types' || (name === 'dead' && Number(value) > 0)))
      names.add(fn);
  }
  return {
    partition,
    counters,
    functions: [...names].sort().map((name) => ({
      name,
      types: (counters.get(counterFields.types(name)) ?? '')
        .split(',')
        .filter((type) => type !== ''),
      ordering: counters.get(counterFields.ordering(name)) === 'none' ? 'none' : 'key',
    })),
  };
}

/**
 * Reads a count that another program has overwritten as 0, as the scripts do
 * (src/redis/lua/counts.lua).
 */
function readable(field: string, text: string): string {
  const [name] = splitCounterField(field);
  return COUNTS.has(name) && !/^-?\d+$/.test(text) ? '0' : text;
}

/** Returns the value of a count; 0 where the partition has none. */
export function countOf({ counters }: Pick<PartitionState, 'counters'>, field: string): number {
  return Number(counters.get(field) ?? 0);
}

/** @throws UnknownFunctionError */
export function requireFunction(states: readonly PartitionState[], name: string): void {
  const known = new Set(states.flatMap((state) => state.functions.map((fn) => fn.name)));
  if (!known.has(name)) throw new UnknownFunctionError(name, [...known].sort());
}

/** Lists the types of which events were appended, are consumed, or lie among the dead letters. */
export function knownTypes(states: readonly PartitionState[]): Set<string> {
  const types = new Set(states.flatMap(({ functions }) => functions.flatMap((fn) => fn.types)));
  for (const { counters } of states) {
    for (const field of counters.keys()) {
      const [name, of, type] = splitCounterField(field);
      if (name === 'appended' && of !== undefined) types.add(of);
      if (name === 'dead' && type !== undefined) types.add(type);
    }
  }
  return types;
}
