/** Reads what a scrape tells of the server beside lag and outboxes: memory, losses, limits. */
import { entryIdTime } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { readTypeLimits, type TypeLimits } from '../upkeep/type-limits.ts';

export interface ServerReading {
  /** Memory over all masters. Null: INFO is denied. */
  readonly memory: { readonly usedBytes: number; readonly limitBytes: number } | null;
  /** Time of the last recorded loss by the server's clock, ms since 1970. 0: there is none. */
  readonly lastLossMs: number;
  /** Limits of the types that have some. */
  readonly limits: ReadonlyMap<string, TypeLimits>;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readServerReading(source: RedisSource): Promise<ServerReading> {
  const [memory, lastLossMs, limits] = await Promise.all([
    readMemory(source),
    readLastLoss(source),
    readTypeLimits(source),
  ]);
  return { memory, lastLossMs, limits };
}

async function readMemory({ connection }: RedisSource): Promise<ServerReading['memory']> {
  let infos;
  try {
    infos = await connection.commandOnMasters('INFO', 'memory');
  } catch {
    // The user may not call INFO, or the server does not answer.
    return null;
  }
  const fields = infos.map(
    ({ reply }) =>
      (name: string): number =>
        Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(reply))?.[1] ?? 0),
  );
  return {
    usedBytes: fields.reduce((sum, field) => sum + field('used_memory'), 0),
    limitBytes: fields.reduce(
      (sum, field) => sum + (field('maxmemory') || field('total_system_memory')),
      0,
    ),
  };
}

async function readLastLoss({ connection, keys, partitions }: RedisSource): Promise<number> {
  const times = await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const key = keys.losses(partition);
      const last = (await connection.command('XREVRANGE', key, '+', '-', 'COUNT', 1)) as [
        string,
        unknown,
      ][];
      return last[0] ? entryIdTime(last[0][0]) : 0;
    }),
  );
  return Math.max(0, ...times);
}
