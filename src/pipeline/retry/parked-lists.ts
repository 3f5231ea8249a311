/**
 * Reading parked lists: by their lane's owner, so nobody else takes anything off them meanwhile (a
 * replay may add).
 */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { RetryUnit } from '../batch/batch.ts';
import { isWrongType, problemOf, setAside, setKeyAside, type ParkedPlace } from './set-aside.ts';

/** Records of one unit run in one turn: the rest follows when these are settled. */
const RECORDS_PER_UNIT = 64;
const AT_ONCE = 500;

/** Units that are parked, with the number of events in their lists. */
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

/** A key that is no list counts as one event: it is set aside when it is due. */
async function lengthOf(connection: RedisConnection, key: string): Promise<number> {
  try {
    return Number(await connection.command('LLEN', key));
  } catch (error) {
    if (!isWrongType(error)) throw error;
    return 1;
  }
}

/**
 * The first records of each unit's list. A unit without a list (already settled) comes back without
 * records. What cannot be read is set aside on the way.
 */
export async function fetchParked(
  place: ParkedPlace,
  units: readonly string[],
): Promise<RetryUnit[]> {
  const found = await Promise.all(units.map((unit) => fetchUnit(place, unit)));
  return found.filter((unit) => unit !== null);
}

/** Null: a letter of it holds it now, and nothing of it is to run. */
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
      // What it will hold stands behind it: what stands before it runs first.
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
