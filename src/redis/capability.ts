/** Finds out the kind of the server, and whether it can keep Millrace's guarantees. */
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { reasonCodeOf, reasonFor, type HealthReason } from '../core/health-reason.ts';
import type { RedisConnection } from './contract.ts';
import { atLeast } from './server-binary.ts';

export interface ServerNode {
  readonly node: string;
  readonly flavor: 'redis' | 'valkey';
  readonly version: string;
  readonly role: 'master' | 'replica';
  readonly maxmemoryPolicy: string | null;
  readonly appendonly: boolean | null;
  readonly appendfsync: 'always' | 'everysec' | 'no' | null;
  /** Whether it has save points, that is, writes snapshots by itself. */
  readonly snapshots: boolean | null;
  readonly replicas: number | null;
  /** Code of the reply with which it refuses writes now. Null: none is known of. */
  readonly refuses: 'READONLY' | 'MISCONF' | 'OOM' | null;
}

/**
 * Facts about a server; null where the server does not tell. CONFIG is often denied on managed
 * servers, and INFO to some users. In a Cluster: the least of all masters.
 */
export interface ServerInfo {
  readonly flavor: 'redis' | 'valkey';
  readonly version: string;
  readonly mode: 'standalone' | 'cluster';
  /** Whether redirections are followed, as in a Cluster. */
  readonly followsRedirections: boolean;
  readonly maxmemoryPolicy: string | null;
  readonly appendonly: boolean | null;
  readonly appendfsync: 'always' | 'everysec' | 'no' | null;
  /** Whether WAITAOF exists. */
  readonly hasWaitAof: boolean;
  /** Number of replicas of the master with the fewest. Null: not known. */
  readonly replicas: number | null;
  readonly nodes: readonly ServerNode[];
}

const SETTINGS = [
  'maxmemory-policy',
  'appendonly',
  'appendfsync',
  'save',
  'stop-writes-on-bgsave-error',
];

export async function inspectServer(connection: RedisConnection): Promise<ServerInfo> {
  const infos = await infoOrHello(connection);
  const settings = new Map<string, Map<string, string>>();
  for (const pattern of SETTINGS) {
    for (const { node, reply } of await configGet(connection, pattern)) {
      const flat = reply as readonly string[];
      const ofNode = settings.get(node) ?? new Map<string, string>();
      for (let i = 0; i + 1 < flat.length; i += 2)
        ofNode.set(flat[i] as string, flat[i + 1] as string);
      settings.set(node, ofNode);
    }
  }
  const nodes = infos.map(({ node, reply }) =>
    describe(node, String(reply), settings.get(node) ?? new Map<string, string>()),
  );
  const first = nodes[0];
  if (!first) throw new RedisReplyError('INFO', 'the cluster has no master that can be reached');
  const lowest = nodes.reduce((a, b) => (atLeast(a.version, b.version) ? b : a));
  const clustered = infos.some(({ reply }) =>
    /^(?:redis_mode:cluster|cluster_enabled:1)\r?$/m.test(String(reply)),
  );
  return {
    flavor: first.flavor,
    version: lowest.version,
    mode: clustered ? 'cluster' : 'standalone',
    followsRedirections: connection.isCluster,
    maxmemoryPolicy: (
      nodes.find((n) => n.maxmemoryPolicy !== null && n.maxmemoryPolicy !== 'noeviction') ?? first
    ).maxmemoryPolicy,
    appendonly: (nodes.find((n) => n.appendonly !== true) ?? first).appendonly,
    appendfsync: (nodes.find((n) => n.appendfsync !== 'always') ?? first).appendfsync,
    hasWaitAof: nodes.every((n) => atLeast(n.version, '7.2')),
    replicas: nodes.some((n) => n.replicas === null)
      ? null
      : Math.min(...nodes.map((n) => n.replicas ?? 0)),
    nodes,
  };
}

/**
 * Reads INFO. Where the user may not call it, the answer of HELLO in INFO's words; everybody may
 * call HELLO.
 */
async function infoOrHello(
  connection: RedisConnection,
): Promise<readonly { node: string; reply: unknown }[]> {
  try {
    return await connection.commandOnMasters('INFO');
  } catch (error) {
    // NOPERM, or "unknown command" where INFO is renamed away.
    if (!(error instanceof RedisReplyError) || error.retryable) throw error;
  }
  const hellos = await connection.commandOnMasters('HELLO');
  return hellos.map(({ node, reply }) => {
    const flat = reply as readonly unknown[];
    const field = (name: string): string => String(flat[flat.indexOf(name) + 1]);
    const version = field('server') === 'valkey' ? 'valkey_version' : 'redis_version';
    return {
      node,
      reply: `${version}:${field('version')}\nredis_mode:${field('mode')}\nrole:${field('role') === 'master' ? 'master' : 'slave'}\n`,
    };
  });
}

async function configGet(
  connection: RedisConnection,
  name: string,
): Promise<readonly { node: string; reply: unknown }[]> {
  try {
    return await connection.commandOnMasters('CONFIG', 'GET', name);
  } catch (error) {
    // NOPERM, or "unknown command" where CONFIG is renamed away.
    if (error instanceof RedisReplyError && !error.retryable) return [];
    throw error;
  }
}

