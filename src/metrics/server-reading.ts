/** Reads what a scrape tells beside lag and outboxes: memory, disk, losses, limits. */
import { entryIdTime } from '../core/position.ts';
import { readServerDisk, type DiskSpace } from '../redis/server-disk.ts';
import type { RedisSource } from '../redis/source.ts';
import { readTypeLimits, type TypeLimits } from '../upkeep/type-limits.ts';

export interface ServerReading {
  /** Memory over all masters. Null: INFO is denied. */
  readonly memory: { readonly usedBytes: number; readonly limitBytes: number } | null;
  /** Disk of the server's data. Null: it is another machine's, or CONFIG is denied. */
  readonly disk: DiskSpace | null;
  /** Time of the last recorded loss by the server's clock, ms since 1970. 0: there is none. */
  readonly lastLossMs: number;
  /** Limits of the types that have some. */
  readonly limits: ReadonlyMap<string, TypeLimits>;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function readServerReading(source: RedisSource): Promise<ServerReading> {
  const [memory, disk, lastLossMs, limits] = await Promise.all([
    readMemory(source),
    readDisk(source),
    readLastLoss(source),
    readTypeLimits(source),
  ]);
  return { memory, disk, lastLossMs, limits };
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

async function readDisk({ connection }: RedisSource): Promise<DiskSpace | null> {
  try {
    return (await readServerDisk(connection)) ?? null;
  } catch {
    // The user may not call CONFIG, or the server does not answer.
    return null;
  }
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
