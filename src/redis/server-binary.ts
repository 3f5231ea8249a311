/**
 * Where the embedded default gets its redis-server from: the path given, PATH, or a cache that is
 * filled once from the distribution's own package, unpacked into a folder: nothing is installed, no
 * root is needed.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { ConfigError, RedisServerNotFoundError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

export interface ServerBinary {
  readonly path: string;
  /** Folders of the libraries it needs, for LD_LIBRARY_PATH; empty when the system's own do. */
  readonly libraryPath: string;
  readonly version: string;
  readonly flavor: 'redis' | 'valkey';
}

export interface FindServerOptions {
  /** MILLRACE_REDIS_SERVER: this one, or an error. */
  readonly serverPath?: string;
  /** The cache is `<cacheDir>/redis-server/`. */
  readonly cacheDir: string;
  /** Default true. */
  readonly searchPath?: boolean;
  /**
   * False: apt's package lists of the system are taken for missing, as on a fresh machine. Default
   * true.
   */
  readonly systemPackageLists?: boolean;
  readonly log?: Log;
}

export const MIN_SERVER_VERSION = '7.0';
const NAMES = ['redis-server', 'valkey-server'];
const APT_TIMEOUT_MS = 180_000;

/**
 * @throws ConfigError if `serverPath` is given and not usable, RedisServerNotFoundError if there is
 *   none anywhere
 */
export async function findServerBinary(options: FindServerOptions): Promise<ServerBinary> {
  const log = options.log ?? (() => {});
  if (options.serverPath !== undefined && options.serverPath !== '')
    return givenServer(options.serverPath);

  const tried: string[] = [];
  if (options.searchPath !== false) {
    for (const name of NAMES) {
      const found = (
        await output('sh', ['-c', 'command -v "$1"', 'sh', name]).catch(() => '')
      ).trim();
      if (found === '') continue;
      const version = await versionOf(found, '').catch(() => null);
      if (version && atLeast(version.version, MIN_SERVER_VERSION))
        return { path: found, libraryPath: '', ...version };
      tried.push(
        `${found} (${version ? `version ${version.version}, at least ${MIN_SERVER_VERSION} is needed` : 'does not run'})`,
      );
    }
    if (tried.length === 0) tried.push(`${NAMES.join(' and ')} on PATH`);
  }

  // One folder per system: the project may be mounted into a container with other libraries.
  const folder = join(resolve(options.cacheDir), 'redis-server', await systemName());
  const cached = await readCache(folder);
  if (cached) return cached;

  const hasApt = await output('sh', [
    '-c',
    'command -v apt-get && command -v apt-cache && command -v dpkg-deb',
  ]).then(
    () => true,
    () => false,
  );
  if (!hasApt) {
    tried.push("the distribution's package (apt-get and dpkg-deb are not here)");
    throw new RedisServerNotFoundError(tried);
  }
  log(
    'info',
    `no redis-server on this machine: downloading the distribution's package into ${folder} (once; nothing is installed)`,
  );
  const began = performance.now();
  const problem = await fillCache(folder, options.systemPackageLists !== false);
  const filled = await readCache(folder);
  if (filled) {
    log('info', `${filled.flavor}-server ${filled.version} is ready`, {
      seconds: Math.round((performance.now() - began) / 100) / 10,
    });
    return filled;
  }
  tried.push(`the distribution's package (${problem ?? 'it does not run here'})`);
  throw new RedisServerNotFoundError(tried);
}

/** "7.0.15" >= "6.2", compared number by number. */
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
  let version: { version: string; flavor: 'redis' | 'valkey' };
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

async function versionOf(
  path: string,
  libraryPath: string,
): Promise<{ version: string; flavor: 'redis' | 'valkey' }> {
  const text = await withLibraries(libraryPath, path, ['--version'], 10_000);
  const match = /^(Redis|Valkey) server v=(\d+(?:\.\d+)*)/im.exec(text);
  if (!match) throw new Error(`it answers --version with "${text.trim().slice(0, 80)}"`);
  return {
    flavor: (match[1] as string).toLowerCase() as 'redis' | 'valkey',
    version: match[2] as string,
  };
}

async function systemName(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name: string): string =>
    new RegExp(`^${name}="?([\\w.-]+)"?$`, 'm').exec(release)?.[1] ?? '';
  return [process.platform, process.arch, field('ID'), field('VERSION_ID')]
    .filter((part) => part !== '')
    .join('-');
}

