/**
 * The connection to Redis, and (with script.ts above it) the only user of ioredis.
 *
 * What ioredis does by default is wrong for a log: it silently sends a command again whose reply
 * was lost. Here a command is written to the socket at most once, and its promise settles within a
 * bounded time whatever the network does: with the reply, with RedisReplyError (Redis said no), or
 * with UnknownOutcomeError (nobody knows). Sending it again is up to the caller, who knows what is
 * idempotent: see withRetry.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, Command, Redis, ReplyError, type RedisOptions } from 'ioredis';
import {
  ClosedError,
  ConnectionSetupError,
  MillraceError,
  RedisReplyError,
  UnknownOutcomeError,
} from '../core/errors.ts';
import { expectedType, wrongTypeText } from './key-types.ts';
import { parseRedisUrls, type RedisTarget } from './redis-url.ts';
import { setUp } from './setup.ts';

export { parseRedisUrl, parseRedisUrls, type RedisTarget } from './redis-url.ts';

/** Of a call that met a key of another type: so many of its keys are looked at, to name it. */
const MOST_KEYS_ASKED = 256;

export type RedisArg = string | number | Buffer;
export type RedisLog = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;
export type ConnectionStatus = 'connecting' | 'up' | 'down' | 'closed';

export interface ConnectionOptions {
  /** One url, several, or several separated by commas; more than one means a Redis Cluster. */
  readonly url: string | readonly string[];
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /**
   * For commands that block (XREAD BLOCK): give these their own connection, for they hold up all
   * behind them.
   */
  readonly blocking?: boolean;
  /** Longest BLOCK that will be asked for on a blocking connection. Default 5,000. */
  readonly maxBlockMs?: number;
  /**
   * A command without a reply for so long (plus maxBlockMs if blocking) has an unknown outcome.
   * Default 10,000.
   */
  readonly replyTimeoutMs?: number;
  /** How long a command waits, unsent, for a connection that is down. Default 2,000. */
  readonly offlineWaitMs?: number;
  /**
   * Follow redirections, as in a Redis Cluster, although one url is given: a Cluster's
   * configuration endpoint. Default: from the urls.
   */
  readonly cluster?: boolean;
  /**
   * For rediss://, beside what Node trusts. Read anew for each connection, so that certificates may
   * be exchanged.
   */
  readonly tls?: TlsFiles;
  /**
   * Told when the server has said that it cannot serve us now, and the connection is opened anew.
   * See RedisConnection.renew.
   */
  readonly onUnfit?: (reply: string) => void;
  readonly log?: RedisLog;
}

/** Paths of PEM files. */
export interface TlsFiles {
  /** Certificates of the authorities that are trusted, in place of Node's. */
  readonly ca?: string | undefined;
  /** Client certificate, with its chain. */
  readonly cert?: string | undefined;
  /** Its private key. */
  readonly key?: string | undefined;
  readonly keyPassphrase?: string | undefined;
}

/** A script with its keys and arguments, as EVALSHA takes it. See script.ts. */
export interface ScriptCall {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  readonly keys: readonly string[];
  readonly args: readonly RedisArg[];
  /** It writes nothing: where EVALSHA is not granted, EVALSHA_RO does as well. */
  readonly readOnly: boolean;
}

export interface RedisSender {
  /** Replies with strings. */
  command(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  /** Replies with Buffers. */
  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  script(call: ScriptCall, asBuffers: boolean): Promise<unknown>;
  /**
   * The script, and right behind it on the same connection to the same server `follow` (WAIT,
   * WAITAOF).
   */
  scriptThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    asBuffers: boolean,
  ): Promise<[unknown, unknown]>;
}

