/**
 * What the operators have set for event types: how long events are kept, how far functions may fall
 * behind. In Redis, for all processes.
 */
import { MillraceError } from '../core/errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';

export interface TypeLimits {
  /** Entries older than this (server time) are trimmed, in ms. */
  readonly maxAgeMs?: number;
  /**
   * Of more events than this the oldest are trimmed. Over all partitions: each one keeps its even
   * part.
   */
  readonly maxEvents?: number;
  /**
   * Events that the slowest function may be behind before publishers are slowed or refused. Over
   * all partitions, as above.
   */
  readonly maxBacklog?: number;
}

const BOUNDS = {
  maxAgeMs: [1000, 100 * 365 * 86_400_000],
  maxEvents: [0, 1e15],
  maxBacklog: [1, 1e15],
} as const;

/** A limit out of its bounds, or of no type. Nothing was changed. */
export class InvalidLimitError extends MillraceError {
  readonly code = 'INVALID_LIMIT';
}

interface Source {
  readonly connection: RedisConnection;
  readonly keys: Keys;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readTypeLimits({
  connection,
  keys,
}: Source): Promise<Map<string, TypeLimits>> {
  const flat = (await connection.command('HGETALL', keys.limits())) as string[];
  const limits = new Map<string, TypeLimits>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    try {
      limits.set(
        flat[i] as string,
        checked(flat[i] as string, JSON.parse(flat[i + 1] as string) as TypeLimits),
      );
    } catch {
      // Written by another hand: no limit is better than a wrong one, which would delete events.
    }
  }
  return limits;
}

/**
 * @param limits replaces what was set; null or empty: none
 * @throws InvalidLimitError
 */
export async function setTypeLimits(
  { connection, keys }: Source,
  type: string,
  limits: TypeLimits | null,
): Promise<void> {
  if (limits === null || Object.keys(limits).length === 0) {
    await connection.command('HDEL', keys.limits(), type);
    return;
  }
  await connection.command('HSET', keys.limits(), type, JSON.stringify(checked(type, limits)));
}

function checked(type: string, limits: TypeLimits): TypeLimits {
  if (!TYPE_PATTERN.test(type))
    throw new InvalidLimitError(`"${type}" is no name of an event type`);
  for (const [name, value] of Object.entries(limits) as [keyof TypeLimits, unknown][]) {
    const bounds = BOUNDS[name] as readonly [number, number] | undefined;
    if (!bounds) throw new InvalidLimitError(`${type}: there is no limit "${name}"`);
    if (
      !Number.isSafeInteger(value) ||
      (value as number) < bounds[0] ||
      (value as number) > bounds[1]
    ) {
      throw new InvalidLimitError(
        `${type}: ${name} must be a whole number from ${bounds[0]} to ${bounds[1]}, got ${String(value)}`,
      );
    }
  }
  return limits;
}
