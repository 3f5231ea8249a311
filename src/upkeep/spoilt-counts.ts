/**
 * Counters that another program has overwritten. The scripts count on from 0, and keep the old text
 * in `spoilt:<field>` (src/redis/lua/counts.lua). Each such text is written into the loss ledger
 * here, and then deleted.
 */
import { cut } from '../core/well-formed.ts';
import { noteLoss } from '../lag/losses.ts';
import { spoiltField } from '../redis/counters.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';

/**
 * @returns the names of the counters found
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function noteSpoilt(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
): Promise<readonly string[]> {
  const key = keys.counters(partition);
  const fields = (await connection.command('HKEYS', key)) as string[];
  const spoilt: string[] = [];
  for (const field of fields) {
    const name = spoiltField(field);
    if (name === null) continue;
    spoilt.push(name);
    const text = (await connection.command('HGET', key, field)) as string | null;
    const message = `the counter ${cut(name, 200)} held ${JSON.stringify(text ?? '')}, which is no number: somebody else had written it; it counts on from 0`;
    if (
      !(await noteLoss(connection, keys, partition, {
        kind: 'counts',
        from: '',
        to: '',
        count: 0,
        message,
      }))
    )
      continue;
    await connection.command('HDEL', key, field);
  }
  return spoilt;
}
