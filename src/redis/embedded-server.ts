/**
 * The embedded default: a private redis-server as a child process, on a unix socket, with its data
 * beside the project.
 *
 * Three promises, and the means:
 * - The server ends with its owner, even after kill -9. A supervisor (a few lines of sh) holds one
 *   end of a pipe to the owner. It asks the server to shut down once the other end is gone. SIGTERM
 *   makes Redis write and sync its file.
 * - Two servers never use one folder. The supervisor takes a kernel lock (flock), which the server
 *   inherits. So the lock is held as long as the server runs, whoever dies first.
 * - A second process finds the running server by its socket, and uses it.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import type { Log } from '../core/log.ts';
import { prepareFolder, socketPath } from './embedded-folder.ts';
import { ping } from './embedded-socket.ts';
import { findServerBinary } from './server-binary.ts';
import { startServer, type ServerPlace } from './start-server.ts';
import { FolderInUse, type SupervisedServer } from './supervised-server.ts';

export interface EmbeddedOptions {
  /** Path of the .millrace folder: data, socket, log and the cache of the binary. */
  readonly dir: string;
  /** Default everysec. */
  readonly appendfsync?: 'everysec' | 'always';
  /** Value of MILLRACE_REDIS_SERVER. */
  readonly serverPath?: string;
  readonly log?: Log;
  /** Longest time for loading the data, ms. Default 60,000. */
  readonly startTimeoutMs?: number;
}

export interface EmbeddedServer {
  /** unix:/… */
  readonly url: string;
  readonly socket: string;
  /** Process id of the redis-server itself; null while it is being restarted. */
  readonly pid: number | null;
  /** Ends the server in an orderly way. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** Longest time for loading the data by default, ms. */
const START_TIMEOUT_MS = 60_000;
/** Unanswered pings in a row after which a server counts as stopped. A ping waits for 2 s. */
const SILENT_PINGS = 2;
/** First and longest pause before a dead server is started again, ms. */
const RESTART_MS = { first: 100, most: 5_000 } as const;

function urlOf(socket: string): string {
  return `unix:${encodeURI(socket).replace(/[?#]/g, encodeURIComponent)}`;
}

/**
 * Starts the server of the folder.
 * @throws FolderInUse if one is running, ConfigError if it does not start
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

/**
 * An embedded server. After its death (killed, out of memory) it comes back with the data of its
 * append-only file.
 */
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
 * Waits until the folder's server answers, as long as it says that it loads its data: another
 * process has just started it.
 * @returns false where no server runs
 * @throws ConfigError where the server does not answer
 */
async function joined(socket: string, dir: string, deadline: number): Promise<boolean> {
  let silent = 0;
  for (;;) {
    const state = await ping(socket);
    if (state === 'ready' || state === 'nobody') return state === 'ready';
    silent = state === 'silent' ? silent + 1 : 0;
    if (silent === SILENT_PINGS || monotonicMs() > deadline) {
      const file = join(dir, 'redis.log');
      const why =
        silent > 0 ? 'does not answer: it is stopped, or blocked' : 'still loads its data';
      throw new ConfigError([
        `the embedded redis-server of ${dir} runs, but ${why}. Look at ${file}. Its process id is in ${join(dir, 'redis.lock')}: continue it with kill -CONT, or end it`,
      ]);
    }
    await delay(50);
  }
}

/**
 * Returns the running server of the folder. Without one it starts an own server, which runs until
 * `stop`, or until this process ends.
 */
export async function connectOrStart(
  options: EmbeddedOptions,
): Promise<{ url: string; owned: boolean; stop(): Promise<void> }> {
  const dir = prepareFolder(options.dir);
  const socket = socketPath(dir);
  const deadline = monotonicMs() + (options.startTimeoutMs ?? START_TIMEOUT_MS);
  for (;;) {
    if (await joined(socket, dir, deadline))
      return { url: urlOf(socket), owned: false, stop: () => Promise.resolve() };
    try {
      const server = await startEmbeddedServer(options);
      return { url: server.url, owned: true, stop: () => server.stop() };
    } catch (error) {
      // Another process holds the lock. Its server is starting, and its socket will answer soon; or
      // it is shutting down, and the lock will be free soon.
      if (!(error instanceof FolderInUse) || monotonicMs() > deadline) throw error;
      await delay(50);
    }
  }
}
