/** The folder of the embedded server: its data, its socket, its log. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readFileSync,
  realpathSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ConfigError } from '../core/errors/input-errors.ts';
import { makeFolder } from '../core/make-folder.ts';

export function prepareFolder(path: string): string {
  try {
    makeFolder(join(path, 'data'), 0o700);
    const dir = realpathSync(path);
    const ignore = join(dir, '.gitignore');
    if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
    return dir;
  } catch (error) {
    throw new ConfigError([
      `the folder ${path} for the embedded server cannot be used: ${(error as Error).message}`,
    ]);
  }
}

/**
 * Returns `<dir>/redis.sock`. Where that path is too long for a unix socket (107 bytes, 103 on
 * macOS): a path in a private folder under the temporary folder. That path is written down, because
 * another process may have another temporary folder.
 */
export function socketPath(dir: string): string {
  const fits = (path: string): boolean => Buffer.byteLength(path) <= 103;
  const direct = join(dir, 'redis.sock');
  if (fits(direct)) return direct;
  const note = join(dir, 'redis.sock.path');
  if (existsSync(note)) {
    const noted = readFileSync(note, 'utf8').trim();
    if (existsSync(dirname(noted)) && isPrivate(dirname(noted))) return noted;
  }
  const name = `millrace-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}`;
  const folder = [tmpdir(), '/tmp']
    .map((tmp) => join(tmp, name))
    .find((path) => fits(join(path, 'redis.sock'))) as string;
  makeFolder(folder, 0o700);
  if (!isPrivate(folder))
    throw new ConfigError([
      `${folder} belongs to another user; use a shorter path than ${dir}, so that its socket needs no place there`,
    ]);
  const path = join(folder, 'redis.sock');
  writeFileSync(note, `${path}\n`);
  return path;
}

/**
 * Makes a private folder. Everybody may write to the temporary folder, so another user could put a
 * folder there first, and listen in.
 */
function isPrivate(folder: string): boolean {
  const stat = lstatSync(folder);
  return (
    stat.isDirectory() &&
    (process.getuid === undefined || stat.uid === process.getuid()) &&
    (stat.mode & 0o077) === 0
  );
}

/** Describes a full disk. The server's own log may be on that disk. */
export function noSpace(dir: string): string {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize < 1 << 20 ? `. The disk of ${dir} is full: free space there` : '';
  } catch {
    return '';
  }
}

export function lastLines(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-3).join(' | ');
  } catch {
    return 'no log';
  }
}
