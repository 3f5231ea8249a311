import type { RedisConnection } from './contract.ts';

/**
 * Removes every key with this prefix, on one server or in a Cluster. Reads the whole key space: for
 * trials.
 */
export async function removeKeys(connection: RedisConnection, prefix: string): Promise<void> {
  // One command for each key, because in a Cluster a command's keys must lie in one slot. The
  // commands leave together all the same.
  for await (const keys of connection.scan(`${prefix}*`))
    await Promise.all(keys.map((key) => connection.command('UNLINK', key)));
}
