/**
 * A real Chromium for tests of pages: from PATH, or from the distribution's package, which is
 * unpacked into the project's .millrace/ once.
 */
import { join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';
import { findPackaged, systemName, type Packaged } from '../../src/redis/server-package.ts';
import { output, withLibraries } from '../../src/redis/server-program.ts';
import { projectDir } from './redis-server.ts';

interface Program {
  readonly path: string;
  readonly libraryPath: string;
}

const PACKAGE: Packaged = {
  names: ['chromium'],
  // The file of the package's name under usr/bin is a shell script for desktops.
  program: 'usr/lib/chromium/chromium',
  check: async (path, libraryPath) => {
    await withLibraries(libraryPath, path, ['--version', '--no-sandbox'], 60_000);
    return {};
  },
};

/** Finds the program. Returns the reason where it cannot be had. */
export async function findChromium(): Promise<Program | string> {
  const onPath = await output('sh', ['-c', 'command -v chromium']).catch(() => '');
  if (onPath.trim() !== '') return { path: onPath.trim(), libraryPath: '' };
  return findPackaged(join(projectDir, '.millrace', 'chromium', await systemName()), PACKAGE);
}

/** Starts a browser. The caller closes it. */
export function startBrowser({ path, libraryPath }: Program): Promise<Browser> {
  return chromium.launch({
    executablePath: path,
    // The sandbox needs rights that containers do not give.
    args: ['--no-sandbox', '--disable-gpu'],
    env: {
      ...process.env,
      ...(libraryPath === '' ? {} : { LD_LIBRARY_PATH: libraryPath }),
    } as Record<string, string>,
  });
}
