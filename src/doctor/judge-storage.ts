/** Judges what the servers keep: files, disk and memory. */
import { fact, unknown, type Diagnosis } from './diagnosis.ts';
import type { RedisCli } from './redis-cli.ts';
import type { NodeFacts } from './server-facts.ts';
import { shellWord } from './shell-word.ts';

/** Shares of memory and disk from which on they are told. */
const MEMORY = { warning: 0.75, error: 0.9 } as const;
const FREE_DISK = { warning: 0.1, error: 0.02 } as const;

/** Judges the files of one server. */
export function judgePersistence(facts: NodeFacts, user: string, cli: RedisCli): Diagnosis[] {
  const { node, info, settings } = facts;
  const appendonly = info?.get('aof_enabled');
  if (info === null || appendonly === undefined)
    return [unknown('persistence', `INFO is not granted on ${node}`, ...grantInfo(user, cli))];
  const save = settings.get('save');
  const fsync = settings.get('appendfsync');
  const found: Diagnosis[] = [
    fact(
      'persistence',
      node,
      `append-only file ${appendonly === '1' ? `on, appendfsync ${fsync ?? 'unknown'}` : 'off'}; snapshots ${save === undefined ? 'unknown' : save === '' ? 'off' : `on (${save})`}`,
    ),
    ...judgeFiles(facts, info, cli),
  ];
  const keep = {
    cure: 'Turn the append-only file on, in the configuration file, too',
    command: cli(node, 'CONFIG SET appendonly yes'),
  };
  if (appendonly === '0')
    found.push({
      code: save === '' ? 'persistence-none' : 'persistence-snapshots',
      severity: 'warning',
      about: node,
      problem:
        save === ''
          ? 'The server writes nothing to disk: all events are lost when it ends'
          : 'All events since the last snapshot are lost when the server ends',
      evidence: `aof_enabled:0, save "${save ?? 'unknown'}", ${info.get('rdb_changes_since_last_save') ?? 'unknown'} changes since the last snapshot`,
      ...keep,
    });
  else if (fsync === 'no')
    found.push({
      code: 'fsync-no',
      severity: 'warning',
      about: node,
      problem: 'A power failure loses the events of half a minute or so',
      evidence: 'appendfsync no',
      cure: 'Write the append-only file each second',
      command: cli(node, 'CONFIG SET appendfsync everysec'),
    });
  return found;
}

/** Judges failed writes of the files, and the room for more. */
function judgeFiles(
  { node, settings, disk }: NodeFacts,
  info: ReadonlyMap<string, string>,
  cli: RedisCli,
): Diagnosis[] {
  const found: Diagnosis[] = [];
  const place = settings.get('dir') ?? 'unknown';
  const failed = (name: string): boolean => info.get(name) === 'err';
  const free =
    'First free space on the disk of the server, and check the rights of its folder and its log';
  // A full disk takes no new file: the old one has to be looked at first.
  const isFull = disk !== null && isLow(disk, Number(info.get('aof_current_size') ?? 0));
  const look = disk === null ? null : `df -h ${shellWord(disk.dir)}`;
  if (failed('aof_last_write_status') || failed('aof_last_bgrewrite_status'))
    found.push({
      code: 'aof-failing',
      severity: failed('aof_last_write_status') ? 'error' : 'warning',
      about: node,
      problem: failed('aof_last_write_status')
        ? 'The append-only file cannot be written, and the server refuses writes'
        : 'The append-only file could not be rewritten, and grows',
      evidence: `aof_last_write_status:${info.get('aof_last_write_status') ?? '-'}, aof_last_bgrewrite_status:${info.get('aof_last_bgrewrite_status') ?? '-'}, folder ${place}`,
      ...(failed('aof_last_write_status')
        ? { cure: `${free}. The server then writes again by itself`, command: look }
        : {
            cure: `${free}. Then rewrite the file`,
            command: isFull ? look : cli(node, 'BGREWRITEAOF'),
          }),
    });
  if (failed('rdb_last_bgsave_status')) {
    const stops =
      settings.get('stop-writes-on-bgsave-error') !== 'no' && (settings.get('save') ?? '?') !== '';
    found.push({
      code: 'snapshot-failing',
      severity: stops ? 'error' : 'warning',
      about: node,
      problem: stops
        ? 'The last snapshot failed, and the server refuses writes until one succeeds'
        : 'The last snapshot failed',
      evidence: `rdb_last_bgsave_status:err, folder ${place}`,
      cure: `${free}. Then take a snapshot`,
      command: isFull ? look : cli(node, 'BGSAVE'),
    });
  }
  if (disk !== null)
    found.push(...judgeDisk(node, disk, Number(info.get('aof_current_size') ?? 0)));
  return found;
}

