/**
 * Reads parked lists. Only their lane's owner does, so nobody else takes records off meanwhile. A
 * replay may add some.
 */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { RetryUnit } from '../batch/batch.ts';
import { isWrongType, problemOf, setAside, setKeyAside, type ParkedPlace } from './set-aside.ts';

/** Most records of one unit in a turn. The rest follows when these are settled. */
const RECORDS_PER_UNIT = 64;
/** Lists whose length is asked for at the same time. */
const AT_ONCE = 500;

/** Returns the parked units, each with the number of events in its list. */
export async function listParked(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  fn: string,
): Promise<Map<string, number>> {
  const units = (await connection.command('ZRANGE', keys.due(partition, fn), 0, -1)) as string[];
  const out = new Map<string, number>();
  for (let from = 0; from < units.length; from += AT_ONCE) {
    const some = units.slice(from, from + AT_ONCE);
    const lengths = await Promise.all(
      some.map((unit) => lengthOf(connection, keys.parked(partition, fn, unit))),
    );
    some.forEach((unit, i) => out.set(unit, Number(lengths[i])));
  }
  return out;
}

/** A key of another type counts as one event: it is set aside when its unit is due. */
async function lengthOf(connection: RedisConnection, key: string): Promise<number> {
  try {
    return Number(await connection.command('LLEN', key));
  } catch (error) {
    if (!isWrongType(error)) throw error;
    return 1;
  }
}

/**
 * Returns the first records of each unit's list. A unit without a list, already settled, comes back
 * without records. Unreadable records are set aside.
 */
export async function fetchParked(
  place: ParkedPlace,
  units: readonly string[],
): Promise<RetryUnit[]> {
  const found = await Promise.all(units.map((unit) => fetchUnit(place, unit)));
  return found.filter((unit) => unit !== null);
}

/** Null: a dead letter holds the unit now, and no event of the unit may run. */
async function fetchUnit(place: ParkedPlace, unit: string): Promise<RetryUnit | null> {
  const { connection, keys, partition, fn } = place;
  for (;;) {
    let records: Buffer[];
    try {
      records = (await connection.commandBuffer(
        'LRANGE',
        keys.parked(partition, fn, unit),
        0,
        RECORDS_PER_UNIT - 1,
      )) as Buffer[];
    } catch (error) {
      if (!isWrongType(error)) throw error;
      await setKeyAside(place, unit);
      if (place.holds) return null;
      continue;
    }
    const readable: Buffer[] = [];
    for (const record of records) {
      const problem = problemOf(record);
      if (problem === null) {
        readable.push(record);
        continue;
      }
      // The dead letter will hold the records behind this one. The records before it run first.
      if (place.holds && readable.length > 0) break;
      await setAside(place, unit, record, problem);
      if (place.holds) return null;
    }
    if (readable.length > 0 || records.length === 0) {
      const [head] = readable;
      const read = head && decodeParked(head);
      return {
        unit,
        records: readable,
        isolate: read?.isolate ?? false,
        fresh: read !== undefined && read.attempts === 0 && read.waitingSinceMs === 0,
      };
    }
  }
}
