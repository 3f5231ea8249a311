/** The connection to Redis as its callers see it: connection.ts opens one. */
import type { Log } from '../core/log.ts';
import type { RoundTrips } from './round-trips.ts';

export type RedisArg = string | number | Buffer;
export type ConnectionStatus = 'connecting' | 'up' | 'down' | 'closed';

/**
 * Calls that fail at once, with the reason, instead of waiting for a server that cannot serve them.
 * - `none`: a server may soon be there, or be replaced.
 * - `first`: those that wait for the first connection.
 * - `refused`: in addition, those that wait for a new connection, once the server refuses it.
 */
export type FailFast = 'none' | 'first' | 'refused';

export interface ConnectionOptions {
  /** One url, several, or several separated by commas. More than one means a Redis Cluster. */
  readonly url: string | readonly string[];
  /** Name that CLIENT LIST shows. */
  readonly name?: string;
  /**
   * Whether it is for commands that block (XREAD BLOCK). Such commands hold up all behind them, and
   * need a connection of their own.
   */
  readonly blocking?: boolean;
  /** Longest BLOCK asked for on a blocking connection, ms. Default 5,000. */
  readonly maxBlockMs?: number;
  /**
   * Time without a reply after which the outcome of a command is unknown, ms; plus maxBlockMs if
   * blocking. Default 10,000.
   */
  readonly replyTimeoutMs?: number;
  /** Time that a command waits, unsent, while the connection is down, ms. Default 2,000. */
  readonly offlineWaitMs?: number;
  /**
   * Whether to follow redirections, as in a Redis Cluster, although one url is given: a Cluster's
   * configuration endpoint. Default: from the urls.
   */
  readonly cluster?: boolean;
  /**
   * TLS files for rediss://, beside the authorities that Node trusts. The files are read for each
   * connection, so that certificates may be exchanged.
   */
  readonly tls?: TlsFiles;
  /** Default `none`. */
  readonly failFast?: FailFast;
  /**
   * Told when the server says that it cannot serve us now, and the connection is opened anew. See
   * RedisConnection.renew.
   */
  readonly onUnfit?: (reply: string) => void;
  /** Counts the replies. Default: nobody does. */
  readonly roundTrips?: RoundTrips;
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
  /** Whether it writes nothing: EVALSHA_RO is sent, or EVALSHA where only that is granted. */
  readonly readOnly: boolean;
}

export interface RedisSender {
  /** Resolves with the reply, its texts as strings. */
  command(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  /** Resolves with the reply, its texts as Buffers. */
  commandBuffer(name: string, ...args: readonly RedisArg[]): Promise<unknown>;
  script(call: ScriptCall, asBuffers: boolean): Promise<unknown>;
  /**
   * Sends the script, and right behind it `follow` (WAIT, WAITAOF), on the same connection to the
   * same server. Resolves with both replies.
   */
  scriptThen(
    call: ScriptCall,
    follow: readonly [string, ...RedisArg[]],
    asBuffers: boolean,
  ): Promise<[unknown, unknown]>;
}

export interface RedisConnection extends RedisSender {
  readonly isCluster: boolean;
  /** Its address, without passwords. */
  readonly target: string;
  readonly status: ConnectionStatus;
  /** Failure of the last attempt to connect. Null: it is up, or no attempt has failed. */
  readonly trouble: Error | null;
  /**
   * Returns a sender whose calls settle by then (monotonicMs; Infinity: no bound of their own). A
   * command that is unsent by then is not sent any more. A command without a reply by then rejects
   * with UnknownOutcomeError.
   */
  until(ms: number): RedisSender;
  /** Sends the command once to every master. A single server is its own only master. */
  commandOnMasters(
    name: string,
    ...args: readonly RedisArg[]
  ): Promise<readonly { node: string; reply: unknown }[]>;
  /**
   * Finds matching keys of every master, page by page. A key that exists all the time comes at
   * least once.
   */
  scan(pattern: string): AsyncIterable<readonly string[]>;
  on(event: 'up' | 'down', listener: () => void): void;
  off(event: 'up' | 'down', listener: () => void): void;
  /**
   * Resolves once the connection is up.
   * @throws UnknownOutcomeError where it is not up in time, with the last error at the end of its
   *   causes
   * @throws ConnectionSetupError at once, where the server refuses a first connection for good
   */
  ready(timeoutMs?: number): Promise<void>;
  /**
   * Tells that another connection to this address has met a server that cannot serve us. This
   * connection is opened anew too, if it is as old. Commands under way get their reply, or
   * UnknownOutcomeError.
   * @param reply code of the server's refusal
   */
  renew(reply: string): void;
  /** Opens a further connection with the same settings, but for these. */
  duplicate(changes?: Partial<Omit<ConnectionOptions, 'url'>>): RedisConnection;
  /** Waits for the replies still to come (at most 2 s), then closes. */
  close(): Promise<void>;
  /** Closes at once; commands under way reject with UnknownOutcomeError. */
  destroy(): void;
}