function describe(node: string, info: string, settings: ReadonlyMap<string, string>): ServerNode {
  const field = (name: string): string | undefined =>
    new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const valkey = field('valkey_version');
  const appendonly =
    settings.get('appendonly') ?? { '1': 'yes', '0': 'no' }[field('aof_enabled') ?? ''];
  const appendfsync = settings.get('appendfsync');
  return {
    node,
    flavor: valkey === undefined ? 'redis' : 'valkey',
    // Valkey's redis_version is frozen at 7.2.4, for the sake of clients.
    version: valkey ?? field('redis_version') ?? '0',
    role: field('role') === 'slave' ? 'replica' : 'master',
    maxmemoryPolicy: settings.get('maxmemory-policy') ?? field('maxmemory_policy') ?? null,
    appendonly: appendonly === undefined ? null : appendonly === 'yes',
    appendfsync:
      appendfsync === 'always' || appendfsync === 'everysec' || appendfsync === 'no'
        ? appendfsync
        : null,
    snapshots: settings.has('save') ? settings.get('save') !== '' : null,
    replicas: field('connected_slaves') === undefined ? null : Number(field('connected_slaves')),
    refuses: refusalOf(field, settings),
  };
}

/** Returns the reason for which the server refuses writes now, as far as INFO tells. */
function refusalOf(
  field: (name: string) => string | undefined,
  settings: ReadonlyMap<string, string>,
): ServerNode['refuses'] {
  if (field('role') === 'slave') return 'READONLY';
  const snapshots = (settings.get('save') ?? '') !== '';
  const stops = snapshots && settings.get('stop-writes-on-bgsave-error') !== 'no';
  if (field('aof_enabled') === '1' && field('aof_last_write_status') === 'err') return 'MISCONF';
  if (stops && field('rdb_last_bgsave_status') === 'err') return 'MISCONF';
  const memory = (name: string): number => Number(field(name) ?? 0);
  const limit = memory('maxmemory');
  const used = memory('used_memory') - memory('mem_not_counted_for_evict');
  return limit > 0 && used > limit ? 'OOM' : null;
}

/** Describes for each node why it refuses writes now, and the cure. */
export function serverRefusals(info: ServerInfo): HealthReason[] {
  return info.nodes.flatMap(({ refuses, node }) => {
    const code = refuses === null ? null : reasonCodeOf(refuses);
    return code === null ? [] : [reasonFor(code, `${node} takes no writes now: ${refuses}`)];
  });
}

/** Lists the faults that make the server unfit, each with its remedy. */
export function serverProblems(
  info: ServerInfo,
  options: {
    readonly minVersion: string;
    /** A replica will do: nothing is to be written. */ readonly replica?: boolean;
  },
): string[] {
  const problems: string[] = [];
  if (info.mode === 'cluster' && !info.followsRedirections) {
    problems.push(
      'the server is a node of a Redis Cluster: name several of its nodes in REDIS_URL, separated by commas',
    );
  } else if (info.mode === 'standalone' && info.followsRedirections) {
    problems.push(
      'REDIS_URL names several servers, but they are not a Redis Cluster: name the one to use',
    );
  }
  for (const node of info.nodes) {
    const at = info.nodes.length > 1 ? ` (node ${node.node})` : '';
    if (!atLeast(node.version, options.minVersion)) {
      problems.push(
        `the server is ${node.flavor} ${node.version}${at}, at least ${options.minVersion} is needed: upgrade it, or unset REDIS_URL to use the embedded one`,
      );
    }
    if (node.role === 'replica' && options.replica !== true)
      problems.push(
        `the server${at} is a replica and takes no writes: point REDIS_URL at its master`,
      );
    if (node.maxmemoryPolicy !== null && node.maxmemoryPolicy !== 'noeviction') {
      problems.push(
        `the server's maxmemory-policy is "${node.maxmemoryPolicy}"${at}: under memory pressure it would delete events that are not yet processed. ` +
          'Set it with CONFIG SET maxmemory-policy noeviction, and in the configuration file',
      );
    }
  }
  return problems;
}

/**
 * Lists the data that the server would lose if it ended now, each with its remedy. Empty where the
 * server does not tell.
 */
export function serverWarnings(info: ServerInfo): string[] {
  const warnings: string[] = [];
  for (const node of info.nodes) {
    const at = info.nodes.length > 1 ? ` (node ${node.node})` : '';
    const cure = 'CONFIG SET appendonly yes, and the same in the configuration file, keeps them';
    if (node.appendonly === false && node.snapshots === false) {
      warnings.push(
        `the server${at} writes nothing to disk (appendonly no, no save points): all events are lost when it ends. ${cure}`,
      );
    } else if (node.appendonly === false) {
      warnings.push(
        `the server${at} has no append-only file (appendonly no): all events since its last snapshot are lost when it ends. ${cure}`,
      );
    } else if (node.appendonly === true && node.appendfsync === 'no') {
      warnings.push(
        `the server${at} leaves to the system when its append-only file is written (appendfsync no). A power failure loses the events of half a minute or so. CONFIG SET appendfsync everysec bounds the loss to a second or two`,
      );
    }
  }
  return warnings;
}
