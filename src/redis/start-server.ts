/** Starts the embedded server once. A torn append-only file is mended first. */
import { existsSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import { repairAppendOnlyFile } from './append-only-file.ts';
import type { Log } from '../core/log.ts';
import { lastLines, noSpace } from './embedded-folder.ts';
import { ask, ping } from './embedded-socket.ts';
import type { ServerBinary } from './server-program.ts';
import { superviseServer, type SupervisedServer } from './supervised-server.ts';

export interface ServerPlace {
  readonly dir: string;
  readonly socket: string;
  readonly logFile: string;
  readonly binary: ServerBinary;
  readonly appendfsync: 'everysec' | 'always';
  /** Longest time for loading the data, ms. */
  readonly startTimeoutMs: number;
  readonly log: Log;
}

/** Size of the log file from which on a start sets it aside, bytes. */
const LOG_LIMIT = 5 << 20;

/** @throws FolderInUse if a server of the folder is running, ConfigError if it does not start */
export async function startServer(place: ServerPlace): Promise<SupervisedServer> {
  const { dir, socket, logFile, log } = place;
  if (existsSync(logFile) && statSync(logFile).size > LOG_LIMIT)
    renameSync(logFile, `${logFile}.1`);
  try {
    return await attempt(place, 'no');
  } catch (error) {
    if (!(error instanceof EndedAtOnce) || (await ping(socket)) !== 'nobody') throw error;
    const torn = lastLines(logFile).includes('nexpected end of file reading the append only file');
    const repair = repairAppendOnlyFile(join(dir, 'data'));
    if (repair !== null) {
      log(
        'warn',
        'the append-only file was torn (a crash, or a full disk): it is cut back to the last whole transaction',
        { ...repair },
      );
      return attempt(place, 'no');
    }
    if (!torn) throw error;
    return mendByRewriting(await attempt(place, 'yes'), socket, log);
  }
}

/**
 * Spawns the server.
 * @param truncated whether a file without its end is loaded
 */
async function attempt(place: ServerPlace, truncated: 'no' | 'yes'): Promise<SupervisedServer> {
  const args = serverArguments(place, truncated);
  const server = await superviseServer(place.binary, join(place.dir, 'redis.lock'), args);
  await untilReady(server, place);
  return server;
}

/** The server ended before it was ready. Callers get a ConfigError. */
class EndedAtOnce extends ConfigError {
  override readonly name = 'ConfigError';
}

/**
 * Mends a file of an unknown form (Redis before 7). It is loaded without its torn end, and
 * rewritten before anything is written behind that. See append-only-file.ts for the reason.
 */
async function mendByRewriting(
  server: SupervisedServer,
  socket: string,
  log: Log,
): Promise<SupervisedServer> {
  log(
    'warn',
    'the append-only file was torn (a crash, or a full disk): it is loaded without its torn end, and written anew',
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

function serverArguments(place: ServerPlace, truncated: 'no' | 'yes'): string[] {
  const settings: Record<string, string> = {
    port: '0',
    unixsocket: place.socket,
    unixsocketperm: '700',
    'protected-mode': 'yes',
    dir: join(place.dir, 'data'),
    appendonly: 'yes',
    appendfsync: place.appendfsync,
    // A torn file is mended before it is loaded: see append-only-file.ts.
    'aof-load-truncated': truncated,
    // No snapshots beside the append-only file: they would only cost forks.
    save: '',
    // A rewrite of the file would spend most of its time compressing events, on the cores that
    // process them. Small files would be rewritten often.
    rdbcompression: 'no',
    'auto-aof-rewrite-min-size': '256mb',
    'maxmemory-policy': 'noeviction',
    logfile: place.logFile,
    daemonize: 'no',
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

async function untilReady(server: SupervisedServer, place: ServerPlace): Promise<void> {
  const { socket, logFile, startTimeoutMs } = place;
  let status: number | null = null;
  void server.exited.then((code) => (status = code));
  const deadline = monotonicMs() + startTimeoutMs;
  for (;;) {
    if (status !== null) {
      const reason = server.stderr().trim() || lastLines(logFile);
      throw new EndedAtOnce([
        `the embedded redis-server ended at once with status ${String(status)} (${logFile}): ${reason}${noSpace(dirname(logFile))}`,
      ]);
    }
    if ((await ping(socket)) === 'ready') return;
    if (monotonicMs() > deadline) {
      await server.stop();
      throw new ConfigError([
        `the embedded redis-server did not become ready within ${startTimeoutMs} ms; see ${logFile}`,
      ]);
    }
    await Promise.race([delay(10), server.exited]);
  }
}
