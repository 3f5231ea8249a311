import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../../src/config.ts';

/** Folder of package.json. Compiled code is one level deeper than the sources. */
export const PACKAGE_DIR = (() => {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir);
  return dir;
})();

export const PROTO_DIR = join(PACKAGE_DIR, 'scripts', 'bench', 'proto');

/** Returns the settings of the processes under test: defaults, on the run's own server. */
export function benchEnvironment(
  url: string,
  workers: number,
  partitions: number,
): Partial<Environment> {
  return {
    REDIS_URL: url,
    WORKERS: workers,
    MILLRACE_PARTITIONS: partitions,
    LOG_LEVEL: 'warn',
    MILLRACE_NAMESPACE: 'mr',
  };
}
