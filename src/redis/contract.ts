/** The connection to Redis as its callers see it: connection.ts opens one. */
import type { Log } from '../core/log.ts';

export type RedisArg = string | number | Buffer;
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
  readonly log?: Log;
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
