import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Returns the path of the append-only file that grows. */
export function growingFile(dir: string): string {
  const folder = join(dir, 'appendonlydir');
  const name = readdirSync(folder)
    .filter((file) => file.endsWith('.incr.aof'))
    .sort()
    .at(-1);
  if (name === undefined) throw new Error(`no append-only file in ${folder}`);
  return join(folder, name);
}
