/** Reading parked lists: by their lane's owner, so nobody else takes anything off them meanwhile (a replay may add). */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { RetryUnit } from '../batch/batch.ts';

/** Records of one unit run in one turn: the rest follows when these are settled. */
const RECORDS_PER_UNIT = 64;

/** Units that have a parked list. */
export async function listParked(connection: RedisConnection, keys: Keys, partition: number, fn: string): Promise<string[]> {
  return (await connection.command('ZRANGE', keys.due(partition, fn), 0, -1)) as string[];
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
