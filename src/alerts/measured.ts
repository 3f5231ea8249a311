/**
 * Reads the deployment's state for the rules of alerts: counts, outboxes, losses, limits, and the
 * server's memory and disk. Reads only.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { LagReport } from '../lag/lag.ts';
import { readOutboxes, type OutboxState } from '../outbox/outbox-state.ts';
import { readServerDisk } from '../redis/server-disk.ts';
import type { RedisSource } from '../redis/source.ts';
import { readTypeLimits, type TypeLimits } from '../upkeep/type-limits.ts';

/** The state of one moment. Null: this part could not be read. */
export interface Measured {
  readonly lag: LagReport | null;
  readonly outboxes: readonly OutboxState[] | null;
  readonly limits: ReadonlyMap<string, TypeLimits> | null;
  /** Time of the last loss of each kind, ms since 1970. */
  readonly losses: ReadonlyMap<string, number> | null;
  readonly nodes: readonly NodeState[] | null;
  /** Used part of the disk of the server's data. Undefined: the disk is another machine's. */
  readonly diskRatio: number | null | undefined;
}

/** A master of the server. */
export interface NodeState {
  readonly node: string;
  readonly memoryRatio: number;
  readonly persistenceOk: boolean;
}

export interface MeasuredSources {
  readonly source: RedisSource;
  readonly lag: () => Promise<LagReport>;
}

/** Losses looked at in a partition, the newest first. */
const MOST_LOSSES = 20;

/** Reads all parts at the same time. A part that fails is null: it costs no other part. */
export async function measure({ source, lag }: MeasuredSources): Promise<Measured> {
  const [lagNow, outboxes, limits, losses, nodes, diskRatio] = await Promise.all([
    orNull(lag()),
    orNull(readOutboxes(source)),
    orNull(readTypeLimits(source)),
    orNull(readLastLosses(source)),
    orNull(readNodes(source)),
    orNull(readDiskRatio(source)),
  ]);
  return { lag: lagNow, outboxes, limits, losses, nodes, diskRatio };
}

async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof MillraceError) return null;
    throw error;
  }
}

async function readLastLosses({
  connection,
  keys,
  partitions,
}: RedisSource): Promise<ReadonlyMap<string, number>> {
  const last = new Map<string, number>();
  await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const entries = (await connection.command(
        'XREVRANGE',
        keys.losses(partition),
        '+',
        '-',
        'COUNT',
        MOST_LOSSES,
      )) as [string, string[]][];
      for (const [id, fields] of entries) {
        const kind = fields[fields.indexOf('kind') + 1] ?? '';
        last.set(kind, Math.max(last.get(kind) ?? 0, Number(id.split('-')[0])));
      }
    }),
  );
  return last;
}

async function readNodes({ connection }: RedisSource): Promise<readonly NodeState[]> {
  const [memory, persistence] = await Promise.all([
    connection.commandOnMasters('INFO', 'memory'),
    connection.commandOnMasters('INFO', 'persistence'),
  ]);
  const persisted = new Map(persistence.map(({ node, reply }) => [node, String(reply)]));
  return memory.map(({ node, reply }) => ({
    node,
    memoryRatio: memoryRatio(String(reply)),
    persistenceOk: persistenceOk(persisted.get(node) ?? ''),
  }));
}

function infoField(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}

/** Used part of `maxmemory`. Without that limit: of the machine's memory. */
function memoryRatio(info: string): number {
  const of = (name: string): number => Number(infoField(info, name) ?? 0);
  const limit = of('maxmemory');
  if (limit > 0) return of('used_memory') / limit;
  const machine = of('total_system_memory');
  return machine > 0 ? of('used_memory_rss') / machine : 0;
}

function persistenceOk(info: string): boolean {
  const failed = (name: string): boolean => infoField(info, name) === 'err';
  const appends = infoField(info, 'aof_enabled') === '1';
  return !(
    failed('rdb_last_bgsave_status') ||
    (appends && (failed('aof_last_write_status') || failed('aof_last_bgrewrite_status')))
  );
}

async function readDiskRatio({ connection }: RedisSource): Promise<number | undefined> {
  const disk = await readServerDisk(connection);
  return disk && disk.usedBytes / disk.limitBytes;
}
