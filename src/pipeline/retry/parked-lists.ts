/** Reading parked lists: by their lane's owner, so nobody else takes anything off them meanwhile (a replay may add). */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { RetryUnit } from '../batch/batch.ts';

/** Records of one unit run in one turn: the rest follows when these are settled. */
const RECORDS_PER_UNIT = 64;
const AT_ONCE = 500;

/** Units that are parked, with the number of events in their lists. */
export async function listParked(connection: RedisConnection, keys: Keys, partition: number, fn: string): Promise<Map<string, number>> {
  const units = (await connection.command('ZRANGE', keys.due(partition, fn), 0, -1)) as string[];
  const out = new Map<string, number>();
  for (let from = 0; from < units.length; from += AT_ONCE) {
    const some = units.slice(from, from + AT_ONCE);
    const lengths = await Promise.all(some.map((unit) => connection.command('LLEN', keys.parked(partition, fn, unit))));
    some.forEach((unit, i) => out.set(unit, Number(lengths[i])));
  }
  return out;
}

/** The first records of each unit's list. A unit without a list (already settled) comes back without records. */
export async function fetchParked(
  connection: RedisConnection, keys: Keys, partition: number, fn: string, units: readonly string[],
): Promise<RetryUnit[]> {
  return Promise.all(
    units.map(async (unit) => {
      const records = (await connection.commandBuffer('LRANGE', keys.parked(partition, fn, unit), 0, RECORDS_PER_UNIT - 1)) as Buffer[];
      return { unit, records, isolate: records[0] !== undefined && decodeParked(records[0]).isolate };
    }),
  );
}
