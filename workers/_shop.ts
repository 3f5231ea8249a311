/**
 * Helpers of the shop's functions. Files whose name starts with an underscore are no functions.
 */
import { Redis } from 'ioredis';

/**
 * Opens a connection of the thread's own, in setup(). The dispatcher sets REDIS_URL in its threads,
 * also for the embedded server. A real shop would keep its books elsewhere. Here they are in the
 * same Redis, under `shop:`.
 */
export function openShop(): Redis {
  const url = process.env['REDIS_URL'] ?? '';
  const redis = url.startsWith('unix:')
    ? new Redis({ path: decodeURIComponent(url.replace(/^unix:(\/\/)?/, '')) })
    : new Redis(url);
  redis.on('error', () => undefined); // commands report their own failure
  return redis;
}

/**
 * Applies the steps whose key is new, in one round trip. The script remembers each idempotency key
 * together with its effect. So an event that runs twice counts once.
 *
 *   KEYS 1 set of idempotency keys, 2.. hashes
 *   ARGV 1 number of steps, then per step: key, number of increments, (hash index, field, by)...
 */
const APPLY_ONCE = `
  local at = 2
  for _ = 1, tonumber(ARGV[1]) do
    local fresh = redis.call('SADD', KEYS[1], ARGV[at]) == 1
    local n = tonumber(ARGV[at + 1])
    at = at + 2
    for _ = 1, n do
      if fresh then redis.call('HINCRBY', KEYS[tonumber(ARGV[at]) + 1], ARGV[at + 1], ARGV[at + 2]) end
      at = at + 3
    end
  end
`;

export interface Step {
  readonly idempotencyKey: string;
  /** Index into `hashes` (from 1), field, increment. */
  readonly increments: readonly (readonly [hash: number, field: string, by: number])[];
}

export async function applyOnce(
  redis: Redis,
  seen: string,
  hashes: readonly string[],
  steps: readonly Step[],
): Promise<void> {
  const args: (string | number)[] = [steps.length];
  for (const { idempotencyKey, increments } of steps) {
    args.push(idempotencyKey, increments.length);
    for (const [hash, field, by] of increments) args.push(hash, field, by);
  }
  await redis.eval(APPLY_ONCE, 1 + hashes.length, seen, ...hashes, ...args);
}
