/**
 * The connection to Redis, and (with script.ts above it) the only user of ioredis.
 *
 * What ioredis does by default is wrong for a log: it silently sends a command again whose reply was lost. Here a command
 * is written to the socket at most once, and its promise settles within a bounded time whatever the network does: with
 * the reply, with RedisReplyError (Redis said no), or with UnknownOutcomeError (nobody knows). Sending it again is up to
 * the caller, who knows what is idempotent: see withRetry.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Command, Redis, ReplyError, type RedisOptions } from 'ioredis';
import { ClosedError, ConfigError, MillraceError, RedisReplyError, UnknownOutcomeError } from '../core/errors.ts';

export type RedisArg = string | number | Buffer;
export type RedisLog = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
export type ConnectionStatus = 'connecting' | 'up' | 'down' | 'closed';

export interface ConnectionOptions {
  /** One url, several, or several separated by commas; more than one means a Redis Cluster. */
  readonly url: string | readonly string[];
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /** For commands that block (XREAD BLOCK): give these their own connection, for they hold up all behind them. */
  readonly blocking?: boolean;
  /** Longest BLOCK that will be asked for on a blocking connection. Default 5,000. */
  readonly maxBlockMs?: number;
  /** A command without a reply for so long (plus maxBlockMs if blocking) has an unknown outcome. Default 10,000. */
  readonly replyTimeoutMs?: number;
  /** How long a command waits, unsent, for a connection that is down. Default 2,000. */
  readonly offlineWaitMs?: number;
  readonly log?: RedisLog;
}

/** A script with its keys and arguments, as EVALSHA takes it. See script.ts. */
export interface ScriptCall {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  readonly keys: readonly string[];
  readonly args: readonly RedisArg[];
}

export interface RedisConnection {
  readonly isCluster: boolean;
  /** Where it leads, without passwords. */
  readonly target: string;
  readonly status: ConnectionStatus;
  /** Replies with strings. */
  command(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  /** Replies with Buffers. */
  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  /** The command once on every master (a single server is its own only master). */
  commandOnMasters(name: string, ...args: readonly RedisArg[]): Promise<readonly { node: string; reply: unknown }[]>;
  /** Keys that match, of every master, page by page: each at least once if it is there all the time. */
  scan(pattern: string): AsyncIterable<readonly string[]>;
  script(call: ScriptCall, asBuffers: boolean): Promise<unknown>;
  /** The script, and right behind it on the same connection to the same server `follow` (WAIT, WAITAOF). */
  scriptThen(call: ScriptCall, follow: readonly [string, ...RedisArg[]], asBuffers: boolean): Promise<[unknown, unknown]>;
  on(event: 'up' | 'down', listener: () => void): void;
  off(event: 'up' | 'down', listener: () => void): void;
  /** Resolves once the connection is up; rejects with the last error when it is not within the time. */
  ready(timeoutMs?: number): Promise<void>;
  /** A further connection with the same settings, but for these. */
  duplicate(changes?: Partial<Omit<ConnectionOptions, 'url'>>): RedisConnection;
  /** Waits for the replies still to come (at most 2 s), then closes. */
  close(): Promise<void>;
  /** Closes at once; commands under way reject with UnknownOutcomeError. */
  destroy(): void;
}

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

/** Takes a url apart; throws ConfigError naming everything that is wrong with it. `what` is how the message calls it. */
export function parseRedisUrl(url: string, what = 'REDIS_URL'): RedisTarget {
  const trimmed = url.trim();
  if (trimmed === '') throw new ConfigError([`${what} is empty; expected ${SCHEMES}`]);
  if (/^unix:/i.test(trimmed)) return parseUnixUrl(trimmed, what);
  let parsed: URL;
  try {
    parsed = new URL(trimmed);
  } catch {
    throw new ConfigError([`${what} "${redact(trimmed)}" is not a url; expected ${SCHEMES}`]);
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    const hint = /^[\w.-]+:\d+$/.test(trimmed) ? ` (did you mean redis://${trimmed}?)` : '';
    throw new ConfigError([`${what} "${redact(trimmed)}" has the scheme "${parsed.protocol}"; expected ${SCHEMES}${hint}`]);
  }
  const problems: string[] = [];
  const display = redact(trimmed);
  if (parsed.hostname === '') problems.push(`${what} "${display}" names no host`);
  const path = parsed.pathname.replace(/^\//, '');
  const db = path === '' ? 0 : Number(path);
  if (!/^\d*$/.test(path)) problems.push(`${what} "${display}": the path must be a database number, such as /0, not "/${path}"`);
  for (const key of parsed.searchParams.keys()) problems.push(`${what} "${display}": the query parameter "${key}" is not known`);
  if (problems.length) throw new ConfigError(problems);
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    tls: parsed.protocol === 'rediss:',
    ...(parsed.username === '' ? {} : { username: decode(parsed.username, what, 'user name') }),
    ...(parsed.password === '' ? {} : { password: decode(parsed.password, what, 'password') }),
    db,
    display,
  };
}

function parseUnixUrl(url: string, what: string): RedisTarget {
  const [, rawPath = '', query = ''] = /^unix:(?:\/\/)?([^?]*)\??(.*)$/i.exec(url) ?? [];
  const path = decode(rawPath, what, 'path');
  const problems: string[] = [];
  if (!path.startsWith('/') || path === '/') problems.push(`${what} "${url}": a unix socket needs an absolute path, as in unix:/run/redis.sock`);
  if (Buffer.byteLength(path) > 107) {
    problems.push(`${what}: the path of a unix socket may have at most 107 bytes, "${path}" has ${Buffer.byteLength(path)}`);
  }
  let db = 0;
  for (const [key, value] of new URLSearchParams(query)) {
    if (key !== 'db') problems.push(`${what} "${url}": the query parameter "${key}" is not known (only db is)`);
    else if (!/^\d+$/.test(value)) problems.push(`${what} "${url}": db must be a number, not "${value}"`);
    else db = Number(value);
  }
  if (problems.length) throw new ConfigError(problems);
  return { path, tls: false, db, display: url };
}

/** All nodes of a url, or list of urls, together with what must fit together between them. */
export function parseRedisUrls(url: string | readonly string[], what = 'REDIS_URL'): readonly RedisTarget[] {
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
  if (targets.length > 1) {
    for (const target of targets) {
      if (target.path !== undefined) problems.push(`${what}: a cluster cannot have the unix socket "${target.display}" as a node`);
      if (target.db !== 0) problems.push(`${what} "${target.display}": a cluster has only database 0`);
      if (target.tls !== targets[0]?.tls) problems.push(`${what}: either all nodes use rediss:// or none does`);
    }
  }
  if (problems.length) throw new ConfigError([...new Set(problems)]);
  return targets;
}

/** Commas separate nodes where a scheme, or host:port, follows; a comma in a password stays. */
function splitList(urls: string): string[] {
  const parts = urls.split(/,(?=\s*(?:rediss?:|unix:))/i);
  return parts.map((p) => p.trim()).filter((p) => p !== '');
}

function decode(text: string, what: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigError([`${what}: the ${part} is not percent-encoded properly`]);
  }
}

