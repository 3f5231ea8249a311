import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * A folder, with all above it that are missing. Not `mkdirSync` with `recursive`: where a file
 * system refuses new folders by ENOENT (/proc), that one never returns, and no signal ends it.
 *
 * @throws as mkdirSync does
 */
export function makeFolder(path: string, mode = 0o777): void {
  const absolute = resolve(path);
  if (statSync(absolute, { throwIfNoEntry: false })?.isDirectory()) return;
  const parent = dirname(absolute);
  if (parent !== absolute) makeFolder(parent, mode);
  try {
    mkdirSync(absolute, { mode });
  } catch (error) {
    // Somebody else was faster.
    if (!statSync(absolute, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}
