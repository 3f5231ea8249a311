/** The folder of compiled scripts: beside the project's state, or where the user may write. */
import { accessSync, constants, lstatSync, mkdirSync, realpathSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../core/errors/input-errors.ts';

/**
 * Returns the first folder that can be written: `<cacheDir>/functions`, then
 * `~/.cache/millrace/functions`, then `millrace-<user id>/functions` in the system's folder for
 * temporary files.
 * @throws ConfigError naming each folder, and why it cannot be written
 */
export function compiledFolder(cacheDir: string): string {
  const own = [join(homedir(), '.cache', 'millrace'), join(tmpdir(), `millrace-${userInfo().uid}`)];
  const problems: string[] = [];
  for (const parent of [cacheDir, ...own]) {
    try {
      const private_ = parent !== cacheDir;
      mkdirSync(parent, { recursive: true, ...(private_ ? { mode: 0o700 } : {}) });
      if (private_) assertOwn(parent);
      const folder = join(parent, 'functions');
      mkdirSync(folder, { recursive: true });
      accessSync(folder, constants.W_OK);
      return realpathSync(folder);
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  throw new ConfigError([
    `compiled functions cannot be written anywhere: ${problems.join('; ')}: make one of these folders writable`,
  ]);
}

/** Refuses a folder in which other users could put code. */
function assertOwn(folder: string): void {
  const { uid, mode } = lstatSync(folder);
  const { uid: mine } = userInfo();
  if ((mine !== -1 && uid !== mine) || (process.platform !== 'win32' && (mode & 0o022) !== 0)) {
    throw new Error(`${folder} is another user's, or others may write it`);
  }
}
