/** Which functions a deployment knows, from its counters: no dispatcher needs to run. */
import { MillraceError } from '../core/errors.ts';
import { didYouMean } from '../core/suggest.ts';
import type { RedisSource } from './source.ts';

export interface RegisteredFunction {
  readonly name: string;
  /** Types it consumes now. Empty when only its dead letters are left. */
  readonly types: readonly string[];
  readonly ordering: 'key' | 'none';
}

export interface PartitionState {
  readonly partition: number;
  readonly functions: readonly RegisteredFunction[];
  /** The counters; of one that is no number, 0. */
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

/** One round trip for all partitions together. */
export async function readPartitions(source: RedisSource): Promise<PartitionState[]> {
  return Promise.all(
    Array.from({ length: source.partitions }, (_, partition) => readPartition(source, partition)),
  );
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
    if (field.startsWith('types:')) names.add(field.slice('types:'.length));
    else if (field.startsWith('dead:') && Number(value) > 0)
      names.add(field.split(':')[1] as string);
  }
  return {
    partition,
    counters,
    functions: [...names].sort().map((name) => ({
      name,
      types: (counters.get(`types:${name}`) ?? '').split(',').filter((type) => type !== ''),
      ordering: counters.get(`ordering:${name}`) === 'none' ? 'none' : 'key',
    })),
  };
}

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

/** A count overwritten by somebody else is 0, as in the scripts (src/redis/lua/counts.lua). */
function readable(field: string, text: string): string {
  const [state] = field.split(':', 1);
  return COUNTS.has(state as string) && !/^-?\d+$/.test(text) ? '0' : text;
}

/** @throws UnknownFunctionError */
export function requireFunction(states: readonly PartitionState[], name: string): void {
  const known = new Set(states.flatMap((state) => state.functions.map((fn) => fn.name)));
  if (!known.has(name)) throw new UnknownFunctionError(name, [...known].sort());
}

/** Types of which events were appended, are consumed, or lie among the dead letters. */
export function knownTypes(states: readonly PartitionState[]): Set<string> {
  const types = new Set(states.flatMap(({ functions }) => functions.flatMap((fn) => fn.types)));
  for (const { counters } of states) {
    for (const field of counters.keys()) {
      const [kind, first, second] = field.split(':', 3);
      if (kind === 'appended' && first !== undefined) types.add(first);
      if (kind === 'dead' && second !== undefined) types.add(second);
    }
  }
  return types;
}
