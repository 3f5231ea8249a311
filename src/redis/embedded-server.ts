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
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readFileSync,
  realpathSync,
  renameSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '../core/errors.ts';
import { makeFolder } from '../core/make-folder.ts';
import { repairAppendOnlyFile } from './append-only-file.ts';
import type { RedisLog } from './connection.ts';
import { findServerBinary, type ServerBinary } from './server-binary.ts';

export interface EmbeddedOptions {
  /** The .millrace folder: data, socket, log and the cache of the binary. */
  readonly dir: string;
  /** Default everysec. */
  readonly appendfsync?: 'everysec' | 'always';
  /** MILLRACE_REDIS_SERVER. */
  readonly serverPath?: string;
  readonly log?: RedisLog;
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

/** Another process runs a server in this folder. */
export class FolderInUse extends Error {
  override readonly name = 'FolderInUse';
}

/** Exit status of the supervisor when another one holds the lock. */
const LOCKED = 75;
/** Supervisor: seconds from SIGTERM to SIGKILL. */
const GRACE_SECONDS = 20;
const LOG_LIMIT = 5 << 20;

// $1 lock file, $2 LD_LIBRARY_PATH or empty, $3 grace in seconds, then the server and its
// arguments. Prints the server's pid. A process group of its own (see spawn) keeps Ctrl-C on the
// owner from reaching the server before the owner has finished.
const SUPERVISOR = `
lock=$1; libraries=$2; grace=$3; shift 3
exec 3<&0 9>>"$lock" || exit 70
if command -v flock >/dev/null 2>&1; then
  flock -n 9 || exit ${LOCKED}
else
  read -r other <"$lock" && kill -0 "$other" 2>/dev/null && exit ${LOCKED}
fi
if [ -n "$libraries" ]; then
  env LD_LIBRARY_PATH="$libraries" "$@" </dev/null 3<&- &
else
  "$@" </dev/null 3<&- &
fi
server=$!
trap 'kill -TERM $server' TERM INT HUP
echo $server >"$lock"
echo $server
exec 9>&- >/dev/null
(
  trap - TERM INT HUP
  while read -r _ <&3; do :; done
  kill -CONT $server; kill -TERM $server
  while [ $grace -gt 0 ] && kill -0 $server; do sleep 1; grace=$((grace - 1)); done
  kill -KILL $server
) 2>/dev/null &
watcher=$!
wait $server; code=$?
while kill -0 $server 2>/dev/null; do wait $server; code=$?; done
kill $watcher 2>/dev/null
exit $code
`;

export interface SupervisedServer {
  readonly pid: number;
  /**
   * Resolves with the exit status (or -1) when the server and its supervisor are gone. Keeps no
   * process waiting.
   */
  readonly exited: Promise<number>;
  /** What it wrote to stderr: Redis complains there about its arguments. */
  stderr(): string;
  /** Asks it to shut down (SIGTERM, SIGKILL after the grace), and waits. */
  stop(): Promise<void>;
  /** SIGKILL, and waits. */
  kill(): Promise<void>;
}

/** Starts a server that dies with this process. @throws FolderInUse */
export async function superviseServer(
  binary: ServerBinary,
  lockFile: string,
  args: readonly string[],
  graceSeconds = GRACE_SECONDS,
): Promise<SupervisedServer> {
  const child = spawn(
    'sh',
    [
      '-c',
      SUPERVISOR,
      'millrace-supervisor',
      lockFile,
      binary.libraryPath,
      String(graceSeconds),
      binary.path,
      ...args,
    ],
    {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  const exited = new Promise<number>((resolve) => {
    child.once('error', () => resolve(-1));
    child.once('exit', (code) => resolve(code ?? -1));
  });
  let stderr = '';
  child.stderr
    .setEncoding('utf8')
    .on('data', (text: string) => (stderr = (stderr + text).slice(-4_000)));
  const pid = await Promise.race([firstNumber(child), exited.then((code) => ({ code }))]);
  if (typeof pid !== 'number') {
    if (pid.code === LOCKED) throw new FolderInUse(`${lockFile} is locked`);
    throw new Error(
      `the supervisor of the embedded server ended with status ${pid.code}: ${stderr.trim()}`,
    );
  }
  // An owner with nothing else to do may end; the pipe then closes and the server with it.
  child.unref();
  for (const stream of child.stdio) (stream as Socket | null)?.unref();
  return {
    pid,
    exited,
    stderr: () => stderr,
    async stop() {
      child.ref();
      child.stdin.destroy();
      await exited;
    },
    async kill() {
      child.ref();
      if (child.exitCode === null) process.kill(pid, 'SIGKILL');
      await exited;
    },
  };
}

function firstNumber(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.includes('\n')) resolve(Number.parseInt(text, 10));
    });
  });
}

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
  const socket = socketPath(dir);
  const binary = await findServerBinary({
    cacheDir: dir,
    log,
    ...(options.serverPath === undefined ? {} : { serverPath: options.serverPath }),
  });
  const logFile = join(dir, 'redis.log');
  const start = async (): Promise<SupervisedServer> => {
    if (existsSync(logFile) && statSync(logFile).size > LOG_LIMIT)
      renameSync(logFile, `${logFile}.1`);
    const lock = join(dir, 'redis.lock');
    const attempt = async (truncated: 'no' | 'yes'): Promise<SupervisedServer> => {
      const args = serverArguments({
        dir,
        socket,
        logFile,
        appendfsync: options.appendfsync ?? 'everysec',
        truncated,
      });
      const server = await superviseServer(binary, lock, args);
      await untilReady(server, socket, options.startTimeoutMs ?? 60_000, logFile);
      return server;
    };
    try {
      return await attempt('no');
    } catch (error) {
      if (!(error instanceof EndedAtOnce) || (await ping(socket)) !== 'nobody') throw error;
      const torn = lastLines(logFile).includes(
        'nexpected end of file reading the append only file',
      );
      const repair = repairAppendOnlyFile(join(dir, 'data'));
      if (repair !== null) {
        log(
          'warn',
          'the append-only file was torn (a crash, or a full disk): its end is cut back to the last whole transaction',
          { ...repair },
        );
        return attempt('no');
      }
      if (!torn) throw error;
      return mendByRewriting(await attempt('yes'), socket, log);
    }
  };

  let stopping = false;
  let server: SupervisedServer | null = await start();
  log('debug', 'embedded redis-server started', {
    pid: server.pid,
    version: binary.version,
    socket,
  });

  // A server that dies (killed, out of memory) comes back with what its append-only file holds.
  const watch = (running: SupervisedServer): void => {
    void running.exited.then(async (code) => {
      if (stopping) return;
      server = null;
      for (let wait = 100; !stopping; wait = Math.min(wait * 2, 5_000)) {
        log('error', 'the embedded redis-server ended unexpectedly: starting it again', {
          status: code,
          inMs: wait,
          log: logFile,
        });
        await delay(wait, undefined, { ref: false });
        if (stopping) return;
        try {
          const next = await start();
          if (stopping) return void next.stop();
          server = next;
          return watch(next);
        } catch (error) {
          if (error instanceof FolderInUse)
            return log('warn', 'another process runs the embedded redis-server now');
          log('error', 'the embedded redis-server does not start', {
            error: (error as Error).message,
          });
        }
      }
    });
  };
  watch(server);

  return {
    url: urlOf(socket),
    socket,
    get pid() {
      return server?.pid ?? null;
    },
    async stop() {
      stopping = true;
      await server?.stop();
    },
  };
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
  const deadline = performance.now() + (options.startTimeoutMs ?? 60_000);
  for (;;) {
    // Loading: another process has just started it.
    for (let state = await ping(socket); state !== 'nobody'; state = await ping(socket)) {
      if (state === 'ready')
        return { url: urlOf(socket), owned: false, stop: () => Promise.resolve() };
      if (performance.now() > deadline)
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
      if (!(error instanceof FolderInUse) || performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}

/** The server has ended before it was ready. For callers it is a ConfigError. */
class EndedAtOnce extends ConfigError {
  override readonly name = 'ConfigError';
}

/**
 * For a file whose form is not known here (Redis before 7): loaded without its torn end, and
 * written anew before anybody writes behind that. See append-only-file.ts for why.
 */
async function mendByRewriting(
  server: SupervisedServer,
  socket: string,
  log: RedisLog,
): Promise<SupervisedServer> {
  log(
    'warn',
    'the append-only file was torn (a crash, or a full disk): it is loaded without its end, and written anew',
  );
  const field = (info: string, name: string): string =>
    new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  await ask(socket, 'BGREWRITEAOF');
  for (;;) {
    const info = await ask(socket, 'INFO persistence');
    if (
      field(info, 'aof_rewrite_in_progress') === '0' &&
      field(info, 'aof_rewrite_scheduled') === '0'
    ) {
      if (field(info, 'aof_last_bgrewrite_status') === 'ok') return server;
      await server.stop();
      throw new ConfigError([
        'the append-only file of the embedded server was torn, and could not be written anew: is its disk full?',
      ]);
    }
    await delay(50);
  }
}

/** One command, by hand; its reply as it comes. */
function ask(socket: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    let text = '';
    connection
      .setEncoding('latin1')
      .once('connect', () => connection.write(`${command}\r\n`))
      .once('error', reject)
      .once('close', () => resolve(text));
    connection.on('data', (piece: string) => {
      text += piece;
      const size = /^\$(\d+)\r\n/.exec(text);
      if (size ? text.length >= Number(size[1]) + size[0].length + 2 : text.includes('\r\n'))
        connection.end();
    });
  });
}

