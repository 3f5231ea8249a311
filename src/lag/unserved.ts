/**
 * Events in partitions that this deployment does not have, because they were published with another
 * number of partitions. No lane reads these events, so every look at the deployment counts them.
 * Reads only.
 */
import { splitCounterField } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';

export interface Unserved {
  readonly partition: number;
  readonly type: string;
  /** Events appended there; for an uncounted foreign producer, entries. */
  readonly events: number;
  /** Id of the first entry; '' where there is none any more. */
  readonly firstEntryId: string;
}

/** Largest value of MILLRACE_PARTITIONS. */
const MOST_PARTITIONS = 1024;
/** Partitions searched for streams without counters. Only foreign producers leave those. */
const FOREIGN_PARTITIONS = 256;
const CHUNK = 2000;

/**
 * Finds the unserved events.
 * @param types types whose streams without counters are looked for too
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function findUnserved(
  source: RedisSource,
  types: ReadonlySet<string>,
): Promise<Unserved[]> {
  const { connection, keys, partitions } = source;
  const beyond = Array.from({ length: MOST_PARTITIONS - partitions }, (_, i) => partitions + i);
  const counted = await existing(source, beyond, (partition) => keys.counters(partition));
  const found = new Map<string, Unserved>();
  const add = async (partition: number, type: string, appended: number): Promise<void> => {
    const [length, first] = (await Promise.all([
      connection.command('XLEN', keys.events(partition, type)),
      connection.command('XRANGE', keys.events(partition, type), '-', '+', 'COUNT', 1),
    ])) as [number, [string, unknown][]];
    const events = Math.max(appended, length);
    if (events > 0)
      found.set(`${partition} ${type}`, {
        partition,
        type,
        events,
        firstEntryId: first[0]?.[0] ?? '',
      });
  };
  for (const partition of counted) {
    const flat = (await connection.command('HGETALL', keys.counters(partition))) as string[];
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const [name, type] = splitCounterField(flat[i] as string);
      if (name === 'appended' && type !== undefined)
        await add(partition, type, Number(flat[i + 1]));
    }
  }
  const near = beyond.filter((partition) => partition < FOREIGN_PARTITIONS);
  for (const type of types) {
    for (const partition of await existing(source, near, (of) => keys.events(of, type))) {
      if (!found.has(`${partition} ${type}`)) await add(partition, type, 0);
    }
  }
  return [...found.values()].sort(
    (a, b) => a.partition - b.partition || (a.type < b.type ? -1 : 1),
  );
}

/**
 * Finds the partitions whose key exists. Nearly always there is none, which takes one round trip.
 */
async function existing(
  { connection }: RedisSource,
  partitions: readonly number[],
  keyOf: (partition: number) => string,
): Promise<number[]> {
  const found: number[] = [];
  const one = async (partition: number): Promise<void> => {
    if ((await connection.command('EXISTS', keyOf(partition))) === 1) found.push(partition);
  };
  // In a Cluster each key is in its partition's slot.
  if (connection.isCluster) await Promise.all(partitions.map(one));
  else {
    for (let i = 0; i < partitions.length; i += CHUNK) {
      const some = partitions.slice(i, i + CHUNK);
      if (Number(await connection.command('EXISTS', ...some.map(keyOf))) > 0)
        await Promise.all(some.map(one));
    }
  }
  return found;
}

/** Describes the events and the remedy, for people. */
export function describeUnserved(partitions: number, unserved: readonly Unserved[]): string {
  const events = unserved.reduce((sum, one) => sum + one.events, 0);
  const where = [...new Set(unserved.map((one) => one.partition))];
  return (
    `${events} event${events === 1 ? '' : 's'} lie in partition${where.length === 1 ? '' : 's'} ${where.slice(0, 20).join(', ')}${where.length > 20 ? ', …' : ''}, ` +
    `which nobody reads: this deployment has ${partitions} partitions. They were published with another number of them; publish them again`
  );
}