function redact(url: string): string {
  return url.replace(/\/\/([^/@]*)@/, (_, user: string) => `//${user.split(':')[0] ?? ''}:***@`);
}

export function openConnection(options: ConnectionOptions): RedisConnection {
  return new Connection(options);
}

interface Waiter {
  readonly go: () => void;
  readonly fail: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** What ioredis is called with to send one command to a chosen node of a cluster: it fills in `redis` itself. */
interface NodeChoice {
  slot: number | null;
  redis?: Redis;
}

class Connection implements RedisConnection {
  readonly isCluster: boolean;
  readonly target: string;
  readonly #options: ConnectionOptions;
  readonly #client: Redis | Cluster;
  readonly #offlineWaitMs: number;
  readonly #listeners = { up: new Set<() => void>(), down: new Set<() => void>() };
  readonly #waiters: Waiter[] = [];
  #status: ConnectionStatus = 'connecting';
  #lastError: Error | undefined;
  #loggedError: string | undefined;

  constructor(options: ConnectionOptions) {
    const targets = parseRedisUrls(options.url);
    const first = targets[0] as RedisTarget;
    this.#options = options;
    this.#offlineWaitMs = options.offlineWaitMs ?? 2_000;
    this.isCluster = targets.length > 1;
    this.target = targets.map((t) => t.display).join(',');
    const settings = settingsOf(options, first);
    this.#client = this.isCluster ? openCluster(targets, settings) : new Redis({ ...settings, ...addressOf(first), retryStrategy });

    const client = this.#client as Redis;
    client.on('ready', () => this.#up());
    client.on('close', () => this.#down());
    client.on('end', () => {
      this.#down();
      // ioredis gives up by itself in a few corners (a connector that throws, a cluster whose seeds cannot be resolved).
      if (this.#status !== 'closed') setTimeout(() => this.#status !== 'closed' && void client.connect().catch(() => {}), 500).unref();
    });
    client.on('error', (error: Error) => {
      this.#lastError = strip(error);
      if (this.#status === 'closed') return;
      if (this.#loggedError === error.message) return;
      this.#loggedError = error.message;
      options.log?.('warn', 'redis connection', { target: this.target, name: options.name, error: error.message });
    });
  }

  #corked = false;

  get status(): ConnectionStatus {
    return this.#status;
  }

  command(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.#whenUp(name, () => this.#send(name, name, args, 'utf8'));
  }

  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.#whenUp(name, () => this.#send(name, name, args, null));
  }

  commandOnMasters(name: string, ...args: readonly RedisArg[]): Promise<readonly { node: string; reply: unknown }[]> {
    return this.#whenUp(name, async () => {
      const client = this.#client;
      if (!(client instanceof Cluster)) return [{ node: this.target, reply: await this.#send(name, name, args, 'utf8') }];
      return Promise.all(
        client.nodes('master').map(async (redis) => {
          const command = new Command(name, [...args], { replyEncoding: 'utf8' });
          redis.sendCommand(command);
          const reply = await settle(name, command);
          return { node: `${redis.options.host}:${redis.options.port}`, reply };
        }),
      );
    });
  }

  async *scan(pattern: string): AsyncIterable<readonly string[]> {
    await this.ready(this.#offlineWaitMs);
    const client = this.#client;
    for (const node of client instanceof Cluster ? client.nodes('master') : [client]) {
      let cursor = '0';
      do {
        const command = new Command('SCAN', [cursor, 'MATCH', pattern, 'COUNT', 1000], { replyEncoding: 'utf8' });
        node.sendCommand(command);
        const [next, keys] = (await settle('SCAN', command)) as [string, string[]];
        cursor = next;
        if (keys.length > 0) yield keys;
      } while (cursor !== '0');
    }
  }

  script(call: ScriptCall, asBuffers: boolean): Promise<unknown> {
    const encoding = asBuffers ? null : 'utf8';
    return this.#whenUp(call.name, () =>
      this.#send('EVALSHA', call.name, scriptArgs(call.sha, call), encoding).catch((error: unknown) => {
        // NOSCRIPT is the one refusal after which sending again is safe: the script did not run.
        if (!isNoScript(error)) throw error;
        return this.#send('EVAL', call.name, scriptArgs(call.source, call), encoding);
      }),
    );
  }

  scriptThen(call: ScriptCall, follow: readonly [string, ...RedisArg[]], asBuffers: boolean): Promise<[unknown, unknown]> {
    const encoding = asBuffers ? null : 'utf8';
    const attempt = async (name: 'EVALSHA' | 'EVAL', first: string): Promise<[unknown, unknown]> => {
      const command = new Command(name, scriptArgs(first, call) as RedisArg[], { replyEncoding: encoding });
      // WAIT has no key: in a cluster ioredis would send it to any node. The shared choice makes it the script's node.
      const choice: NodeChoice | undefined = this.isCluster ? { slot: command.getSlot() } : undefined;
      const [followName, ...followArgs] = follow;
      const script = this.#write(call.name, command, choice);
      const second = this.#write(followName, new Command(followName, followArgs, { replyEncoding: encoding }), choice);
      const [scriptReply, followReply] = await Promise.allSettled([script, second]);
      if (scriptReply.status === 'rejected') throw scriptReply.reason;
      if (followReply.status === 'rejected') throw followReply.reason;
      return [scriptReply.value, followReply.value];
    };
    return this.#whenUp(call.name, async () => {
      try {
        return await attempt('EVALSHA', call.sha);
      } catch (error) {
        if (isNoScript(error)) return attempt('EVAL', call.source);
        if (!isMoved(error)) throw error;
        // A chosen node is not redirected by ioredis. Any command by key makes it learn the new owner.
        await this.#send('EXISTS', 'EXISTS', [call.keys[0] ?? ''], 'utf8');
        return attempt('EVAL', call.source);
      }
    });
  }

