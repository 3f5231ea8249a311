/**
 * Settings from the environment: declared once here, checked all at once. The only reader of
 * process.env.
 */
import { availableParallelism } from 'node:os';
import { ConfigError } from './core/errors/input-errors.ts';
import { NAME_PATTERN } from './core/function-spec.ts';
import { grouped } from './core/option-rule.ts';
import { shownValue } from './core/shown.ts';

/** A fault in the text of a variable. */
class Problem {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A variable: the value of its text, its default, and three texts. */
interface Variable<T> {
  readonly kind: 'number' | 'text';
  /** Reads the text, which is not empty. */
  readonly read: (text: string) => T | Problem;
  /** Default. */
  readonly value: T;
  /** The default as people read it; empty: there is none. */
  readonly unset: string;
  /** Values that it takes, as people read them; empty: any text. */
  readonly range: string;
  /** Meaning, in Markdown. */
  readonly text: string;
}

function numberFrom(min: number, max: number) {
  return (text: string): number | Problem => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    return new Problem(`must be a whole number from ${min} to ${max}`);
  };
}

/** @param unset the default as people read it; by default the number itself */
function whole(
  min: number,
  max: number,
  value: number,
  text: string,
  unset = grouped(value),
): Variable<number> {
  const range = `${grouped(min)} … ${grouped(max)}`;
  return { kind: 'number', read: numberFrom(min, max), value, unset, range, text };
}

/**
 * Declares a number that may be missing.
 * @param unset the behaviour without it, as people read it
 */
function wholeOrNone(
  min: number,
  max: number,
  unset: string,
  text: string,
): Variable<number | undefined> {
  const range = `${grouped(min)} … ${grouped(max)}`;
  return { kind: 'number', read: numberFrom(min, max), value: undefined, unset, range, text };
}

function oneOf<const T extends string>(
  names: readonly T[],
  value: NoInfer<T>,
  text: string,
): Variable<T> {
  const range = names.join(', ');
  const read = (given: string): T | Problem =>
    names.find((name) => name === given) ?? new Problem(`must be one of ${range}`);
  return { kind: 'text', read, value, unset: value, range, text };
}

function textOr(
  value: string,
  text: string,
  read: (given: string) => string | Problem = (given) => given,
): Variable<string> {
  return { kind: 'text', read, value, unset: value, range: '', text };
}

/**
 * Declares a text that may be missing.
 * @param unset the behaviour without it, as people read it
 */
function textOrNone(unset: string, text: string): Variable<string | undefined> {
  return { kind: 'text', read: (given) => given, value: undefined, unset, range: '', text };
}

/** Declares a list of host names, comma separated. */
function names(unset: string, text: string): Variable<readonly string[]> {
  const read = (given: string): readonly string[] | Problem => {
    const list = given.split(',').map((name) => name.trim().toLowerCase());
    const wrong = list.some((name) => !/^[a-z0-9_]([a-z0-9_.-]{0,252})$/.test(name));
    return wrong ? new Problem('must be host names, separated by commas, without ports') : list;
  };
  return { kind: 'text', read, value: [], unset, range: '', text };
}

/** Access of a role to payloads. */
const PAYLOADS = ['none', 'masked', 'full'] as const;

/** Port of the admin server where MILLRACE_PORT is not set. */
export const DEFAULT_PORT = 9464;

/**
 * All variables, each with its reader, default and meaning. The table in docs/operations.md and the
 * list of `millrace start --help` are printed from here.
 */