function isLow(
  { freeBytes, totalBytes }: Pick<NonNullable<NodeFacts['disk']>, 'freeBytes' | 'totalBytes'>,
  aofBytes: number,
): boolean {
  // A rewrite of the append-only file needs as much room again.
  return freeBytes / totalBytes < FREE_DISK.warning || freeBytes < aofBytes;
}

function judgeDisk(
  node: string,
  { dir, freeBytes, totalBytes }: NonNullable<NodeFacts['disk']>,
  aofBytes: number,
): Diagnosis[] {
  const free = freeBytes / totalBytes;
  if (!isLow({ freeBytes, totalBytes }, aofBytes)) return [];
  return [
    {
      code: 'disk-low',
      severity: free < FREE_DISK.error ? 'error' : 'warning',
      about: node,
      problem: 'The disk of the server is nearly full. On a full disk it refuses writes',
      evidence: `${dir}: ${sizeText(freeBytes)} of ${sizeText(totalBytes)} free, the append-only file has ${sizeText(aofBytes)}`,
      cure: 'Free space on the disk, or move the folder',
      command: `df -h ${shellWord(dir)}`,
    },
  ];
}

/** Judges the memory of one server. */
export function judgeMemory(
  { node, info, settings }: NodeFacts,
  user: string,
  cli: RedisCli,
): Diagnosis[] {
  const used = number(info?.get('used_memory'));
  if (info === null || used === null)
    return [unknown('memory', `INFO is not granted on ${node}`, ...grantInfo(user, cli))];
  const limit = number(info.get('maxmemory')) ?? 0;
  const system = number(info.get('total_system_memory')) ?? 0;
  const policy = settings.get('maxmemory-policy') ?? info.get('maxmemory_policy') ?? 'unknown';
  const most = limit > 0 ? limit : system;
  const of = limit > 0 ? 'maxmemory' : 'the memory of the machine';
  const evidence = `${sizeText(used)} used${most > 0 ? ` of ${sizeText(most)} (${of})` : ''}, maxmemory-policy ${policy}`;
  const found = [fact('memory', node, evidence)];
  const share = most > 0 ? used / most : 0;
  if (share >= MEMORY.warning)
    found.push({
      code: 'memory-low',
      severity: share >= MEMORY.error ? 'error' : 'warning',
      about: node,
      problem: `${Math.round(share * 100)} % of ${of} is used. At its end the server refuses writes`,
      evidence,
      cure: `${limit > 0 ? 'Raise maxmemory' : 'Give the machine more memory'}, or keep fewer events: set limits for event types (millrace limits)`,
      // Memory in use may be far above its limit: a limit below that would cure nothing.
      command: limit > 0 ? cli(node, `CONFIG SET maxmemory ${2 * Math.max(limit, used)}`) : null,
    });
  else if (limit === 0)
    found.push({
      code: 'memory-unlimited',
      severity: 'info',
      about: node,
      problem: 'The server has no maxmemory: it grows until the system ends it',
      evidence,
      cure: 'Set maxmemory. Publishers then wait instead',
      command: cli(node, `CONFIG SET maxmemory ${Math.floor((system || 4e9) * 0.7)}`),
    });
  return found;
}

function grantInfo(user: string, cli: RedisCli): [cure: string, command: string] {
  return [
    `Grant the user ${user} +info, to have this checked`,
    cli(null, `ACL SETUSER ${shellWord(user)} +info`),
  ];
}

function number(text: string | undefined): number | null {
  const value = Number(text);
  return text === undefined || !Number.isFinite(value) ? null : value;
}

/** Returns a size for people. */
export function sizeText(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? ''}`;
}
