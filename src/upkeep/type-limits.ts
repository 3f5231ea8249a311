/**
 * Limits that operators set for event types: the age and number of events kept, and the backlog of
 * functions. They are in Redis, for all processes.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';

export interface TypeLimits {
  /** Age beyond which entries are trimmed, by the server's clock, ms. */
  readonly maxAgeMs?: number;
  /**
   * Most events kept, over all partitions. Each partition keeps an even part; the oldest events go.
   */
  readonly maxEvents?: number;
  /**
   * Events that the slowest function may be behind before publishers are slowed or refused. The
   * limit counts over all partitions, with an even part for each.
   */
  readonly maxBacklog?: number;
}

const BOUNDS = {
  maxAgeMs: [1000, 100 * 365 * 86_400_000],
  maxEvents: [0, 1e15],
  maxBacklog: [1, 1e15],
} as const;

/** A limit is out of its bounds, or is of no type. Nothing was changed. */
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
      // Another program wrote this limit. No limit is better than a wrong one, which deletes
      // events.
    }
  }
  return limits;
}

/**
 * Reads the backlog limits, by type.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readBacklogLimits(source: Source): Promise<ReadonlyMap<string, number>> {
  return new Map(
    [...(await readTypeLimits(source))].flatMap(([type, { maxBacklog }]) =>
      maxBacklog === undefined ? [] : [[type, maxBacklog] as const],
    ),
  );
}

/**
 * @param limits replaces the present limits; null or empty: none
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
