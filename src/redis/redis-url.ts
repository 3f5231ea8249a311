/**
 * Takes addresses of servers apart. Nothing here shows a password, or a text that may be a part of
 * one. A url that cannot be taken apart for sure is shown by its scheme. Its host is shown where
 * the host is certain.
 */
import { ConfigError } from '../core/errors/input-errors.ts';

export interface RedisTarget {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly tls: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  /** The url without its password, for logs. */
  readonly display: string;
}

const SCHEMES = 'redis://host:port, rediss://host:port or unix:/path/to/socket';
const ENCODE =
  'Characters such as @ : / ? # % in a user name or password must be percent-encoded (%40 %3A %2F %3F %23 %25)';
const HIDDEN = '***';
const MAX_SOCKET_PATH = 107;
/** Matches a host, or [IPv6 address], with or without a port. */
const ADDRESS = /^(\[[0-9a-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/i;

/**
 * Takes a url apart.
 * @param what the url's name in messages
 * @throws ConfigError naming everything that is wrong with it
 */
export function parseRedisUrl(url: string, what = 'REDIS_URL'): RedisTarget {
  const trimmed = url.trim();
  if (trimmed === '') throw new ConfigError([`${what} is empty; expected ${SCHEMES}`]);
  if (/^unix:/i.test(trimmed)) return parseUnixUrl(trimmed, what);
  const scheme = /^([a-z][a-z0-9+.-]*:)\/\//i.exec(trimmed)?.[1]?.toLowerCase();
  if (scheme !== 'redis:' && scheme !== 'rediss:')
    throw new ConfigError([schemeProblem(trimmed, scheme, what)]);
  return parseAddress(trimmed, scheme, what);
}

function schemeProblem(url: string, scheme: string | undefined, what: string): string {
  if (scheme !== undefined) {
    // Any other word may be a piece of a password.
    const shown =
      /^(?:https?|tcp|tls|ssl|wss?|valkeys?|rediss?[+-][a-z]+|file|amqps?|kafka|nats|postgres(?:ql)?|mysql|mongodb):$/.test(
        scheme,
      );
    return `${what} ${shown ? `"${scheme}//…" has the scheme "${scheme}"` : 'has a scheme that is not known'}; expected ${SCHEMES}`;
  }
  const address = ADDRESS.exec(url);
  // A port shows that the text is an address. A lone word may be anything.
  const hint =
    address?.[2] !== undefined && Number(address[2]) <= 65_535
      ? ` (did you mean redis://${url}?)`
      : '';
  return `${what} does not begin with a scheme and //; expected ${SCHEMES}${hint}`;
}

function parseAddress(url: string, scheme: string, what: string): RedisTarget {
  const rest = url.slice(scheme.length + 2);
  const authority = /^[^/?#]*/.exec(rest)?.[0] ?? '';
  if (rest.lastIndexOf('@') >= authority.length) {
    // The apparent host and path are then a user name and a password.
    throw new ConfigError([`${what} "${scheme}//${HIDDEN}" has an "@" behind its host. ${ENCODE}`]);
  }
  const display = displayOf(scheme, rest);
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new ConfigError([`${what} "${display}" is not a url; expected ${SCHEMES}. ${ENCODE}`]);
  }
  const problems: string[] = [];
  if (parsed.hostname === '') problems.push(`${what} "${display}" names no host`);
  const path = parsed.pathname.replace(/^\//, '');
  if (!/^\d*$/.test(path))
    problems.push(`${what} "${display}": the path must be a database number, such as /0`);
  if (parsed.hash !== '' || url.includes('#'))
    problems.push(`${what} "${display}" has a "#". ${ENCODE}`);
  for (const key of parsed.searchParams.keys())
    problems.push(`${what} "${display}": the query parameter ${nameOf(key)} is not known`);
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    tls: scheme === 'rediss:',
    ...(parsed.username === '' ? {} : { username: decode(parsed.username, what, 'user name') }),
    ...(parsed.password === '' ? {} : { password: decode(parsed.password, what, 'password') }),
    db: Number(path),
    display,
  };
}

/** @param rest the url behind `//`; its path and query have no "@" */
function displayOf(scheme: string, rest: string): string {
  const at = rest.lastIndexOf('@');
  const address = /^[^/?#]*/.exec(rest.slice(at + 1))?.[0] ?? '';
  const path = /^\/\d{0,5}(?=$|[?#])/.exec(rest.slice(at + 1 + address.length))?.[0] ?? '';
  const port = ADDRESS.exec(address)?.[2];
  // Without a login, an impossible port may be a password: `user:password` in the host's place.
  const known = ADDRESS.test(address) && (at >= 0 || port === undefined || Number(port) <= 65_535);
  return `${scheme}//${shownLogin(rest.slice(0, Math.max(0, at)))}${at < 0 ? '' : '@'}${known ? `${address}${path}` : HIDDEN}`;
}

/** Shows the user name where a password follows. A lone name is often meant to be a password. */
function shownLogin(login: string): string {
  const [user = '', ...password] = login.split(':');
  if (login === '') return '';
  return password.length === 1 && /^[\w.-]*$/.test(user) ? `${user}:${HIDDEN}` : HIDDEN;
}

/** Query parameters that other clients know. Any other word may be a piece of a password. */
const USUAL_PARAMETERS = new Set([
  'db',
  'database',
  'family',
  'password',
  'username',
  'user',
  'auth',
  'timeout',
  'protocol',
  'ssl',
  'tls',
  'client_name',
  'name',
  'retry',
  'poolsize',
]);

function nameOf(key: string): string {
  return USUAL_PARAMETERS.has(key.toLowerCase()) ? `"${key}"` : '(not shown)';
}

function parseUnixUrl(url: string, what: string): RedisTarget {
  const [, rawPath = '', query = ''] = /^unix:(?:\/\/)?([^?]*)\??(.*)$/is.exec(url) ?? [];
  const path = decode(rawPath, what, 'path');
  const problems: string[] = [];
  if (!path.startsWith('/') || path === '/')
    problems.push(
      `${what} "unix:…": a unix socket needs an absolute path, as in unix:/run/redis.sock`,
    );
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH)
    problems.push(
      `${what}: the path of a unix socket may have at most ${MAX_SOCKET_PATH} bytes, this one has ${bytes}`,
    );
  const display = path.startsWith('/') ? `unix:${rawPath}` : 'unix:…';
  let db = 0;
  for (const [key, value] of new URLSearchParams(query)) {
    if (key !== 'db')
      problems.push(
        `${what} "${display}": the query parameter ${nameOf(key)} is not known (only db is)`,
      );
    else if (!/^\d+$/.test(value)) problems.push(`${what} "${display}": db must be a number`);
    else db = Number(value);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { path, tls: false, db, display: db === 0 ? display : `${display}?db=${db}` };
}

/** Takes all nodes of a url, or of a list of urls, and checks that they fit together. */
export function parseRedisUrls(
  url: string | readonly string[],
  what = 'REDIS_URL',
): readonly RedisTarget[] {
  const urls = (typeof url === 'string' ? [url] : url).flatMap(splitList);
  const problems: string[] = [];
  const targets: RedisTarget[] = [];
  for (const one of urls) {
    try {
      targets.push(parseRedisUrl(one, what));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
  }
  if (urls.length === 0) problems.push(`${what} is empty; expected ${SCHEMES}`);
  if (targets.length > 1) problems.push(...listProblems(targets, what));
  if (problems.length > 0) throw new ConfigError([...new Set(problems)]);
  return targets;
}

function listProblems(targets: readonly RedisTarget[], what: string): string[] {
  const problems: string[] = [];
  const [first] = targets;
  for (const target of targets) {
    if (target.path !== undefined)
      problems.push(`${what}: a cluster cannot have the unix socket "${target.display}" as a node`);
    if (target.db !== 0)
      problems.push(`${what} "${target.display}": a cluster has only database 0`);
    if (target.tls !== first?.tls)
      problems.push(`${what}: either all nodes use rediss:// or none does`);
    const given = target.username !== undefined || target.password !== undefined;
    if (given && (target.username !== first?.username || target.password !== first?.password)) {
      problems.push(
        `${what}: user name and password are the same for all nodes of a cluster: give them with the first`,
      );
    }
  }
  return problems;
}

/** Splits a list of urls at commas that a scheme follows. A comma in a password stays. */
function splitList(urls: string): string[] {
  const parts = urls.split(/,(?=\s*(?:rediss?:|unix:))/i);
  return parts.map((p) => p.trim()).filter((p) => p !== '');
}

function decode(text: string, what: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigError([`${what}: the ${part} is not percent-encoded properly. ${ENCODE}`]);
  }
}
