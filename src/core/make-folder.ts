import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Creates a folder with its missing parents. `mkdirSync` with `recursive` is not used: where a file
 * system refuses new folders by ENOENT (/proc), that call never returns, and no signal ends it.
 *
 * @throws the errors of mkdirSync
 */
export function makeFolder(path: string, mode = 0o777): void {
  const absolute = resolve(path);
  if (statSync(absolute, { throwIfNoEntry: false })?.isDirectory()) return;
  const parent = dirname(absolute);
  if (parent !== absolute) makeFolder(parent, mode);
  try {
    mkdirSync(absolute, { mode });
  } catch (error) {
    // Another process may have created the folder meanwhile.
    if (!statSync(absolute, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}
