/**
 * Commands for redis-cli, as people paste them into bash. No password is in them: variables of the
 * environment stand for the URLs. A user without an administrator's rights gets commands with
 * another variable.
 */
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { parseRedisUrls } from '../redis/redis-url.ts';
import type { Deployment } from '../deployment.ts';
import type { Diagnosis } from './diagnosis.ts';
import { shellWord } from './shell-word.ts';

/** Stands for the node of a Cluster that has the key of the command. */
export const OF_KEY = Symbol('of key');

/**
 * Writes `redis-cli … <command>`.
 * @param node server; null: every node of a Cluster
 */
export type RedisCli = (node: string | typeof OF_KEY | null, command: string) => string;

const ADMIN_URL = '$ADMIN_REDIS_URL';
const ADMIN_USER = '$ADMIN_USER';

/** One command of each kind that cures have. `k` stands for a key of Millrace. */
const OF_ADMINS = [
  'ACL SETUSER u',
  'BGREWRITEAOF',
  'BGSAVE',
  'CONFIG SET save v',
  'RENAME k damaged:k',
  'REPLICAOF NO ONE',
  'SLOWLOG GET 1',
  'XGROUP DESTROY k g',
] as const;

export interface Asker {
  /** Name of the user of REDIS_URL; `default` where the URL has none. */
  readonly user: string;
  /** First words of the cures' commands that the user may not call. */
  readonly denied: ReadonlySet<string>;
}

type Place = Pick<Deployment, 'connection' | 'environment' | 'keys' | 'server' | 'url'>;

/** Asks Redis for the user and its rights. @throws UnknownOutcomeError */
export async function readAsker({ connection, keys, url }: Place): Promise<Asker> {
  const inUrl = url.startsWith('unix:') ? undefined : parseRedisUrls(url)[0]?.username;
  let user = inUrl ?? 'default';
  try {
    user = String(await connection.command('ACL', 'WHOAMI'));
    const answers = await Promise.all(
      OF_ADMINS.map((text) => {
        const words = text.split(' ').map((word) => word.replace(/\bk$/, keys.counters(0)));
        return connection.command('ACL', 'DRYRUN', user, ...words);
      }),
    );
    return { user, denied: wordsOf((_, i) => answers[i] !== 'OK') };
  } catch (error) {
    if (!(error instanceof RedisReplyError)) throw error;
    return { user, denied: wordsOf(() => true) };
  }
}

function wordsOf(isDenied: (command: string, i: number) => boolean): Set<string> {
  return new Set(OF_ADMINS.filter(isDenied).map(firstWord));
}

function firstWord(command: string): string {
  return command.split(' ', 1)[0] ?? '';
}

/** Settings that a login needs. */
export type Login = Partial<
  Pick<
    Deployment['environment'],
    'MILLRACE_REDIS_CA' | 'MILLRACE_REDIS_CERT' | 'MILLRACE_REDIS_KEY' | 'REDIS_URL'
  >
>;

/** Returns the options for the TLS files that are set, with a space before each. */
export function tlsOptions(environment: Login): string {
  const files = [
    ['--cacert', 'MILLRACE_REDIS_CA'],
    ['--cert', 'MILLRACE_REDIS_CERT'],
    ['--key', 'MILLRACE_REDIS_KEY'],
  ] as const;
  return files
    .filter(([, name]) => environment[name] !== undefined)
    .map(([option, name]) => ` ${option} "$${name}"`)
    .join('');
}

/** @param asker null: Redis has not told */
export function redisCliOf(place: Place, asker: Asker | null): RedisCli {
  const { url, server, connection, environment } = place;
  const tls = tlsOptions(environment);
  return (node, command) => {
    const admin = asker === null || !asker.denied.has(firstWord(command));
    if (url.startsWith('unix:')) {
      const [{ path = '', db = 0 } = {}] = parseRedisUrls(url);
      const login = admin ? '' : ` --user "${ADMIN_USER}" --askpass`;
      return `redis-cli -s ${shellWord(path)}${db === 0 ? '' : ` -n ${db}`}${login} ${command}`;
    }
    if (!connection.isCluster)
      return `redis-cli -u "${admin ? '$REDIS_URL' : ADMIN_URL}"${tls} ${command}`;
    // The first URL has the login of all nodes.
    const first = admin ? '${REDIS_URL%%,redis*}' : ADMIN_URL;
    const login = `redis-cli -u "${first}"${tls}`;
    if (node === OF_KEY) return `${login} -c ${command}`;
    const some = node ?? server.nodes[0]?.node ?? '';
    if (node === null) return `${login} --cluster call ${shellWord(some)} ${command}`;
    const [, host = some, port = '6379'] = /^(.*):(\d+)$/.exec(some) ?? [];
    return `${login} -h ${shellWord(host)} -p ${port} ${command}`;
  };
}

/** Says in the cure what the variable of an administrator stands for. */
export function explainAdmin(finding: Diagnosis): Diagnosis {
  const { command, cure } = finding;
  if (cure === null || command === null) return finding;
  const told = command.includes(ADMIN_URL)
    ? 'The user of REDIS_URL may not do that: set ADMIN_REDIS_URL to the URL of an administrator'
    : command.includes(ADMIN_USER)
      ? 'The user of this connection may not do that: set ADMIN_USER to the name of an administrator'
      : null;
  return told === null ? finding : { ...finding, cure: `${cure}. ${told}` };
}