function serverArguments(options: {
  dir: string;
  socket: string;
  logFile: string;
  appendfsync: string;
  truncated: 'no' | 'yes';
}): string[] {
  const settings: Record<string, string> = {
    port: '0',
    unixsocket: options.socket,
    unixsocketperm: '700',
    'protected-mode': 'yes',
    dir: join(options.dir, 'data'),
    appendonly: 'yes',
    appendfsync: options.appendfsync,
    // A torn file is mended before it is loaded: see append-only-file.ts.
    'aof-load-truncated': options.truncated,
    // No snapshots beside the append-only file: they would only cost forks.
    save: '',
    // A rewrite of it would spend most of its time compressing events, on the cores that process
    // them; and rewrites of little are many.
    rdbcompression: 'no',
    'auto-aof-rewrite-min-size': '256mb',
    'maxmemory-policy': 'noeviction',
    logfile: options.logFile,
    daemonize: 'no',
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

async function untilReady(
  server: SupervisedServer,
  socket: string,
  timeoutMs: number,
  logFile: string,
): Promise<void> {
  let status: number | null = null;
  void server.exited.then((code) => (status = code));
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (status !== null) {
      const reason = server.stderr().trim() || lastLines(logFile);
      throw new EndedAtOnce([
        `the embedded redis-server ended at once with status ${String(status)} (${logFile}): ${reason}${noSpace(dirname(logFile))}`,
      ]);
    }
    if ((await ping(socket)) === 'ready') return;
    if (performance.now() > deadline) {
      await server.stop();
      throw new ConfigError([
        `the embedded redis-server did not become ready within ${timeoutMs} ms; see ${logFile}`,
      ]);
    }
    await Promise.race([delay(10), server.exited]);
  }
}

/** Said beside what the server has said itself: its log may be on the same full disk. */
function noSpace(dir: string): string {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < 1 << 20 ? `. The disk of ${dir} is full: free space there` : '';
  } catch {
    return '';
  }
}

