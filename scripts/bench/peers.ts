/**
 * The clients of the peers, which have a package.json and a lock of their own. The benchmark
 * installs them at first use, and the project itself does not depend on them.
 */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { firstLine, output } from '../../src/redis/server-program.ts';
import { PACKAGE_DIR } from './settings.ts';

const DIR = join(PACKAGE_DIR, 'scripts', 'bench', 'peers');
const INSTALL_TIMEOUT_MS = 300_000;

/** Loads a client of the peers. Its types are the caller's, who knows the few parts it uses. */
export function loadPeer<T>(name: string): T {
  return createRequire(join(DIR, 'package.json'))(name) as T;
}

let installed: Promise<string | null> | null = null;

/** Installs the clients where they are missing or older than the lock. Returns the problem. */
export function installPeers(say: (text: string) => void): Promise<string | null> {
  return (installed ??= install(say));
}

async function install(say: (text: string) => void): Promise<string | null> {
  const timeOf = (file: string): number =>
    statSync(join(DIR, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (timeOf('node_modules/.package-lock.json') >= timeOf('package-lock.json')) return null;
  say('installing the clients of the peers (once)');
  try {
    // Scripts of packages are not run: the clients work without them.
    await output('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: DIR,
      timeoutMs: INSTALL_TIMEOUT_MS,
    });
    return null;
  } catch (error) {
    return `npm ci in ${DIR}: ${firstLine(error)}`;
  }
}