export interface RedisConnection extends RedisSender {
  readonly isCluster: boolean;
  /** Where it leads, without passwords. */
  readonly target: string;
  readonly status: ConnectionStatus;
  /**
   * The same, for calls that have to settle by then (monotonicMs; Infinity: no bound of their own).
   * What has not been sent by then is not sent any more; what has no reply by then rejects with
   * UnknownOutcomeError.
   */
  until(ms: number): RedisSender;
  /** The command once on every master (a single server is its own only master). */
  commandOnMasters(
    name: string,
    ...args: readonly RedisArg[]
  ): Promise<readonly { node: string; reply: unknown }[]>;
  /**
   * Keys that match, of every master, page by page: each at least once if it is there all the time.
   */
  scan(pattern: string): AsyncIterable<readonly string[]>;
  on(event: 'up' | 'down', listener: () => void): void;
  off(event: 'up' | 'down', listener: () => void): void;
  /**
   * Resolves once the connection is up.
   * @throws UnknownOutcomeError with the last error at the end of its causes, when it is not within
   *   the time; ConnectionSetupError at once, where the server refuses a first connection for good
   */
  ready(timeoutMs?: number): Promise<void>;
  /**
   * Another connection to this address has met a server that cannot serve us (`reply` is the code):
   * this one is opened anew, too, if it is as old. What is under way gets its reply, or
   * UnknownOutcomeError.
   */
  renew(reply: string): void;
  /** A further connection with the same settings, but for these. */
  duplicate(changes?: Partial<Omit<ConnectionOptions, 'url'>>): RedisConnection;
  /** Waits for the replies still to come (at most 2 s), then closes. */
  close(): Promise<void>;
  /** Closes at once; commands under way reject with UnknownOutcomeError. */
  destroy(): void;
}

export function openConnection(options: ConnectionOptions): RedisConnection {
  return new Connection(options);
}

interface Waiter {
  /** It waits for the first connection, and for nothing else: see ready. */
  readonly first: boolean;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * What ioredis is called with to send one command to a chosen node of a cluster: it fills in
 * `redis` itself.
 */
interface NodeChoice {
  slot: number | null;
  redis?: Redis;
}

/**
 * A Cluster that answers nothing but that it is down is left after so long: some of its slots may
 * be served all the same.
 */
const CLUSTER_PATIENCE_MS = 5_000;
const CLUSTER_SETUP_MS = 1_000;
/** A connection that was up for so long was well: the next attempt comes soon. */
const STEADY_MS = 5_000;

class Connection implements RedisConnection {
  readonly isCluster: boolean;
  readonly target: string;
  readonly #options: ConnectionOptions;
  readonly #first: RedisTarget;
  readonly #client: Redis | Cluster;
  readonly #offlineWaitMs: number;
  readonly #listeners = { up: new Set<() => void>(), down: new Set<() => void>() };
  readonly #waiters: Waiter[] = [];
  #status: ConnectionStatus = 'connecting';
  #lastError: Error | undefined;
  #loggedError: string | undefined;
  /** Attempts to connect since the connection was well. */
  #attempts = 0;
  #upSinceMs = 0;
  /** Grows with every socket: what belongs to an older one is void. */
  #epoch = 0;
  #wasUp = false;
  /** Attempts that are counted on when a server is left soon after it was found. */
  #left = 0;
  /** A server has refused writes as a replica: the next one has to be a master. */
  #wantsMaster = false;
  /** In a Cluster: replies that were no refusal of everything, and since when there were none. */
  #answers = 0;
  #downSince: { readonly ms: number; readonly answers: number } | null = null;