function lastLines(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-3).join(' | ');
  } catch {
    return 'no log';
  }
}

/** One PING, by hand: no client, no reconnecting, no log lines when nobody is there. */
function ping(socket: string, timeoutMs = 2_000): Promise<'ready' | 'busy' | 'nobody'> {
  return new Promise((resolve) => {
    const connection = createConnection(socket);
    let connected = false;
    const done = (state: 'ready' | 'busy' | 'nobody'): void => {
      clearTimeout(timer);
      connection.destroy();
      resolve(state);
    };
    // Accepted but no answer: it is there (blocked by a long script, or stopped).
    const timer = setTimeout(() => done(connected ? 'busy' : 'nobody'), timeoutMs);
    connection.once('connect', () => {
      connected = true;
      connection.write('PING\r\n');
    });
    // MISCONF: its disk is full. It is up and answers; what it refuses it says itself.
    connection.once('data', (reply) =>
      done(/^(\+PONG|-MISCONF)/.test(reply.toString('latin1')) ? 'ready' : 'busy'),
    );
    connection.once('error', () => done('nobody'));
    connection.once('close', () => done('nobody'));
  });
}

function prepareFolder(path: string): string {
  try {
    makeFolder(join(path, 'data'), 0o700);
    const dir = realpathSync(path);
    const ignore = join(dir, '.gitignore');
    if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
    return dir;
  } catch (error) {
    throw new ConfigError([
      `the folder ${path} for the embedded server cannot be used: ${(error as Error).message}`,
    ]);
  }
}

/**
 * `<dir>/redis.sock`; where that is too long for a unix socket (107 bytes, 103 on macOS), one in a
 * private folder under the temporary folder. That path is noted down: another process may have
 * another idea of what the temporary folder is.
 */
function socketPath(dir: string): string {
  const fits = (path: string): boolean => Buffer.byteLength(path) <= 103;
  const direct = join(dir, 'redis.sock');
  if (fits(direct)) return direct;
  const note = join(dir, 'redis.sock.path');
  if (existsSync(note)) {
    const noted = readFileSync(note, 'utf8').trim();
    if (existsSync(dirname(noted)) && isPrivate(dirname(noted))) return noted;
  }
  const name = `millrace-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}`;
  const folder = [tmpdir(), '/tmp']
    .map((tmp) => join(tmp, name))
    .find((path) => fits(join(path, 'redis.sock'))) as string;
  makeFolder(folder, 0o700);
  if (!isPrivate(folder))
    throw new ConfigError([
      `${folder} belongs to another user; use a shorter path than ${dir}, so that its socket needs no place there`,
    ]);
  const path = join(folder, 'redis.sock');
  writeFileSync(note, `${path}\n`);
  return path;
}

/** The temporary folder is everybody's: who puts a folder there first could listen in. */
function isPrivate(folder: string): boolean {
  const stat = lstatSync(folder);
  return (
    stat.isDirectory() &&
    (process.getuid === undefined || stat.uid === process.getuid()) &&
    (stat.mode & 0o077) === 0
  );
}
