/** A master of the server, as INFO tells it: memory, and the traces of restart and failover. */
import type { RedisConnection } from '../redis/contract.ts';

export interface RedisMaster {
  /** Address of the node. */
  readonly node: string;
  /** Identity of the server's process: a restart gives another one. */
  readonly runId: string;
  readonly version: string;
  /** Identity of the data's line. A promoted replica keeps that of its former master beside it. */
  readonly replId: string;
  readonly formerReplId: string;
  /** Time since the start of the process, ms. */
  readonly upMs: number;
  readonly usedBytes: number;
  /** `maxmemory`; without it the memory of the machine. */
  readonly limitBytes: number;
}

/** @throws RedisReplyError where INFO is denied; UnknownOutcomeError */
export async function readRedisMasters(connection: RedisConnection): Promise<RedisMaster[]> {
  const infos = await connection.commandOnMasters('INFO', 'server', 'replication', 'memory');
  return infos.map(({ node, reply }) => masterOf(node, String(reply)));
}

export function masterOf(node: string, info: string): RedisMaster {
  const text = (name: string): string =>
    new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  const count = (name: string): number => Number(text(name)) || 0;
  const replId = (name: string): string => (/^0*$/.test(text(name)) ? '' : text(name));
  return {
    node,
    runId: text('run_id'),
    version: text('valkey_version') || text('redis_version'),
    replId: replId('master_replid'),
    formerReplId: replId('master_replid2'),
    upMs: 1000 * count('uptime_in_seconds'),
    usedBytes: count('used_memory'),
    limitBytes: count('maxmemory') || count('total_system_memory'),
  };
}