/** What `fillCache` notes down, with paths relative to the folder: the project may be moved. */
interface Manifest {
  readonly server: string;
  readonly libraries: readonly string[];
}

async function readCache(folder: string): Promise<ServerBinary | null> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as Manifest;
    const path = join(folder, manifest.server);
    const libraryPath = manifest.libraries.map((library) => join(folder, library)).join(':');
    return { path, libraryPath, ...(await versionOf(path, libraryPath)) };
  } catch {
    return null;
  }
}

/**
 * Returns what went wrong, or null. Two processes may do this at once: each in a folder of its own,
 * the first rename counts.
 */
async function fillCache(folder: string, systemLists: boolean): Promise<string | null> {
  const work = `${folder}.tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
  let problem: string | null = null;
  try {
    for (const lists of systemLists ? (['system', 'private'] as const) : (['private'] as const)) {
      const state = join(work, `apt-${lists}`);
      const apt = aptOptions(state, lists === 'private');
      await mkdir(join(state, 'cache', 'archives', 'partial'), { recursive: true });
      // Empty or outdated lists are the normal state of a fresh machine; ours can be updated by
      // anybody.
      if (lists === 'private') await updateLists(state, apt);
      for (const name of NAMES) {
        const attempt = join(work, `${lists}-${name}`);
        const root = join(attempt, 'root');
        try {
          const manifest = await unpackServer(name, attempt, root, apt);
          await writeFile(join(root, 'manifest.json'), JSON.stringify(manifest));
          await install(root, folder);
          return null;
        } catch (error) {
          // The word on the first name says most: that there is no valkey-server is no news on an
          // older system.
          if (name === NAMES[0] || !/No packages found|Unable to locate/.test(firstLine(error)))
            problem = firstLine(error);
        }
      }
    }
  } catch (error) {
    problem = firstLine(error);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return problem;
}

async function install(root: string, folder: string): Promise<void> {
  try {
    await rename(root, folder);
  } catch {
    // Somebody was faster, or what is there is broken.
    if (await readCache(folder)) return;
    await rename(folder, `${root}.broken`);
    await rename(root, folder);
  }
}

/**
 * apt writes nothing outside `work`; with `ownLists` it reads no package lists of the system's
 * either, only /etc/apt.
 */
function aptOptions(work: string, ownLists: boolean): string[] {
  const options = [
    'Acquire::Retries=2',
    'Acquire::http::Timeout=30',
    'Acquire::https::Timeout=30',
    // As root, apt would drop to the user _apt, who cannot write here.
    'APT::Sandbox::User=root',
    // Parsed lists are kept from call to call (images switch that off), which takes a second each
    // otherwise.
    `Dir::Cache=${join(work, 'cache')}`,
    'Dir::Cache::pkgcache=pkgcache.bin',
    'Dir::Cache::srcpkgcache=srcpkgcache.bin',
  ];
  if (ownLists) {
    options.push(
      `Dir::State=${join(work, 'state')}`,
      `Dir::State::lists=${join(work, 'state', 'lists')}`,
      'Dir::State::status=/var/lib/dpkg/status',
      `Dir::Log=${join(work, 'log')}`,
    );
  }
  return options.flatMap((option) => ['-o', option]);
}

async function updateLists(dir: string, apt: readonly string[]): Promise<void> {
  for (const sub of ['state/lists/partial', 'log'])
    await mkdir(join(dir, sub), { recursive: true });
  await output('apt-get', [...apt, '-q', 'update'], { timeoutMs: APT_TIMEOUT_MS });
}

/**
 * Downloads and unpacks the package under `root`, with those libraries it needs and this system
 * lacks.
 */
async function unpackServer(
  name: string,
  work: string,
  root: string,
  apt: readonly string[],
): Promise<Manifest> {
  const needs = await directDependencies([name], apt);
  // The binary may live in a sister package (Debian: redis-tools holds it, redis-server only a
  // link).
  const own = [name, ...needs.filter((p) => p.startsWith(name.replace(/server$/, '')))];
  await download(own, join(work, `${name}-debs`), root, apt);
  const server = findFile(root, name);
  if (!server) throw new Error(`the package ${name} holds no ${name}`);

  // What is not installed is unpacked beside, and only the very files that ldd misses are taken
  // from there: a whole package could bring a library that shadows the system's own.
  const libraries = join(root, 'libraries');
  const extra = join(work, `${name}-extra`);
  const have = await installed();
  const seen = new Set(own);
  let next = await directDependencies(own, apt);
  let lost = await missingLibraries(server, libraries);
  for (let depth = 0; lost.length > 0 && next.length > 0 && depth < 4; depth++) {
    const level = [...new Set(next)].filter((p) => !seen.has(p));
    for (const p of level) seen.add(p);
    const wanted = level.filter((p) => !have.has(p) && /^(lib|lua)/.test(p));
    if (wanted.length > 0) await download(wanted, join(work, `${name}-debs-${depth}`), extra, apt);
    // Again after each copy: what was found has needs of its own.
    for (
      let before = Infinity;
      lost.length > 0 && lost.length !== before;
      lost = await missingLibraries(server, libraries)
    ) {
      before = lost.length;
      await copyLibraries(lost, extra, libraries);
    }
    next = level.length > 0 ? await directDependencies(level, apt) : [];
  }
  if (lost.length > 0)
    throw new Error(`libraries that ${name} needs are in none of its packages: ${lost.join(', ')}`);
  const hasOwn = existsSync(libraries);
  await versionOf(server, hasOwn ? libraries : '');
  return { server: relative(root, server), libraries: hasOwn ? ['libraries'] : [] };
}

async function directDependencies(
  packages: readonly string[],
  apt: readonly string[],
): Promise<string[]> {
  const text = await output('apt-cache', [...apt, 'depends', ...packages], {
    timeoutMs: APT_TIMEOUT_MS,
  });
  // <…> are virtual packages.
  return [...text.matchAll(/^\s+\|?(?:Pre)?Depends: ([a-z0-9][^\s:]*)/gm)].map(
    (match) => match[1] as string,
  );
}

async function copyLibraries(names: readonly string[], from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!names.includes(entry.name)) continue;
    // Copies what a link leads to.
    await copyFile(join(entry.parentPath ?? entry.path, entry.name), join(to, entry.name));
  }
}

async function installed(): Promise<ReadonlySet<string>> {
  const text = await output('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\\n']).catch(
    () => '',
  );
  return new Set(
    text
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0] as string),
  );
}

async function download(
  packages: readonly string[],
  debs: string,
  root: string,
  apt: readonly string[],
): Promise<void> {
  await mkdir(debs, { recursive: true });
  await mkdir(root, { recursive: true });
  await output('apt-get', [...apt, '-q', 'download', ...packages], {
    cwd: debs,
    timeoutMs: APT_TIMEOUT_MS,
  });
  for (const deb of await readdir(debs)) {
    if (deb.endsWith('.deb'))
      await output('dpkg-deb', ['-x', join(debs, deb), root], { timeoutMs: 60_000 });
  }
}

/** Not resolved if it is a link: the server looks at the name it is called by. */
function findFile(root: string, name: string): string | null {
  return (
    ['usr/bin', 'usr/sbin', 'bin']
      .map((folder) => join(root, folder, name))
      .find((path) => existsSync(path)) ?? null
  );
}

/**
 * ldd's view; without ldd (another libc) nothing is missing, and the --version that follows
 * decides.
 */
async function missingLibraries(server: string, libraryPath: string): Promise<string[]> {
  const text = await withLibraries(libraryPath, 'ldd', [server], 10_000).catch(() => '');
  return [
    ...new Set([...text.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1] as string)),
  ];
}

function withLibraries(
  libraryPath: string,
  file: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<string> {
  return output(
    libraryPath === '' ? file : 'env',
    libraryPath === '' ? args : [`LD_LIBRARY_PATH=${libraryPath}`, file, ...args],
    { timeoutMs },
  );
}

/** What it writes to stdout. It inherits our environment, but speaks English. */
function output(
  file: string,
  args: readonly string[],
  options: { cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  return new Promise((done, fail) => {
    const settings = {
      encoding: 'utf8' as const,
      maxBuffer: 64 << 20,
      timeout: options.timeoutMs ?? 10_000,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    };
    execFile('env', ['LC_ALL=C', file, ...args], settings, (error, stdout, stderr) => {
      if (!error) return done(stdout);
      const said = /^(?:E:|.*error).*$/im.exec(stderr)?.[0] ?? stderr.trim().split('\n')[0];
      fail(
        new Error(
          `${file} ${error.killed ? `did not end within ${settings.timeout} ms` : `failed: ${said || error.message}`}`,
          { cause: error },
        ),
      );
    });
  });
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] as string;
}
