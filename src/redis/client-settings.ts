/**
 * The client of ioredis, opened with our settings. Its own defaults send a command again, and a log
 * must not do that.
 */
import { readFileSync } from 'node:fs';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { ConnectionOptions, TlsFiles } from './contract.ts';
import type { RedisTarget } from './redis-url.ts';

type Settings = Omit<
  RedisOptions,
  'replyMapping' | 'retryStrategy' | 'readOnly' | 'himportFieldsets' | 'sentinels'
>;

/** Opens the client: of a Cluster, or of the first and only target. */
export function openClient(
  targets: readonly RedisTarget[],
  options: ConnectionOptions,
  isCluster: boolean,
  retryStrategy: () => number,
): Redis | Cluster {
  const first = targets[0] as RedisTarget;
  const settings = settingsOf(options, first);
  return isCluster
    ? openCluster(targets, { ...settings, ...loginOf(options, first) }, retryStrategy)
    : new Redis({ ...settings, ...addressOf(first), retryStrategy });
}

function settingsOf(options: ConnectionOptions, target: RedisTarget): Settings {
  const timeout =
    (options.replyTimeoutMs ?? 10_000) + (options.blocking ? (options.maxBlockMs ?? 5_000) : 0);
  return {
    // RESP2: it can carry all replies of the scripts, and its shapes are the same on every server
    // version.
    protocol: 2,
    ...(target.tls ? { tls: tlsOf(options.tls ?? {}) } : {}),
    // setup.ts sends the first commands.
    disableClientInfo: true,
    enableReadyCheck: false,
    // At most once: a written command is never written again. Commands without a reply reject when
    // the socket closes.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    // A silent peer: each command has its time, and a socket without data for that time is closed.
    // Otherwise a half-open socket would stay "ready". `blockingTimeout` is not used: it would
    // resolve with null, as if the stream were empty.
    commandTimeout: timeout,
    socketTimeout: timeout,
    connectTimeout: Math.min(5_000, timeout),
    disconnectTimeout: 500,
    keepAlive: 10_000,
  };
}

/**
 * Settings for the connections that ioredis opens to the nodes of a Cluster by itself. Their
 * database is 0: see parseRedisUrls.
 */
function loginOf({ name }: ConnectionOptions, { username, password }: RedisTarget): Settings {
  return {
    ...(name === undefined ? {} : { connectionName: name.replace(/[^!-~]+/g, '-') }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    // setup.ts does not introduce these connections. ioredis does, and ignores a refusal.
    disableClientInfo: false,
    clientInfoTag: 'millrace',
    // ioredis waits for a node that is loading its data.
    enableReadyCheck: true,
    maxLoadingRetryTime: 1_000,
  };
}

/** Returns TLS settings with getters, which ioredis asks for whenever it connects. */
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
  // Commands wait for the connection here, not in the offline queue of ioredis: that queue still
  // sends commands that have timed out.
  const offline = { enableOfflineQueue: false };
  return target.path === undefined
    ? { ...offline, host: target.host as string, port: target.port as number }
    : { ...offline, path: target.path };
}

/**
 * Returns the pause before the next attempt: 50 ms to 2 s, for ever. The jitter keeps many
 * processes from coming back in step.
 */
export function backoff(times: number): number {
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
      // 0: "Connection is closed" must not make ioredis send the command again. The command may
      // have been executed.
      retryDelayOnFailover: 0,
      slotsRefreshTimeout: 3_000,
      slotsRefreshInterval: 15_000,
      // A name may resolve to an internal address (AWS). With TLS the certificate is for the name.
      ...(targets[0]?.tls
        ? {
            dnsLookup: (address: string, callback: (err: null, address: string) => void) =>
              callback(null, address),
          }
        : {}),
    },
  );
}