export const ENVIRONMENT = {
  REDIS_URL: textOrNone(
    'the embedded server',
    'url of the server: `redis://`, `rediss://` or `unix:/path`. A Cluster is named by its configuration endpoint, or by one or more nodes, comma separated. Characters such as `@ : / ? # %` in a password must be percent-encoded',
  ),
  MILLRACE_REDIS_CA: textOrNone(
    "Node's",
    "with `rediss://`: PEM file of the authorities that sign the server's certificate",
  ),
  MILLRACE_REDIS_CERT: textOrNone(
    '',
    'with `rediss://`: PEM file of a client certificate, for servers that ask for one. The file is read for each connection',
  ),
  MILLRACE_REDIS_KEY: textOrNone('', "PEM file of the client certificate's private key"),
  MILLRACE_REDIS_KEY_PASSPHRASE: textOrNone('', 'passphrase of the private key'),
  WORKERS: whole(1, 256, availableParallelism(), 'worker threads in the pool', 'available cores'),
  MILLRACE_PARTITIONS: wholeOrNone(
    1,
    1024,
    '16',
    'number of partitions, fixed at the first start. A process with another number refuses to start',
  ),
  MILLRACE_NAMESPACE: textOr('mr', 'prefix of all keys', (given) =>
    NAME_PATTERN.test(given) ? given : new Problem(`must match ${NAME_PATTERN.source}`),
  ),
  LOG_LEVEL: oneOf(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'info',
    'least severe level that is logged (pino)',
  ),
  MILLRACE_DIR: textOr(
    '.millrace',
    "folder of the embedded server's data, and of its downloaded binary",
  ),
  MILLRACE_REDIS_SERVER: textOrNone(
    'one on PATH, or unpacked',
    'binary of the embedded server: redis-server or valkey-server, 7.0 or later',
  ),
  MILLRACE_APPENDFSYNC: oneOf(
    ['everysec', 'always'],
    'everysec',
    'appendfsync of the embedded server',
  ),
  MILLRACE_LEASE_MS: whole(
    500,
    600_000,
    10_000,
    "TTL of a lane's lease, ms. With a shorter TTL a takeover after a crash is faster, but a shorter stall loses the lane",
  ),
  MILLRACE_DRAIN_MS: whole(
    0,
    3_600_000,
    30_000,
    'time that running batches have after SIGTERM, ms',
  ),
  MILLRACE_LOAD_MS: whole(
    1000,
    600_000,
    30_000,
    'time that the function files have to load at start, ms. If one is slower it is named, and nothing starts',
  ),
  MILLRACE_BATCH_EVENTS: whole(1, 65_536, 4096, 'most events in a batch'),
  MILLRACE_BATCH_BYTES: whole(
    1024,
    64 * 1024 * 1024,
    1024 * 1024,
    'most bytes in a batch. One entry is always taken, whatever its size',
  ),
  MILLRACE_THREAD_HEAP_MB: wholeOrNone(16, 65_536, "Node's", 'heap limit of a pool thread, MiB'),
  MILLRACE_MODE: oneOf(
    ['development', 'production'],
    'development',
    '`development` registers new compatible schemas at start, `production` refuses to start with them. See [docs/schemas.md](schemas.md)',
  ),
  MILLRACE_SCHEMA_WAIT_MS: whole(
    0,
    604_800_000,
    600_000,
    'time that an event waits, parked, for its schema to be registered, ms. It is dead-lettered afterwards',
  ),
  MILLRACE_UPKEEP_MS: whole(
    50,
    3_600_000,
    10_000,
    'interval of upkeep, ms: a dispatcher trims streams, and looks for missing and stuck events',
  ),
  MILLRACE_STALL_MS: whole(
    100,
    86_400_000,
    60_000,
    '`/healthz` is red when a lane with work, or a filled outbox, makes no progress for this time, ms',
  ),
  MILLRACE_ALERTS: textOr(
    'millrace.alerts.yaml',
    'file with the rules and receivers of alerts; without the file the built-in rules apply. `off`: this process evaluates no alerts. See [docs/alerts.md](alerts.md)',
  ),
  MILLRACE_TREND: oneOf(
    ['on', 'off'],
    'on',
    'whether this process may keep the [trend](operations.md#trend): 72 hours of samples and marks in Redis. One process of a deployment does',
  ),
  MILLRACE_ACTOR: textOrNone(
    'user@host',
    'name of the person or program that makes changes by commands, for `millrace audit`',
  ),
  MILLRACE_PORT: wholeOrNone(
    0,
    65_535,
    String(DEFAULT_PORT),
    'port of the admin HTTP server of `millrace start`; 0: any free port. If it is not set and the default is taken, there is no admin server',
  ),
  MILLRACE_HOST: textOr('127.0.0.1', 'address of the admin server'),
  MILLRACE_METRICS_DEPLOYMENT: oneOf(
    ['everywhere', 'apart'],
    'everywhere',
    "`apart` leaves the deployment's metrics out of `/metrics`, so that they are read and stored once. They stand in `/metrics/deployment` in any case. See [docs/metrics.md](metrics.md)",
  ),
  MILLRACE_METRICS_PARTITION: oneOf(
    ['off', 'on'],
    'off',
    "`on` gives those of the deployment's metrics that have the label `type` the label `partition` too",
  ),
  MILLRACE_TOKEN: textOrNone(
    '',
    'token of the role admin on the admin server, sent as bearer token or as the password of basic authentication. Without any token, changes are possible on loopback only. See [docs/security.md](security.md#the-admin-server)',
  ),
  MILLRACE_TOKEN_FILE: textOrNone(
    '',
    'file with that token, in place of MILLRACE_TOKEN. The file is read at each request',
  ),
  MILLRACE_OPERATE_TOKEN: textOrNone('', 'token of the role operate'),
  MILLRACE_OPERATE_TOKEN_FILE: textOrNone('', 'file with that token'),
  MILLRACE_READ_TOKEN: textOrNone('', 'token of the role read'),
  MILLRACE_READ_TOKEN_FILE: textOrNone('', 'file with that token'),
  MILLRACE_PAYLOADS_READ: oneOf(
    PAYLOADS,
    'masked',
    'payloads that a token of the role read shows on the admin server: `none`; `masked`: all but the fields that their schemas mask; `full`. See [docs/security.md](security.md#payloads)',
  ),
  MILLRACE_PAYLOADS_OPERATE: oneOf(
    PAYLOADS,
    'full',
    'payloads that the roles operate and admin see there',
  ),
  MILLRACE_ALLOWED_HOSTS: names(
    'any',
    'names that clients may use for the admin server, comma separated, as in the `Host` header without the port. Addresses and loopback names are always allowed',
  ),
} as const;

