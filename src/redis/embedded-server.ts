/**
 * The embedded default: a private redis-server as a child process, on a unix socket, with its data
 * beside the project.
 *
 * Three promises, and what keeps them:
 * - It ends with its owner, even one that is killed with -9: a supervisor (a few lines of sh) holds
 *   one end of a pipe to the owner, and asks the server to shut down once the other end is gone.
 *   SIGTERM makes Redis write and sync its file.
 * - Never two servers on one folder: the supervisor takes a kernel lock (flock) which the server
 *   inherits and so holds for as long as it runs, whoever dies first.
 * - A second process finds the running server by its socket, and uses it.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../core/clock.ts';
import { ConfigError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { prepareFolder, socketPath } from './embedded-folder.ts';
import { ping } from './embedded-socket.ts';
import { findServerBinary } from './server-binary.ts';
import { startServer, type ServerPlace } from './start-server.ts';
import { FolderInUse, type SupervisedServer } from './supervised-server.ts';

export interface EmbeddedOptions {
  /** The .millrace folder: data, socket, log and the cache of the binary. */
  readonly dir: string;
  /** Default everysec. */
  readonly appendfsync?: 'everysec' | 'always';
  /** MILLRACE_REDIS_SERVER. */
  readonly serverPath?: string;
  readonly log?: Log;
  /** How long loading the data may take. Default 60,000. */
  readonly startTimeoutMs?: number;
}

export interface EmbeddedServer {
  /** unix:/… */
  readonly url: string;
  readonly socket: string;
  /** Of the redis-server itself; null while it is being restarted. */
  readonly pid: number | null;
  /** Ends it in an orderly way; resolves when it is gone. */
  stop(): Promise<void>;
}

/** How long loading the data may take by default, in ms. */
const START_TIMEOUT_MS = 60_000;
/** First and longest pause before a server that has died is started again, in ms. */
const RESTART_MS = { first: 100, most: 5_000 } as const;

function urlOf(socket: string): string {
  return `unix:${encodeURI(socket).replace(/[?#]/g, encodeURIComponent)}`;
}

/**
 * Starts the server of the folder. @throws FolderInUse if one is running, ConfigError if it does
 * not start
 */
export async function startEmbeddedServer(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const log = options.log ?? (() => {});
  const dir = prepareFolder(options.dir);
  const binary = await findServerBinary({
    cacheDir: dir,
    log,
    ...(options.serverPath === undefined ? {} : { serverPath: options.serverPath }),
  });
  const place: ServerPlace = {
    dir,
    socket: socketPath(dir),
    logFile: join(dir, 'redis.log'),
    binary,
    appendfsync: options.appendfsync ?? 'everysec',
    startTimeoutMs: options.startTimeoutMs ?? START_TIMEOUT_MS,
    log,
  };
  const server = await startServer(place);
  const { socket } = place;
  log('debug', 'embedded redis-server started', {
    pid: server.pid,
    version: binary.version,
    socket,
  });
  return new WatchedServer(place, server);
}

/** A server that dies (killed, out of memory) comes back with the data of its append-only file. */
class WatchedServer implements EmbeddedServer {
  readonly url: string;
  readonly socket: string;
  readonly #place: ServerPlace;
  /** Null while the server is being restarted. */
  #server: SupervisedServer | null;
  #stopping = false;

  constructor(place: ServerPlace, server: SupervisedServer) {
    this.url = urlOf(place.socket);
    this.socket = place.socket;
    this.#place = place;
    this.#server = server;
    this.#watch(server);
  }

  get pid(): number | null {
    return this.#server?.pid ?? null;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#server?.stop();
  }

  #watch(running: SupervisedServer): void {
    void running.exited.then(async (code) => {
      if (this.#stopping) return;
      this.#server = null;
      await this.#restart(code);
    });
  }

  async #restart(status: number): Promise<void> {
    const { log, logFile } = this.#place;
    for (let wait: number = RESTART_MS.first; ; wait = Math.min(wait * 2, RESTART_MS.most)) {
      log('error', 'the embedded redis-server ended unexpectedly: starting it again', {
        status,
        inMs: wait,
        log: logFile,
      });
      await delay(wait, undefined, { ref: false });
      if (this.#stopping) return;
      try {
        const next = await startServer(this.#place);
        if (this.#stopping) return void next.stop();
        this.#server = next;
        return this.#watch(next);
      } catch (error) {
        if (error instanceof FolderInUse)
          return log('warn', 'another process runs the embedded redis-server now');
        log('error', 'the embedded redis-server does not start', {
          error: (error as Error).message,
        });
      }
      if (this.#stopping) return;
    }
  }
}

/**
 * The running server of the folder, else its own for as long as `stop` is not called and this
 * process lives.
 */
export async function connectOrStart(
  options: EmbeddedOptions,
): Promise<{ url: string; owned: boolean; stop(): Promise<void> }> {
  const dir = prepareFolder(options.dir);
  const socket = socketPath(dir);
  const deadline = monotonicMs() + (options.startTimeoutMs ?? START_TIMEOUT_MS);
  for (;;) {
    // Loading: another process has just started it.
    for (let state = await ping(socket); state !== 'nobody'; state = await ping(socket)) {
      if (state === 'ready')
        return { url: urlOf(socket), owned: false, stop: () => Promise.resolve() };
      if (monotonicMs() > deadline)
        throw new ConfigError([
          `the embedded redis-server of ${dir} is running but does not answer`,
        ]);
      await delay(50);
    }
    try {
      const server = await startEmbeddedServer(options);
      return { url: server.url, owned: true, stop: () => server.stop() };
    } catch (error) {
      // Somebody holds the lock: starting up (its socket will answer soon) or shutting down (the
      // lock will be free soon).
      if (!(error instanceof FolderInUse) || monotonicMs() > deadline) throw error;
      await delay(50);
    }
  }
}
