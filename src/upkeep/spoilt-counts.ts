/**
 * Counters that somebody else has written over. The scripts count on from 0 and keep what they met
 * in `spoilt:<field>` (src/redis/lua/counts.lua); here each is written into the loss ledger, and
 * forgotten.
 */
import { cut } from '../core/well-formed.ts';
import { noteLoss } from '../lag/losses.ts';
import { spoiltField } from '../redis/counters.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';

/** @returns the counters found. @throws UnknownOutcomeError, RedisReplyError */
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
