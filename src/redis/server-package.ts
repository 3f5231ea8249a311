/**
 * A cache with a program of the distribution's own package, downloaded with apt and unpacked into a
 * folder: the redis-server, and what tests need. Nothing is installed, and no root is needed.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import {
  firstLine,
  output,
  versionOf,
  withLibraries,
  type ServerBinary,
  type ServerVersion,
} from './server-program.ts';

/** Names of the packages, and of the programs in them. */
export const SERVER_NAMES = ['redis-server', 'valkey-server'];
const APT_TIMEOUT_MS = 180_000;

/** A program that a package holds. */
export interface Packaged<Found extends object = object> {
  /** Names of the packages, the best one first. Each has a program of its own name. */
  readonly names: readonly string[];
  /** Path of the program in the package. Default: any file of the package's name. */
  readonly program?: string;
  /** Looks whether the program runs here. */
  readonly check: (path: string, libraryPath: string) => Promise<Found>;
}

const SERVER: Packaged<ServerVersion> = { names: SERVER_NAMES, check: versionOf };

/** Returns the name of this system's folder in the cache. */
export async function systemName(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name: string): string =>
    new RegExp(`^${name}="?([\\w.-]+)"?$`, 'm').exec(release)?.[1] ?? '';
  return [process.platform, process.arch, field('ID'), field('VERSION_ID')]
    .filter((part) => part !== '')
    .join('-');
}

/**
 * The manifest that `fillCache` writes. Paths are relative to the folder, because the project may
 * be moved.
 */
interface Manifest {
  readonly server: string;
  readonly libraries: readonly string[];
}

export function readCache(folder: string): Promise<ServerBinary | null> {
  return readPackaged(folder, SERVER);
}

/** A program in the cache, the folders of its libraries, and the findings of its check. */
export type PackagedProgram<Found extends object> = Found & {
  readonly path: string;
  readonly libraryPath: string;
};

/** Returns the program in the cache. Null: there is none that runs. */
export async function readPackaged<Found extends object>(
  folder: string,
  { check }: Packaged<Found>,
): Promise<PackagedProgram<Found> | null> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as Manifest;
    const path = join(folder, manifest.server);
    const libraryPath = manifest.libraries.map((library) => join(folder, library)).join(':');
    return { path, libraryPath, ...(await check(path, libraryPath)) };
  } catch {
    return null;
  }
}

/**
 * Returns the program in the cache. Fills the cache first where no program runs there. Returns the
 * problem where the program cannot be had.
 */
export async function findPackaged<Found extends object>(
  folder: string,
  wanted: Packaged<Found>,
): Promise<PackagedProgram<Found> | string> {
  const cached = await readPackaged(folder, wanted);
  if (cached) return cached;
  const problem = await fillCache(folder, true, wanted);
  return (await readPackaged(folder, wanted)) ?? problem ?? 'it does not run here';
}

/**
 * Fills the cache. Returns the problem, or null. Two processes may do this at once: each uses a
 * folder of its own, and the first rename counts.
 */
