/**
 * The connection to Redis; the only user of ioredis, with script.ts above it.
 *
 * The defaults of ioredis are wrong for a log: it silently sends a command again whose reply was
 * lost. Here a command is written to the socket at most once. Its promise settles within a bounded
 * time, whatever the network does:
 * - with the reply,
 * - with RedisReplyError: Redis refused the command,
 * - with UnknownOutcomeError: nobody knows the outcome.
 *
 * The caller decides whether to send the command again, because the caller knows whether it is
 * idempotent: see withRetry.
 */
import { Cluster, Command, type Redis } from 'ioredis';
import { monotonicMs } from '../core/clock.ts';
import { ClosedError } from '../core/errors/append-errors.ts';
import { ConnectionSetupError, UnknownOutcomeError } from '../core/errors/server-errors.ts';
import { backoff, openClient } from './client-settings.ts';
import { ClusterOutage } from './cluster-outage.ts';
import type {
  ConnectionOptions,
  ConnectionStatus,
  RedisArg,
  RedisConnection,
  RedisSender,
  ScriptCall,
} from './contract.ts';
import { Cork } from './cork.ts';
import { askMasters, scanMasters, type MasterReply } from './masters.ts';
import { quitClient } from './quit-client.ts';
import { parseRedisUrls, type RedisTarget } from './redis-url.ts';
import { settleReply, strip } from './replies.ts';
import type { RoundTrips } from './round-trips.ts';
import { settledBy } from './retry.ts';
import { ScriptSender, type NodeChoice, type ReplyEncoding } from './send-script.ts';
import { setUpClient } from './set-up-client.ts';
import type { SetupOptions } from './setup.ts';
import { Waiters } from './waiters.ts';
import { throwNamingKey } from './wrong-type.ts';

export function openConnection(options: ConnectionOptions): RedisConnection {
  return new Connection(options);
}

/**
 * Time after which a connection that is up counts as steady, ms: the next attempt then comes soon.
 */
const STEADY_MS = 5_000;
/** Time for the first commands on a connection that fails fast, ms. */
const FAST_SETUP_MS = 4_000;

class Connection implements RedisConnection {
  readonly isCluster: boolean;
  readonly target: string;
  readonly #options: ConnectionOptions;
  readonly #first: RedisTarget;
  readonly #client: Redis | Cluster;
  readonly #offlineWaitMs: number;
  readonly #listeners = { up: new Set<() => void>(), down: new Set<() => void>() };
  readonly #waiters = new Waiters();
  readonly #scripts: ScriptSender;
  #status: ConnectionStatus = 'connecting';
  #lastError: Error | undefined;
  #loggedError: string | undefined;
  /** Attempts to connect since the connection was well. */
  #attempts = 0;
  #upSinceMs = 0;
  /** Number of the socket. Work of an older socket is void. */
  #epoch = 0;
  #wasUp = false;
  /**
   * Servers in a row that were left soon after they were found. The attempts are counted on from
   * there.
   */
  #left = 0;
  /** Whether the next server has to be a master, because one has refused writes as a replica. */
  #wantsMaster = false;
  #closing: Promise<void> | null = null;
  readonly #cork = new Cork();
  readonly #outage = new ClusterOutage();
  readonly #trips: RoundTrips | undefined;

