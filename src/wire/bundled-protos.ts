/** Millrace's own .proto files, read from the package's proto folder, never from a user's. */
import { existsSync, readFileSync } from 'node:fs';

/**
 * Returns the package's root: the nearest folder with proto/millrace above dist/src/wire (built) or
 * src/wire.
 */
function packageRoot(): URL {
  for (const up of ['../../', '../../../']) {
    const root = new URL(up, import.meta.url);
    if (existsSync(new URL('proto/millrace/v1/batch.proto', root))) return root;
  }
  throw new Error('the package lacks its proto/millrace folder');
}

export const BUNDLED = [
  'millrace/v1/batch.proto',
  'millrace/v1/options.proto',
  'millrace/v1/parked.proto',
] as const;

export function readBundled(name: (typeof BUNDLED)[number]): string {
  return readFileSync(new URL(`proto/${name}`, packageRoot()), 'utf8');
}
