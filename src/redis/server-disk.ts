/** The disk of the server's data. Metrics and alerts take their figures from here. */
import { statfs } from 'node:fs/promises';
import type { RedisConnection } from './contract.ts';

export interface DiskSpace {
  /** Bytes that are not free for the server. */
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/**
 * Reads the disk of a server on this machine (a unix socket). Redis does not tell the disk of
 * another machine.
 * @returns undefined: the disk is another machine's, or its folder is not ours to see
 * @throws RedisReplyError where CONFIG is denied; UnknownOutcomeError
 */
export async function readServerDisk(connection: RedisConnection): Promise<DiskSpace | undefined> {
  if (!connection.target.startsWith('unix:')) return undefined;
  const [, dir] = (await connection.command('CONFIG', 'GET', 'dir')) as string[];
  if (dir === undefined) return undefined;
  try {
    const { blocks, bavail, bsize } = await statfs(dir);
    return blocks > 0
      ? { usedBytes: (blocks - bavail) * bsize, limitBytes: blocks * bsize }
      : undefined;
  } catch {
    // The server runs in a container.
    return undefined;
  }
}