  constructor(options: ConnectionOptions) {
    const targets = parseRedisUrls(options.url);
    const first = targets[0] as RedisTarget;
    this.#options = options;
    this.#first = first;
    this.#trips = options.blocking ? undefined : options.roundTrips;
    this.#offlineWaitMs = options.offlineWaitMs ?? 2_000;
    this.isCluster = targets.length > 1 || options.cluster === true;
    this.target = targets.map((t) => t.display).join(',');
    this.#scripts = new ScriptSender({
      isCluster: this.isCluster,
      write: (label, command, choice) => this.#write(label, command, choice),
    });
    const retryStrategy = (): number => backoff(++this.#attempts);
    this.#client = openClient(targets, options, this.isCluster, retryStrategy);

    const client = this.#client as Redis;
    client.on('ready', () => void this.#begin());
    client.on('close', () => {
      this.#epoch++;
      this.#down();
    });
    client.on('end', () => {
      this.#epoch++;
      this.#down();
      // ioredis gives up by itself in a few corners: a connector that throws, or a Cluster whose
      // seeds cannot be resolved.
      if (this.#status !== 'closed')
        setTimeout(
          () => this.#status !== 'closed' && void client.connect().catch(() => {}),
          500,
        ).unref();
    });
    client.on('error', (error: Error) => this.#failed(strip(error)));
  }

  /** Uses the new socket once the server has granted everything that REDIS_URL asks for. */
  async #begin(): Promise<void> {
    const epoch = this.#epoch;
    try {
      await setUpClient(this.#client, this.#setup, this.#setupMs);
    } catch (error) {
      if (epoch !== this.#epoch || this.#status === 'closed') return;
      this.#failed(error as Error);
      this.#client.disconnect(true);
      return;
    }
    if (epoch === this.#epoch) this.#up();
  }

  get #setupMs(): number {
    const { failFast = 'none', replyTimeoutMs = 10_000 } = this.#options;
    return Math.min(failFast === 'none' ? 5_000 : FAST_SETUP_MS, replyTimeoutMs);
  }

  get #setup(): SetupOptions {
    const { db } = this.#first;
    return {
      login: this.#first,
      display: this.target,
      rest: { db, name: this.#options.name, master: this.#wantsMaster },
    };
  }

  #failed(error: Error): void {
    this.#lastError = error;
    if (this.#status === 'closed') return;
    this.#failWaiting(error);
    if (this.#loggedError === error.message) return;
    this.#loggedError = error.message;
    this.#options.log?.('warn', 'redis connection', {
      target: this.target,
      name: this.#options.name,
      error: error.message,
    });
  }

  /** Fails the calls that are not to wait for another attempt. See FailFast. */
  #failWaiting(error: Error): void {
    const { failFast = 'none' } = this.#options;
    const refused = error instanceof ConnectionSetupError;
    if (this.#wasUp) {
      if (refused && failFast === 'refused') this.#waiters.failAll(() => error);
    } else if (refused && (!error.retryable || failFast !== 'none')) this.#waiters.failFirst(error);
    else if (failFast !== 'none') {
      const notSent = `no connection to ${this.target}`;
      const cause = new Error(`not sent: ${notSent}`, { cause: error });
      this.#waiters.failFirst(new UnknownOutcomeError('connect', { cause, notSent }));
    }
  }

  get status(): ConnectionStatus {
    return this.#status;
  }

  get trouble(): Error | null {
    return this.#status === 'up' ? null : (this.#lastError ?? null);
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
      (encoding: ReplyEncoding) =>
      (name: string, ...args: readonly RedisArg[]): Promise<unknown> =>
        this.#whenUp(
          name,
          () => settledBy(ms, name, this.#send(name, name, args, encoding)),
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
    return Math.max(0, Math.min(this.#offlineWaitMs, ms - monotonicMs()));
  }

  commandOnMasters(name: string, ...args: readonly RedisArg[]): Promise<readonly MasterReply[]> {
    return this.#whenUp(name, async () => {
      if (this.#client instanceof Cluster)
        return askMasters(this.#client, name, args, (label, command) =>
          this.#settle(label, command),
        );
      return [{ node: this.target, reply: await this.#send(name, name, args, 'utf8') }];
    });
  }

  async *scan(pattern: string): AsyncIterable<readonly string[]> {
    await this.ready(this.#offlineWaitMs);
    yield* scanMasters(this.#client, pattern, (label, command) => this.#settle(label, command));
  }

  script(call: ScriptCall, asBuffers: boolean): Promise<unknown> {
    return this.#script(call, asBuffers, Infinity);
  }

  #script(call: ScriptCall, asBuffers: boolean, untilMs: number): Promise<unknown> {
    return this.#whenUp(
      call.name,
      () => this.#scripts.send(call, asBuffers ? null : 'utf8', untilMs),
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
    return this.#whenUp(
      call.name,
      () => this.#scripts.sendThen(call, follow, asBuffers ? null : 'utf8', untilMs),
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

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#status === 'closed') return;
    const wasUp = this.#status === 'up';
    this.#closed();
    if (wasUp) await quitClient(this.#client);
    this.#client.disconnect();
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
    replyEncoding: ReplyEncoding,
  ): Promise<unknown> {
    return this.#write(label, new Command(name, args as RedisArg[], { replyEncoding }));
  }

  #write(label: string, command: Command, choice?: NodeChoice): Promise<unknown> {
    if (choice) (this.#client as Cluster).sendCommand(command, undefined, choice);
    else {
      this.#cork.hold(this.#client as Redis);
      this.#client.sendCommand(command);
    }
    return this.#settle(label, command);
  }

  #settle(label: string, command: Command): Promise<unknown> {
    const sentMs = monotonicMs();
    const reply = settleReply(label, command, {
      unfit: (error) => this.#leave(error.reply),
      // The time of a blocking command is that of its wait.
      answered: () => this.#trips?.answered(label, sentMs),
    }).catch((error: unknown) =>
      throwNamingKey(error, label, command, (key) => this.#send('TYPE', 'TYPE', [key], 'utf8')),
    );
    if (!this.isCluster) return reply;
    return reply.then((value) => {
      this.#outage.answered();
      return value;
    });
  }

  /**
   * Leaves a server that says that it cannot serve us now: connects anew, and resolves the address
   * again.
   */
  #leave(reply: string): void {
    if (this.#status !== 'up' || (this.isCluster && !this.#outage.lasts())) return;
    this.#options.log?.('warn', 'the server cannot serve us: connecting anew', {
      target: this.target,
      name: this.#options.name,
      reply,
    });
    this.renew(reply);
    this.#options.onUnfit?.(reply);
  }

  renew(reply: string): void {
    if (this.#status === 'closed') return;
    this.#wantsMaster ||= reply === 'READONLY' || reply === 'UNBLOCKED';
    // A connection that is about to be opened finds out by itself.
    if (this.#status !== 'up') return;
    const steady = monotonicMs() - this.#upSinceMs >= STEADY_MS;
    this.#left = steady ? 0 : this.#left + 1;
    this.#attempts = this.#left;
    this.#down();
    this.#client.disconnect(true);
  }

  /**
   * Sends now if the connection is up. Otherwise the call waits, bounded and in order, until it is
   * up. A waiting call was never sent.
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
    const late = (): Error => {
      const cause = new Error(`not sent: no connection to ${this.target} for ${waitMs} ms`, {
        cause: this.#lastError,
      });
      const why = first ? { notSent: `no connection to ${this.target} for ${waitMs} ms` } : {};
      return new UnknownOutcomeError(name, { cause, ...why });
    };
    return this.#waiters.add(send, waitMs, late, first);
  }

  #up(): void {
    if (this.#status === 'closed') return;
    this.#options.log?.(this.#status === 'down' ? 'info' : 'debug', 'redis connection is up', {
      target: this.target,
      name: this.#options.name,
    });
    this.#status = 'up';
    this.#lastError = undefined;
    this.#wasUp = true;
    this.#attempts = 0;
    this.#upSinceMs = monotonicMs();
    this.#loggedError = undefined;
    this.#outage.end();
    this.#waiters.release();
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
    this.#waiters.failAll(() => new ClosedError(`the connection to ${this.target}`));
  }
}
