/**
 * The user who registers a schema, and the state of the source it is registered from. Both are for
 * the registry's records, never for a decision.
 */
import { execFile } from 'node:child_process';
import { hostname, userInfo } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface RegisteredBy {
  readonly by: string;
  readonly gitRevision: string;
}

/** Never fails: an unknown value is left empty. @param cwd a folder of the source tree */
export async function registeredBy(cwd: string): Promise<RegisteredBy> {
  return { by: who(), gitRevision: await gitRevision(cwd) };
}

function who(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // The user id has no account, as in many containers.
    return hostname();
  }
}

/** The commit, 40 hex digits. `-dirty` follows if the tree has changes that are not committed. */
async function gitRevision(cwd: string): Promise<string> {
  try {
    const { stdout } = await run(
      'git',
      ['describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
      { cwd, timeout: 3000 },
    );
    return stdout.trim();
  } catch {
    return '';
  }
}