  constructor(options: ConnectionOptions) {
    const targets = parseRedisUrls(options.url);
    const first = targets[0] as RedisTarget;
    this.#options = options;
    this.#first = first;
    this.#offlineWaitMs = options.offlineWaitMs ?? 2_000;
    this.isCluster = targets.length > 1 || options.cluster === true;
    this.target = targets.map((t) => t.display).join(',');
    const settings = settingsOf(options, first);
    const retryStrategy = (): number => backoff(++this.#attempts);
    this.#client = this.isCluster
      ? openCluster(targets, { ...settings, ...loginOf(options, first) }, retryStrategy)
      : new Redis({ ...settings, ...addressOf(first), retryStrategy });

    const client = this.#client as Redis;
    client.on('ready', () => void this.#begin());
    client.on('close', () => {
      this.#epoch++;
      this.#down();
    });
    client.on('end', () => {
      this.#epoch++;
      this.#down();
      // ioredis gives up by itself in a few corners (a connector that throws, a cluster whose seeds
      // cannot be resolved).
      if (this.#status !== 'closed')
        setTimeout(
          () => this.#status !== 'closed' && void client.connect().catch(() => {}),
          500,
        ).unref();
    });
    client.on('error', (error: Error) => this.#failed(strip(error)));
  }

  /** The socket is there: it is used once everything that REDIS_URL asks for has been granted. */
  async #begin(): Promise<void> {
    const epoch = this.#epoch;
    const client = this.#client;
    try {
      await (client instanceof Cluster
        ? this.#setUpCluster(client)
        : within(this.#setupMs, this.#setUp(client)));
    } catch (error) {
      if (epoch !== this.#epoch || this.#status === 'closed') return;
      this.#failed(error as Error);
      client.disconnect(true);
      return;
    }
    if (epoch === this.#epoch) this.#up();
  }

  get #setupMs(): number {
    return Math.min(5_000, this.#options.replyTimeoutMs ?? 10_000);
  }

  #setUp(node: Redis): Promise<void> {
    const send = (name: string, args: readonly RedisArg[]): Promise<unknown> => {
      const command = new Command(name, [...args], { replyEncoding: 'utf8' });
      void node.sendCommand(command);
      return settle(name, command);
    };
    const display = this.target;
    // In a Cluster ioredis opens connections as it needs them, and names them; it also waits for
    // nodes that load their data.
    if (this.isCluster) return setUp(send, { login: this.#first, display });
    return setUp(send, {
      login: this.#first,
      display,
      rest: { db: this.#first.db, name: this.#options.name, master: this.#wantsMaster },
    });
  }

  /**
   * ioredis is content with some refusals of a password. A node that cannot be asked now is no
   * reason to do without the others.
   */
  async #setUpCluster(client: Cluster): Promise<void> {
    if (this.#first.password === undefined && this.#first.username === undefined) return;
    await Promise.all(
      client.nodes('master').map((node) =>
        within(CLUSTER_SETUP_MS, this.#setUp(node)).catch((error: unknown) => {
          if (error instanceof ConnectionSetupError) throw error;
        }),
      ),
    );
  }

  #failed(error: Error): void {
    this.#lastError = error;
    if (this.#status === 'closed') return;
    if (error instanceof ConnectionSetupError && !error.retryable && !this.#wasUp) {
      for (const waiter of [...this.#waiters]) if (waiter.first) this.#giveUp(waiter, error);
    }
    if (this.#loggedError === error.message) return;
    this.#loggedError = error.message;
    this.#options.log?.('warn', 'redis connection', {
      target: this.target,
      name: this.#options.name,
      error: error.message,
    });
  }

  #giveUp(waiter: Waiter, error: Error): void {
    clearTimeout(waiter.timer);
    this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    waiter.fail(error);
  }

  #corked = false;
  /** How scripts that only read are sent: a user may have the right to one of the two. */
  #reading: '' | '_RO' = '';

  get status(): ConnectionStatus {
    return this.#status;
  }

  command(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.#whenUp(name, () => this.#send(name, name, args, 'utf8'));
  }

  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown> {
    return this.#whenUp(name, () => this.#send(name, name, args, null));
  }

  until(ms: number): RedisSender {
    if (ms === Infinity) return this;
    const call =
      (encoding: 'utf8' | null) =>
      (name: string, ...args: readonly RedisArg[]): Promise<unknown> =>
        this.#whenUp(
          name,
          () => by(ms, name, this.#send(name, name, args, encoding)),
          this.#waitUntil(ms),
        );
    return {
      command: call('utf8'),
      commandBuffer: call(null),
      script: (script, asBuffers) => this.#script(script, asBuffers, ms),
      scriptThen: (script, follow, asBuffers) => this.#scriptThen(script, follow, asBuffers, ms),
    };
  }

  #waitUntil(ms: number): number {
    return Math.max(0, Math.min(this.#offlineWaitMs, ms - performance.now()));
  }

  commandOnMasters(
    name: string,
    ...args: readonly RedisArg[]
  ): Promise<readonly { node: string; reply: unknown }[]> {
    return this.#whenUp(name, async () => {
      const client = this.#client;
      if (!(client instanceof Cluster))
        return [{ node: this.target, reply: await this.#send(name, name, args, 'utf8') }];
      return Promise.all(
        client.nodes('master').map(async (redis) => {
          const command = new Command(name, [...args], { replyEncoding: 'utf8' });
          redis.sendCommand(command);
          const reply = await this.#settle(name, command);
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
        const command = new Command('SCAN', [cursor, 'MATCH', pattern, 'COUNT', 1000], {
          replyEncoding: 'utf8',
        });
        node.sendCommand(command);
        const [next, keys] = (await this.#settle('SCAN', command)) as [string, string[]];
        cursor = next;
        if (keys.length > 0) yield keys;
      } while (cursor !== '0');
    }
  }

  script(call: ScriptCall, asBuffers: boolean): Promise<unknown> {
    return this.#script(call, asBuffers, Infinity);
  }

  #script(call: ScriptCall, asBuffers: boolean, untilMs: number): Promise<unknown> {
    const encoding = asBuffers ? null : 'utf8';
    const send = (form: '' | '_RO'): Promise<unknown> =>
      by(
        untilMs,
        call.name,
        this.#send(`EVALSHA${form}`, call.name, scriptArgs(call.sha, call), encoding),
      ).catch((error: unknown) => {
        // NOSCRIPT is the one refusal after which sending again is safe: the script did not run.
        if (!isNoScript(error)) throw error;
        return by(
          untilMs,
          call.name,
          this.#send(`EVAL${form}`, call.name, scriptArgs(call.source, call), encoding),
        );
      });
    const read = async (): Promise<unknown> => {
      const form = this.#reading;
      try {
        return await send(form);
      } catch (error) {
        if (!(error instanceof RedisReplyError) || error.reply !== 'NOPERM') throw error;
        const other = form === '' ? '_RO' : '';
        const reply = await send(other);
        this.#reading = other;
        return reply;
      }
    };
    return this.#whenUp(
      call.name,
      () => (call.readOnly ? read() : send('')),
      this.#waitUntil(untilMs),
    );
  }

  scriptThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    asBuffers: boolean,
  ): Promise<[unknown, unknown]> {
    return this.#scriptThen(call, follow, asBuffers, Infinity);
  }

  #scriptThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    asBuffers: boolean,
    untilMs: number,
  ): Promise<[unknown, unknown]> {
    const encoding = asBuffers ? null : 'utf8';
    const attempt = async (
      name: 'EVALSHA' | 'EVAL',
      first: string,
    ): Promise<[unknown, unknown]> => {
      const command = new Command(name, scriptArgs(first, call) as RedisArg[], {
        replyEncoding: encoding,
      });
      // WAIT has no key: in a cluster ioredis would send it to any node. The shared choice makes it
      // the script's node.
      const choice: NodeChoice | undefined = this.isCluster
        ? { slot: command.getSlot() }
        : undefined;
      const [followName, ...followArgs] = follow;
      const script = this.#write(call.name, command, choice);
      const second = this.#write(
        followName,
        new Command(followName, followArgs, { replyEncoding: encoding }),
        choice,
      );
      const [scriptReply, followReply] = await by(
        untilMs,
        call.name,
        Promise.allSettled([script, second]),
      );
      if (scriptReply.status === 'rejected') throw scriptReply.reason;
      if (followReply.status === 'rejected') throw followReply.reason;
      return [scriptReply.value, followReply.value];
    };
    return this.#whenUp(
      call.name,
      async () => {
        try {
          return await attempt('EVALSHA', call.sha);
        } catch (error) {
          if (isNoScript(error)) return attempt('EVAL', call.source);
          if (!isMoved(error)) throw error;
          // A chosen node is not redirected by ioredis. Any command by key makes it learn the new
          // owner.
          await this.#send('EXISTS', 'EXISTS', [call.keys[0] ?? ''], 'utf8');
          return attempt('EVAL', call.source);
        }
      },
      this.#waitUntil(untilMs),
    );
  }

  on(event: 'up' | 'down', listener: () => void): void {
    this.#listeners[event].add(listener);
  }

  off(event: 'up' | 'down', listener: () => void): void {
    this.#listeners[event].delete(listener);
  }

  ready(timeoutMs = 10_000): Promise<void> {
    return this.#whenUp('connect', () => Promise.resolve(), timeoutMs, true);
  }

  duplicate(changes: Partial<Omit<ConnectionOptions, 'url'>> = {}): RedisConnection {
    return new Connection({ ...this.#options, ...changes });
  }

  async close(): Promise<void> {
    if (this.#status === 'closed') return;
    const wasUp = this.#status === 'up';
    this.#closed();
    const client = this.#client;
    const ended =
      client.status === 'end'
        ? Promise.resolve()
        : new Promise<void>((resolve) => void (client as Redis).once('end', () => resolve()));
    if (wasUp) {
      const giveUp = new AbortController();
      // QUIT is answered after everything sent before it; both settle, the race only bounds how
      // long that may take.
      await Promise.race([
        client.quit().then(
          () => ended,
          () => {},
        ),
        delay(2_000, undefined, { signal: giveUp.signal }).catch(() => {}),
      ]);
      giveUp.abort();
    }
    client.disconnect();
  }

  destroy(): void {
    if (this.#status === 'closed') return;
    this.#closed();
    this.#client.disconnect();
  }

  #send(
    name: string,
    label: string,
    args: readonly RedisArg[],
    replyEncoding: 'utf8' | null,
  ): Promise<unknown> {
    return this.#write(label, new Command(name, args as RedisArg[], { replyEncoding }));
  }

  /**
   * Commands sent in the same tick leave in one system call, and come to Redis in one read: at
   * thousands of small scripts a second the calls cost more than the scripts.
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
    return this.#settle(label, command);
  }

  #settle(label: string, command: Command): Promise<unknown> {
    const reply = settle(label, command, (error) => this.#leave(error.reply)).catch(
      (error: unknown) => this.#nameKey(label, command, error),
    );
    if (!this.isCluster) return reply;
    return reply.then((value) => {
      this.#answers++;
      return value;
    });
  }

  /** Redis does not say which key is of another type. */
  async #nameKey(label: string, command: Command, error: unknown): Promise<never> {
    if (
      !(error instanceof RedisReplyError) ||
      error.reply !== 'WRONGTYPE' ||
      command.name === 'type'
    )
      throw error;
    for (const key of command.getKeys().slice(0, MOST_KEYS_ASKED).map(String)) {
      const expected = expectedType(key);
      const found =
        expected === null
          ? null
          : await this.#send('TYPE', 'TYPE', [key], 'utf8').catch(() => null);
      if (typeof found !== 'string' || found === 'none' || found === expected) continue;
      throw new RedisReplyError(label, wrongTypeText(key, found, expected as string), {
        cause: error,
      });
    }
    throw error;
  }

  /**
   * The server has said that it cannot serve us now: to a new connection, with the address resolved
   * again.
   */
  #leave(reply: string): void {
    if (this.#status !== 'up' || (this.isCluster && !this.#clusterIsLost())) return;
    this.#options.log?.('warn', 'the server cannot serve us: connecting anew', {
      target: this.target,
      name: this.#options.name,
      reply,
    });
    this.renew(reply);
    this.#options.onUnfit?.(reply);
  }

  /**
   * One node's refusal does not mean the others, and their commands are under way on this
   * connection, too.
   */
  #clusterIsLost(): boolean {
    const now = performance.now();
    if (this.#downSince?.answers !== this.#answers)
      this.#downSince = { ms: now, answers: this.#answers };
    return now - this.#downSince.ms >= CLUSTER_PATIENCE_MS;
  }

  renew(reply: string): void {
    if (this.#status === 'closed') return;
    this.#wantsMaster ||= reply === 'READONLY' || reply === 'UNBLOCKED';
    // One that is about to be opened finds out for itself.
    if (this.#status !== 'up') return;
    const steady = performance.now() - this.#upSinceMs >= STEADY_MS;
    this.#left = steady ? 0 : this.#left + 1;
    this.#attempts = this.#left;
    this.#down();
    this.#client.disconnect(true);
  }

  /**
   * Sends now if the connection is up, else waits (bounded, in order) until it is: what waits here
   * was never sent.
   */
  #whenUp<T>(
    name: string,
    send: () => Promise<T>,
    waitMs = this.#offlineWaitMs,
    first = false,
  ): Promise<T> {
    if (this.#status === 'up' && this.#client.status === 'ready') return send();
    if (this.#status === 'closed')
      return Promise.reject(new ClosedError(`the connection to ${this.target}`));
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        first,
        go: () => void send().then(resolve, reject),
        fail: reject,
        timer: setTimeout(() => {
          const cause = new Error(`not sent: no connection to ${this.target} for ${waitMs} ms`, {
            cause: this.#lastError,
          });
          const why = first ? { notSent: `no connection to ${this.target} for ${waitMs} ms` } : {};
          this.#giveUp(waiter, new UnknownOutcomeError(name, { cause, ...why }));
        }, waitMs),
      };
      this.#waiters.push(waiter);
    });
  }

  #up(): void {
    if (this.#status === 'closed') return;
    this.#options.log?.(this.#status === 'down' ? 'info' : 'debug', 'redis connection is up', {
      target: this.target,
      name: this.#options.name,
    });
    this.#status = 'up';
    this.#wasUp = true;
    this.#attempts = 0;
    this.#upSinceMs = performance.now();
    this.#loggedError = undefined;
    this.#downSince = null;
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.go();
    }
    for (const listener of this.#listeners.up) listener();
  }

  #down(): void {
    if (this.#status !== 'up') return;
    this.#status = 'down';
    this.#options.log?.('warn', 'redis connection is down', {
      target: this.target,
      name: this.#options.name,
    });
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

type Settings = Omit<
  RedisOptions,
  'replyMapping' | 'retryStrategy' | 'readOnly' | 'himportFieldsets' | 'sentinels'
>;

function settingsOf(options: ConnectionOptions, target: RedisTarget): Settings {
  const timeout =
    (options.replyTimeoutMs ?? 10_000) + (options.blocking ? (options.maxBlockMs ?? 5_000) : 0);
  return {
    // RESP2: scripts reply with nothing it could not carry, and its shapes are the same on every
    // server version.
    protocol: 2,
    ...(target.tls ? { tls: tlsOf(options.tls ?? {}) } : {}),
    // What is said first is in setup.ts.
    disableClientInfo: true,
    enableReadyCheck: false,
    // At most once: nothing that was written is written again, all that lacks a reply rejects when
    // the socket closes.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // A silent peer: each command has its time, and a socket without data for so long is given up,
    // so that a half-open one does not stay "ready". Not `blockingTimeout`: it would resolve with
    // null, as if the stream were empty.
    commandTimeout: timeout,
    socketTimeout: timeout,
    connectTimeout: Math.min(5_000, timeout),
    disconnectTimeout: 500,
    keepAlive: 10_000,
  };
}

/**
 * For the connections that ioredis opens to the nodes of a Cluster by itself. Their database is 0:
 * see parseRedisUrls.
 */
function loginOf({ name }: ConnectionOptions, { username, password }: RedisTarget): Settings {
  return {
    ...(name === undefined ? {} : { connectionName: name.replace(/[^!-~]+/g, '-') }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    // Waits for a node that is loading its data.
    enableReadyCheck: true,
    maxLoadingRetryTime: 1_000,
  };
}

/** Getters: ioredis asks for them whenever it connects. */
function tlsOf({ ca, cert, key, keyPassphrase }: TlsFiles): object {
  const read = (path: string | undefined): Buffer | undefined =>
    path === undefined ? undefined : readFileSync(path);
  return {
    get ca() {
      return read(ca);
    },
    get cert() {
      return read(cert);
    },
    get key() {
      return read(key);
    },
    ...(keyPassphrase === undefined ? {} : { passphrase: keyPassphrase }),
  };
}

function addressOf(target: RedisTarget): Settings {
  // Waiting for the connection is done here, not in ioredis' offline queue: that one still sends
  // what has timed out.
  const offline = { enableOfflineQueue: false };
  return target.path === undefined
    ? { ...offline, host: target.host as string, port: target.port as number }
    : { ...offline, path: target.path };
}

/** Never gives up; 50 ms to 2 s, with jitter so that many processes do not come back in step. */
function backoff(times: number): number {
  return Math.min(2_000, 25 * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 2);
}

function openCluster(
  targets: readonly RedisTarget[],
  settings: Settings,
  retryStrategy: () => number,
): Cluster {
  return new Cluster(
    targets.map((t) => ({ host: t.host as string, port: t.port as number })),
    {
      redisOptions: settings,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryStrategy,
      // 0: "Connection is closed" must not make ioredis send the command again, it may have been
      // executed.
      retryDelayOnFailover: 0,
      slotsRefreshTimeout: 3_000,
      slotsRefreshInterval: 15_000,
      // A name that resolves to an internal address (AWS): with TLS the certificate is for the
      // name.
      ...(targets[0]?.tls
        ? {
            dnsLookup: (address: string, callback: (err: null, address: string) => void) =>
              callback(null, address),
          }
        : {}),
    },
  );
}

/**
 * @param untilMs by performance.now()
 * @throws UnknownOutcomeError when there is no reply by then
 */
export async function by<T>(untilMs: number, command: string, reply: Promise<T>): Promise<T> {
  if (untilMs === Infinity) return reply;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const leave = (): void =>
      reject(
        new UnknownOutcomeError(command, {
          cause: new Error('no reply within the deadline of the call'),
        }),
      );
    timer = setTimeout(leave, Math.max(0, untilMs - performance.now()));
  });
  reply.catch(() => undefined);
  try {
    return await Promise.race([reply, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @throws Error when the promise has not settled in time */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Error(
            `the server has not answered the first commands on a new connection for ${ms} ms`,
          ),
        ),
      ms,
    );
  });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function scriptArgs(first: string, call: ScriptCall): readonly RedisArg[] {
  return [first, call.keys.length, ...call.keys, ...call.args];
}

function settle(
  label: string,
  command: Command,
  unfit?: (error: RedisReplyError) => void,
): Promise<unknown> {
  return (command.promise as Promise<unknown>).then(undefined, (error: unknown) => {
    const told = toMillraceError(label, error);
    if (told instanceof RedisReplyError && told.reconnect) unfit?.(told);
    throw told;
  });
}

function toMillraceError(command: string, error: unknown): MillraceError {
  const cause = strip(error);
  if (cause instanceof (ReplyError as new () => Error))
    return new RedisReplyError(command, (cause as Error).message, { cause });
  return new UnknownOutcomeError(command, { cause });
}

/**
 * ioredis hangs the command with all its arguments on the error, and errors on errors: payloads and
 * passwords that would end up in logs.
 */
function strip(thrown: unknown, depth = 0): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const error: Error & { command?: unknown; lastNodeError?: unknown } = thrown;
  if ('command' in error) delete error.command;
  if (depth > 5) return error;
  for (const name of ['cause', 'lastNodeError', 'previousErrors', 'errors']) {
    const inner = (error as unknown as Record<string, unknown>)[name];
    for (const one of Array.isArray(inner) ? inner : [inner])
      if (one instanceof Error) strip(one, depth + 1);
  }
  // Which of the nodes' refusals it was says more than that all of them failed.
  const { lastNodeError } = error;
  if (lastNodeError instanceof Error && !error.message.includes(lastNodeError.message))
    error.message = `${error.message} ${lastNodeError.message}`;
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
   * What to do when the server takes no writes (full disk, full memory, too few replicas). `throw`
   * (default): the caller is told at once. `retry`: for what has to be written whenever it can be.
   * `retry-memory`: where only memory is missing, which consumers free.
   */
  readonly refusedWrites?: RefusedWrites;
}

export type RefusedWrites = 'throw' | 'retry' | 'retry-memory';

/** Not where another server may be behind the address: a new connection soon says. */
function isRefusedWrite(error: MillraceError): error is RedisReplyError {
  return error instanceof RedisReplyError && error.refuses === 'writes' && !error.reconnect;
}

/**
 * Calls `fn` until it succeeds, fails with an error that is not `retryable`, or the time is over.
 * Only for what is idempotent: an attempt whose outcome is unknown is made again.
 *
 * @param fn is told the attempt's number, from 1, and until when it has to settle: for
 *   RedisConnection.until. Infinity without a deadline
 * @throws the last error; where an attempt before it may have had its effect, and the last one says
 *   that it had none, UnknownOutcomeError
 */
export async function withRetry<T>(
  fn: (attempt: number, untilMs: number) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  const untilMs = performance.now() + (options.deadlineMs ?? Infinity);
  let unknown: MillraceError | null = null;
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await fn(attempt, untilMs);
    } catch (error) {
      if (!(error instanceof MillraceError) || !error.retryable) throw error;
      if (error.outcomeUnknown) unknown = error;
      if (
        isRefusedWrite(error) &&
        options.refusedWrites !== 'retry' &&
        !(options.refusedWrites === 'retry-memory' && error.reply === 'OOM')
      )
        throw unknown ?? error;
      const base = Math.min(
        options.maxDelayMs ?? 2_000,
        (options.minDelayMs ?? 50) * 2 ** Math.min(attempt - 1, 20),
      );
      const wait = base * (0.75 + Math.random() / 4);
      if (performance.now() + wait > untilMs)
        throw unknown !== null && !error.outcomeUnknown ? unknown : error;
      options.onRetry?.(error, attempt, wait);
      await delay(wait, undefined, options.signal ? { signal: options.signal } : {}).catch(() =>
        options.signal?.throwIfAborted(),
      );
    }
  }
}
