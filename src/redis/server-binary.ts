/**
 * Finds a redis-server for the embedded default: the given path, PATH, or a cache. The cache is
 * filled once from the distribution's own package, unpacked into a folder. Nothing is installed,
 * and no root is needed.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { monotonicMs } from '../core/clock.ts';
import { ConfigError } from '../core/errors/input-errors.ts';
import { RedisServerNotFoundError } from '../core/errors/server-errors.ts';
import type { Log } from '../core/log.ts';
import { fillCache, readCache, SERVER_NAMES, systemName } from './server-package.ts';
import {
  firstLine,
  output,
  versionOf,
  type ServerBinary,
  type ServerVersion,
} from './server-program.ts';

export interface FindServerOptions {
  /** Value of MILLRACE_REDIS_SERVER: this server, or an error. */
  readonly serverPath?: string;
  /** Folder of the cache, which is `<cacheDir>/redis-server/`. */
  readonly cacheDir: string;
  /** Whether to search PATH. Default true. */
  readonly searchPath?: boolean;
  /**
   * Whether to use the system's package lists of apt. False: they are taken for missing, as on a
   * fresh machine. Default true.
   */
  readonly systemPackageLists?: boolean;
  readonly log?: Log;
}

export const MIN_SERVER_VERSION = '7.0';

/**
 * @throws ConfigError if `serverPath` is given and not usable, RedisServerNotFoundError if there is
 *   none anywhere
 */
export async function findServerBinary(options: FindServerOptions): Promise<ServerBinary> {
  if (options.serverPath !== undefined && options.serverPath !== '')
    return givenServer(options.serverPath);

  const tried: string[] = [];
  if (options.searchPath !== false) {
    const found = await serverOnPath(tried);
    if (found) return found;
  }
  // One folder per system: the project may be mounted into a container with other libraries.
  const folder = join(resolve(options.cacheDir), 'redis-server', await systemName());
  const packaged = (await readCache(folder)) ?? (await download(folder, options, tried));
  if (packaged) return packaged;
  throw new RedisServerNotFoundError(tried);
}

/**
 * Finds a server on PATH. Null: none is new enough.
 * @param tried gets each candidate, with its fault
 */
async function serverOnPath(tried: string[]): Promise<ServerBinary | null> {
  for (const name of SERVER_NAMES) {
    const path = (await output('sh', ['-c', 'command -v "$1"', 'sh', name]).catch(() => '')).trim();
    if (path === '') continue;
    const version = await versionOf(path, '').catch(() => null);
    if (version && atLeast(version.version, MIN_SERVER_VERSION))
      return { path, libraryPath: '', ...version };
    tried.push(
      `${path} (${version ? `version ${version.version}, at least ${MIN_SERVER_VERSION} is needed` : 'does not run'})`,
    );
  }
  if (tried.length === 0) tried.push(`${SERVER_NAMES.join(' and ')} on PATH`);
  return null;
}

/**
 * Fills the cache from the distribution's package. Null: it cannot be filled.
 * @param tried gets the reason
 */
async function download(
  folder: string,
  { systemPackageLists = true, log = () => {} }: FindServerOptions,
  tried: string[],
): Promise<ServerBinary | null> {
  const tools = 'command -v apt-get && command -v apt-cache && command -v dpkg-deb';
  const hasApt = await output('sh', ['-c', tools]).then(
    () => true,
    () => false,
  );
  if (!hasApt) {
    tried.push("the distribution's package (apt-get and dpkg-deb are not here)");
    return null;
  }
  log(
    'info',
    `no redis-server on this machine: downloading the distribution's package into ${folder} (once; nothing is installed)`,
  );
  const began = monotonicMs();
  const problem = await fillCache(folder, systemPackageLists);
  const filled = await readCache(folder);
  if (filled)
    log('info', `${filled.flavor}-server ${filled.version} is ready`, {
      seconds: Math.round((monotonicMs() - began) / 100) / 10,
    });
  else tried.push(`the distribution's package (${problem ?? 'it does not run here'})`);
  return filled;
}

/** Compares versions number by number: "7.0.15" is at least "6.2". */
export function atLeast(version: string, minimum: string): boolean {
  const a = version.split('.').map(Number);
  const b = minimum.split('.').map(Number);
  for (let i = 0; i < b.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

async function givenServer(path: string): Promise<ServerBinary> {
  const absolute = resolve(path);
  if (!existsSync(absolute))
    throw new ConfigError([`MILLRACE_REDIS_SERVER: ${absolute} does not exist`]);
  let version: ServerVersion;
  try {
    version = await versionOf(absolute, '');
  } catch (error) {
    throw new ConfigError([
      `MILLRACE_REDIS_SERVER: ${absolute} is no redis-server or valkey-server that runs here (${firstLine(error)})`,
    ]);
  }
  if (!atLeast(version.version, MIN_SERVER_VERSION)) {
    throw new ConfigError([
      `MILLRACE_REDIS_SERVER: ${absolute} is version ${version.version}, at least ${MIN_SERVER_VERSION} is needed`,
    ]);
  }
  return { path: absolute, libraryPath: '', ...version };
}