  on(event: 'up' | 'down', listener: () => void): void {
    this.#listeners[event].add(listener);
  }

  off(event: 'up' | 'down', listener: () => void): void {
    this.#listeners[event].delete(listener);
  }

  ready(timeoutMs = 10_000): Promise<void> {
    return this.#whenUp('connect', () => Promise.resolve(), timeoutMs);
  }

  duplicate(changes: Partial<Omit<ConnectionOptions, 'url'>> = {}): RedisConnection {
    return new Connection({ ...this.#options, ...changes });
  }

  async close(): Promise<void> {
    if (this.#status === 'closed') return;
    const wasUp = this.#status === 'up';
    this.#closed();
    const client = this.#client;
    const ended = client.status === 'end' ? Promise.resolve() : new Promise<void>((resolve) => void (client as Redis).once('end', () => resolve()));
    if (wasUp) {
      const giveUp = new AbortController();
      // QUIT is answered after everything sent before it; both settle, the race only bounds how long that may take.
      await Promise.race([client.quit().then(() => ended, () => {}), delay(2_000, undefined, { signal: giveUp.signal }).catch(() => {})]);
      giveUp.abort();
    }
    client.disconnect();
  }

  destroy(): void {
    if (this.#status === 'closed') return;
    this.#closed();
    this.#client.disconnect();
  }

  #send(name: string, label: string, args: readonly RedisArg[], replyEncoding: 'utf8' | null): Promise<unknown> {
    return this.#write(label, new Command(name, args as RedisArg[], { replyEncoding }));
  }

  /**
   * Commands sent in the same tick leave in one system call, and come to Redis in one read: at thousands of small scripts a
   * second the calls cost more than the scripts.
   */
  #cork(client: Redis): void {
    const { stream } = client;
    if (this.#corked || !stream || stream.destroyed) return;
    this.#corked = true;
    stream.cork();
    process.nextTick(() => {
      this.#corked = false;
      stream.uncork();
    });
  }

  #write(label: string, command: Command, choice?: NodeChoice): Promise<unknown> {
    if (choice) (this.#client as Cluster).sendCommand(command, undefined, choice);
    else {
      this.#cork(this.#client as Redis);
      this.#client.sendCommand(command);
    }
    return settle(label, command);
  }

  /** Sends now if the connection is up, else waits (bounded, in order) until it is: what waits here was never sent. */
  #whenUp<T>(name: string, send: () => Promise<T>, waitMs = this.#offlineWaitMs): Promise<T> {
    if (this.#status === 'up' && this.#client.status === 'ready') return send();
    if (this.#status === 'closed') return Promise.reject(new ClosedError(`the connection to ${this.target}`));
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        go: () => void send().then(resolve, reject),
        fail: reject,
        timer: setTimeout(() => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          const cause = new Error(`not sent: no connection to ${this.target} for ${waitMs} ms`, { cause: this.#lastError });
          reject(new UnknownOutcomeError(name, { cause }));
        }, waitMs),
      };
      this.#waiters.push(waiter);
    });
  }

  #up(): void {
    if (this.#status === 'closed') return;
    this.#options.log?.(this.#status === 'down' ? 'info' : 'debug', 'redis connection is up', { target: this.target, name: this.#options.name });
    this.#status = 'up';
    this.#loggedError = undefined;
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.go();
    }
    for (const listener of this.#listeners.up) listener();
  }

  #down(): void {
    if (this.#status !== 'up') return;
    this.#status = 'down';
    this.#options.log?.('warn', 'redis connection is down', { target: this.target, name: this.#options.name });
    for (const listener of this.#listeners.down) listener();
  }

  #closed(): void {
    this.#status = 'closed';
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.fail(new ClosedError(`the connection to ${this.target}`));
    }
  }
}

type Settings = Omit<RedisOptions, 'replyMapping' | 'retryStrategy' | 'readOnly' | 'himportFieldsets' | 'sentinels'>;

function settingsOf(options: ConnectionOptions, target: RedisTarget): Settings {
  const timeout = (options.replyTimeoutMs ?? 10_000) + (options.blocking ? (options.maxBlockMs ?? 5_000) : 0);
  return {
    // RESP2: scripts reply with nothing it could not carry, and its shapes are the same on every server version.
    protocol: 2,
    ...(options.name === undefined ? {} : { connectionName: options.name.replace(/\s+/g, '-') }),
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(target.tls ? { tls: {} } : {}),
    db: target.db,
    // At most once: nothing that was written is written again, all that lacks a reply rejects when the socket closes.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // A silent peer: each command has its time, and a socket without data for so long is given up, so that a half-open
    // one does not stay "ready". Not `blockingTimeout`: it would resolve with null, as if the stream were empty.
    commandTimeout: timeout,
    socketTimeout: timeout,
    connectTimeout: Math.min(5_000, timeout),
    disconnectTimeout: 500,
    keepAlive: 10_000,
    // Waits a server that is loading its data.
    enableReadyCheck: true,
    maxLoadingRetryTime: 1_000,
  };
}

function addressOf(target: RedisTarget): Settings {
  // Waiting for the connection is done here, not in ioredis' offline queue: that one still sends what has timed out.
  const offline = { enableOfflineQueue: false };
  return target.path === undefined ? { ...offline, host: target.host as string, port: target.port as number } : { ...offline, path: target.path };
}

/** Never gives up; 50 ms to 2 s, with jitter so that many processes do not come back in step. */
function retryStrategy(times: number): number {
  return Math.min(2_000, 25 * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 2);
}

function openCluster(targets: readonly RedisTarget[], settings: Settings): Cluster {
  return new Cluster(
    targets.map((t) => ({ host: t.host as string, port: t.port as number })),
    {
      redisOptions: settings,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryStrategy,
      // 0: "Connection is closed" must not make ioredis send the command again, it may have been executed.
      retryDelayOnFailover: 0,
      slotsRefreshTimeout: 3_000,
      slotsRefreshInterval: 15_000,
      // A name that resolves to an internal address (AWS): with TLS the certificate is for the name.
      ...(targets[0]?.tls ? { dnsLookup: (address: string, callback: (err: null, address: string) => void) => callback(null, address) } : {}),
    },
  );
}

function scriptArgs(first: string, call: ScriptCall): readonly RedisArg[] {
  return [first, call.keys.length, ...call.keys, ...call.args];
}

function settle(label: string, command: Command): Promise<unknown> {
  return (command.promise as Promise<unknown>).then(undefined, (error: unknown) => {
    throw toMillraceError(label, error);
  });
}

function toMillraceError(command: string, error: unknown): MillraceError {
  const cause = strip(error);
  if (cause instanceof (ReplyError as new () => Error)) return new RedisReplyError(command, cause.message, { cause });
  return new UnknownOutcomeError(command, { cause });
}

/** ioredis hangs the command with all its arguments on the error: payloads and passwords that would end up in logs. */
function strip(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if ('command' in error) delete error.command;
  return error;
}

function isNoScript(error: unknown): boolean {
  return error instanceof RedisReplyError && error.reply === 'NOSCRIPT';
}

function isMoved(error: unknown): boolean {
  return error instanceof RedisReplyError && (error.reply === 'MOVED' || error.reply === 'ASK');
}

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** In all; when it is over the last error is thrown. Default: no end. */
  readonly deadlineMs?: number;
  /** Default 50. */
  readonly minDelayMs?: number;
  /** Default 2,000. */
  readonly maxDelayMs?: number;
  readonly onRetry?: (error: MillraceError, attempt: number, delayMs: number) => void;
  /**
   * What to do when the server takes no writes (full disk, full memory, too few replicas). `throw` (default): the caller is told
   * at once. `retry`: for what has to be written whenever it can be. `retry-memory`: where only memory is missing, which
   * consumers free.
   */
  readonly refusedWrites?: RefusedWrites;
}

export type RefusedWrites = 'throw' | 'retry' | 'retry-memory';

/** Not where another server may be behind the address: a new connection soon says. */
function isRefusedWrite(error: MillraceError): error is RedisReplyError {
  return error instanceof RedisReplyError && error.refuses === 'writes' && !error.reconnect;
}

/**
 * Calls `fn` until it succeeds, fails with an error that is not `retryable`, or the time is over. Only for what is
 * idempotent: an attempt whose outcome is unknown is made again.
 */
export async function withRetry<T>(fn: (attempt: number) => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const start = performance.now();
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (error) {
      if (!(error instanceof MillraceError) || !error.retryable) throw error;
      if (isRefusedWrite(error) && options.refusedWrites !== 'retry' && !(options.refusedWrites === 'retry-memory' && error.reply === 'OOM')) throw error;
      const base = Math.min(options.maxDelayMs ?? 2_000, (options.minDelayMs ?? 50) * 2 ** Math.min(attempt - 1, 20));
      const wait = base * (0.75 + Math.random() / 4);
      if (options.deadlineMs !== undefined && performance.now() - start + wait > options.deadlineMs) throw error;
      options.onRetry?.(error, attempt, wait);
      await delay(wait, undefined, options.signal ? { signal: options.signal } : {}).catch(() => options.signal?.throwIfAborted());
    }
  }
}