export async function fillCache(
  folder: string,
  systemLists: boolean,
  wanted: Packaged = SERVER,
): Promise<string | null> {
  const work = `${folder}.tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
  let problem: string | null = null;
  try {
    for (const lists of systemLists ? (['system', 'private'] as const) : (['private'] as const)) {
      const state = join(work, `apt-${lists}`);
      const apt = aptOptions(state, lists === 'private');
      await mkdir(join(state, 'cache', 'archives', 'partial'), { recursive: true });
      // Empty or outdated lists are the normal state of a fresh machine. Private lists can be
      // updated without root.
      if (lists === 'private') await updateLists(state, apt);
      for (const name of wanted.names) {
        const attempt = join(work, `${lists}-${name}`);
        const root = join(attempt, 'root');
        try {
          const manifest = await unpackProgram({ name, work: attempt, root, apt, wanted });
          await writeFile(join(root, 'manifest.json'), JSON.stringify(manifest));
          await install(root, folder, wanted);
          return null;
        } catch (error) {
          // The problem of the first name says most. An older system has no valkey-server, which is
          // no news.
          if (
            name === wanted.names[0] ||
            !/No packages found|Unable to locate/.test(firstLine(error))
          )
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

async function install(root: string, folder: string, wanted: Packaged): Promise<void> {
  try {
    await rename(root, folder);
  } catch {
    // Another process was faster, or the present folder is broken.
    if (await readPackaged(folder, wanted)) return;
    await rename(folder, `${root}.broken`);
    await rename(root, folder);
  }
}

/**
 * Returns options with which apt writes nothing outside `work`. With `ownLists` it reads no package
 * lists of the system either, only /etc/apt.
 */
function aptOptions(work: string, ownLists: boolean): string[] {
  const options = [
    'Acquire::Retries=2',
    'Acquire::http::Timeout=30',
    'Acquire::https::Timeout=30',
    // As root, apt would drop to the user _apt, who cannot write here.
    'APT::Sandbox::User=root',
    // Parsed lists are kept from call to call; images switch that off. Parsing takes a second each
    // time otherwise.
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

interface Unpacking {
  readonly name: string;
  /** Folder for what is needed on the way. */
  readonly work: string;
  readonly root: string;
  readonly apt: readonly string[];
  readonly wanted: Packaged;
}

/**
 * Downloads and unpacks the package under `root`, with those needed libraries that this system
 * lacks.
 */
async function unpackProgram({ name, work, root, apt, wanted }: Unpacking): Promise<Manifest> {
  const needs = await directDependencies([name], apt);
  // The binary may be in a sister package. Debian: redis-tools holds it, and redis-server only a
  // link.
  const own = [name, ...needs.filter((p) => p.startsWith(name.replace(/server$/, '')))];
  await unpackPackages(own, join(work, `${name}-debs`), root, apt);
  const server = wanted.program === undefined ? findFile(root, name) : join(root, wanted.program);
  if (!server) throw new Error(`the package ${name} holds no ${name}`);

  // Packages that are not installed are unpacked beside. Only the very files that ldd misses are
  // taken from there. A whole package could bring a library that shadows the system's own.
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
    if (wanted.length > 0)
      await unpackPackages(wanted, join(work, `${name}-debs-${depth}`), extra, apt);
    // Look again after each copy: a copied library may need others.
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
  await wanted.check(server, hasOwn ? libraries : '');
  return { server: relative(root, server), libraries: hasOwn ? ['libraries'] : [] };
}

async function directDependencies(
  packages: readonly string[],
  apt: readonly string[],
): Promise<string[]> {
  const text = await output('apt-cache', [...apt, 'depends', ...packages], {
    timeoutMs: APT_TIMEOUT_MS,
  });
  // Names in <…> are virtual packages.
  return [...text.matchAll(/^\s+\|?(?:Pre)?Depends: ([a-z0-9][^\s:]*)/gm)].map(
    (match) => match[1] as string,
  );
}

async function copyLibraries(names: readonly string[], from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!names.includes(entry.name)) continue;
    // This copies the target of a link.
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

/** Downloads packages into `debs`, and unpacks them under `root`. */
async function unpackPackages(
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

/**
 * Returns the path of the program. A link is not resolved, because the server looks at the name by
 * which it is called.
 */
function findFile(root: string, name: string): string | null {
  return (
    ['usr/bin', 'usr/sbin', 'bin']
      .map((folder) => join(root, folder, name))
      .find((path) => existsSync(path)) ?? null
  );
}

/**
 * Lists the libraries that ldd misses. Without ldd (another libc) nothing is missing, and the
 * --version that follows decides.
 */
async function missingLibraries(server: string, libraryPath: string): Promise<string[]> {
  const text = await withLibraries(libraryPath, 'ldd', [server], 10_000).catch(() => '');
  return [
    ...new Set([...text.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1] as string)),
  ];
}
