/** Reads facts about the servers. A server that does not tell a fact leaves it null. */
import { statfs } from 'node:fs/promises';
import { crc16 } from '../core/partition.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';

/** Fields of INFO, and settings, of one server. */
export interface NodeFacts {
  /** Address: host:port, or a path. */
  readonly node: string;
  /** Null: INFO is denied. */
  readonly info: ReadonlyMap<string, string> | null;
  /** Settings by name; empty where CONFIG is denied. */
  readonly settings: ReadonlyMap<string, string>;
  /** Disk of the server's files. Null: the server is elsewhere, or its folder is not known. */
  readonly disk: Disk | null;
}

export interface Disk {
  readonly dir: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

const SETTINGS = [
  'appendfsync',
  'dir',
  'maxmemory-policy',
  'save',
  'stop-writes-on-bgsave-error',
] as const;

/**
 * Reads INFO and CONFIG of every master.
 * @param local whether the server runs on this machine, so that its disk can be looked at
 * @throws UnknownOutcomeError, RedisReplyError for a passing refusal
 */
export async function readNodes(
  connection: RedisConnection,
  names: readonly string[],
  local: boolean,
): Promise<NodeFacts[]> {
  const infos = await unlessDenied(connection, 'INFO');
  const settings = new Map<string, Map<string, string>>();
  for (const name of SETTINGS) {
    for (const { node, reply } of await unlessDenied(connection, 'CONFIG', 'GET', name)) {
      const flat = reply as readonly string[];
      const of = settings.get(node) ?? new Map<string, string>();
      for (let i = 0; i + 1 < flat.length; i += 2) of.set(flat[i] as string, flat[i + 1] as string);
      settings.set(node, of);
    }
  }
  return Promise.all(
    names.map(async (node) => {
      const info = infos.find((one) => one.node === node);
      const of = settings.get(node) ?? new Map<string, string>();
      const dir = of.get('dir');
      return {
        node,
        info: info ? parseInfo(String(info.reply)) : null,
        settings: of,
        disk: local && dir !== undefined ? await diskOf(dir) : null,
      };
    }),
  );
}

/** Returns no replies where the user may not call the command. */
async function unlessDenied(
  connection: RedisConnection,
  ...command: [string, ...string[]]
): Promise<readonly { node: string; reply: unknown }[]> {
  try {
    return await connection.commandOnMasters(...command);
  } catch (error) {
    // NOPERM, or "unknown command" where the command is renamed away.
    if (error instanceof RedisReplyError && !error.retryable) return [];
    throw error;
  }
}

/** Parses the text of INFO. */
export function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0 && !line.startsWith('#')) fields.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  return fields;
}

async function diskOf(dir: string): Promise<Disk | null> {
  try {
    const { bavail, blocks, bsize } = await statfs(dir);
    return { dir, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    // The folder belongs to another machine, or to another user.
    return null;
  }
}

/** Master of a replica, as the replica knows it. */
export interface MasterOfReplica {
  /** host:port */
  readonly address: string;
  /** Whether the replica is connected to it. */
  readonly linked: boolean;
}

/** Reads the masters of replicas, by the address of the replica. */
export async function readMasters(
  connection: RedisConnection,
): Promise<ReadonlyMap<string, MasterOfReplica>> {
  const found = new Map<string, MasterOfReplica>();
  for (const { node, reply } of await unlessDenied(connection, 'INFO', 'replication')) {
    const info = parseInfo(String(reply));
    const [host, port] = [info.get('master_host'), info.get('master_port')];
    if (host === undefined || port === undefined) continue;
    const linked = info.get('master_link_status') === 'up';
    found.set(node, { address: `${host}:${port}`, linked });
  }
  return found;
}

/** Refusal of the write that the trial makes. */
export interface RefusedTrial {
  readonly partition: number;
  /** The partition's node, host:port. Null: a single server, or not known. */
  readonly node: string | null;
  readonly reply: string;
  readonly message: string;
}

/**
 * Tries a write that changes nothing, in each partition: SETRANGE with an empty text on a key that
 * does not exist. Redis refuses it as it refuses any write (READONLY, MISCONF, OOM, NOREPLICAS,
 * NOPERM). It creates no key, and reaches neither replicas nor the append-only file.
 * @throws UnknownOutcomeError
 */
export async function tryWrites(source: RedisSource): Promise<RefusedTrial[]> {
  const { connection, keys } = source;
  const trials = partitionsOf(source).map(async (partition) => {
    try {
      await connection.command('SETRANGE', keys.trial(partition), 0, '');
      return null;
    } catch (error) {
      if (!(error instanceof RedisReplyError)) throw error;
      const { reply, message } = error;
      return { partition, node: null, reply, message };
    }
  });
  const refused = (await Promise.all(trials)).filter((one) => one !== null);
  if (!connection.isCluster || refused.length === 0) return refused;
  const nodeOf = await readNodeOf(connection);
  return refused.map((one) => ({ ...one, node: nodeOf(one.partition) }));
}

type SlotRange = readonly [first: number, last: number, master: readonly [string, number]];
const SLOTS = 16_384;

/** Returns the function that tells a partition's master in a Cluster: host:port, or null. */
async function readNodeOf(
  connection: RedisConnection,
): Promise<(partition: number) => string | null> {
  const ranges = (await connection.command('CLUSTER', 'SLOTS')) as readonly SlotRange[];
  return (partition) => {
    const slot = crc16(String(partition)) % SLOTS;
    const [, , master] = ranges.find(([first, last]) => first <= slot && slot <= last) ?? [];
    return master === undefined ? null : `${master[0]}:${master[1]}`;
  };
}