export type Environment = {
  -readonly [K in keyof typeof ENVIRONMENT]: (typeof ENVIRONMENT)[K]['value'];
};

/**
 * @throws ConfigError naming every variable that is wrong
 */
export function readEnvironment(from: NodeJS.ProcessEnv = process.env): Environment {
  const problems: string[] = [];
  const out: Record<string, unknown> = {};
  for (const [name, { kind, read, value }] of Object.entries(ENVIRONMENT)) {
    const raw: unknown = from[name] === undefined ? '' : from[name];
    const found = kindProblem(kind, raw) ?? (raw === '' ? value : read(String(raw)));
    if (found instanceof Problem) problems.push(`${name}: ${found.text} (got ${shownValue(raw)})`);
    else out[name] = found;
  }
  for (const name of Object.keys(from)) {
    if (name.startsWith('MILLRACE_') && !(name in ENVIRONMENT))
      problems.push(`${name}: no such setting; known are ${Object.keys(ENVIRONMENT).join(', ')}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return out as Environment;
}

/**
 * Returns settings that a caller gives in code, where types may be unchecked.
 * @throws ConfigError naming every setting of the wrong kind
 */
export function givenSettings(given: Partial<Environment> = {}): Partial<Environment> {
  const problems: string[] = [];
  for (const [name, { kind }] of Object.entries(ENVIRONMENT)) {
    const value: unknown = given[name as keyof Environment];
    const problem = value === undefined ? null : kindProblem(kind, value);
    if (problem) problems.push(`${name}: ${problem.text} (got ${shownValue(value)})`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return given;
}

/** Numbers may come as text. */
function kindProblem(kind: 'number' | 'text', given: unknown): Problem | null {
  if (typeof given === 'string' || (kind === 'number' && typeof given === 'number')) return null;
  return new Problem(`must be a ${kind}`);
}

/** Returns a variable whose name the file of alert rules gives: a secret. Undefined: not set. */
export function secretFromEnvironment(name: string): string | undefined {
  return process.env[name];
}

/**
 * Settings of a process that only rebuilds; the given environment comes first. In larger turns more
 * events of a row meet, and no other function waits for them. One core stays free for the process's
 * own thread, and for a server beside it.
 */
export function rebuildSettings(given: NodeJS.ProcessEnv = process.env): Partial<Environment> {
  const settings = {
    WORKERS: Math.max(1, availableParallelism() - 1),
    MILLRACE_BATCH_EVENTS: 16_384,
    MILLRACE_BATCH_BYTES: 2 * 1024 * 1024,
  };
  return Object.fromEntries(
    Object.entries(settings).filter(([name]) => (given[name] ?? '') === ''),
  );
}

/** The service manager (systemd) that waits for messages of this process. */
export interface NotifyAddress {
  /** Environment of a program that sends a message. */
  readonly env: NodeJS.ProcessEnv;
  /** Time without a sign of life after which it restarts the process, ms. Null: no such time. */
  readonly watchdogMs: number | null;
}

/** Reads where messages to the service manager go. Null: nobody waits for messages. */
export function notifyAddress(from: NodeJS.ProcessEnv = process.env): NotifyAddress | null {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, PATH } = from;
  if (!NOTIFY_SOCKET) return null;
  const watchdogMs = Number(WATCHDOG_USEC) / 1000;
  const ours = WATCHDOG_PID === undefined || WATCHDOG_PID === String(process.pid);
  return { env: { PATH, NOTIFY_SOCKET }, watchdogMs: ours && watchdogMs > 0 ? watchdogMs : null };
}

/**
 * Environment of the pool's threads: that of this process, with REDIS_URL always set to the
 * deployment's server. So a function's setup() can open a connection to an embedded server too.
 */
export function threadEnvironment(redisUrl: string): NodeJS.ProcessEnv {
  return { ...process.env, REDIS_URL: redisUrl };
}
