/** Names the key of a WRONGTYPE refusal: Redis does not say which of the command's keys it is. */
import type { Command } from 'ioredis';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { expectedType, wrongTypeText } from './key-types.ts';

/** Most keys of a command that are asked for their type. */
const MOST_KEYS_ASKED = 256;

/**
 * Throws `error` again. A WRONGTYPE refusal is thrown with the key named.
 * @param label name of the command in errors
 * @param typeOf asks Redis for the type of a key
 */
export async function throwNamingKey(
  error: unknown,
  label: string,
  command: Command,
  typeOf: (key: string) => Promise<unknown>,
): Promise<never> {
  if (!(error instanceof RedisReplyError) || error.reply !== 'WRONGTYPE' || command.name === 'type')
    throw error;
  for (const key of command.getKeys().slice(0, MOST_KEYS_ASKED).map(String)) {
    const expected = expectedType(key);
    if (expected === null) continue;
    const found = await typeOf(key).catch(() => null);
    if (typeof found !== 'string' || found === 'none' || found === expected) continue;
    throw new RedisReplyError(label, wrongTypeText(key, found, expected), { cause: error });
  }
  throw error;
}
