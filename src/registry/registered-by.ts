/**
 * Who registers a schema, and from which state of the source: for the registry's records, never for
 * a decision.
 */
import { execFile } from 'node:child_process';
import { hostname, userInfo } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface RegisteredBy {
  readonly by: string;
  readonly gitRevision: string;
}

/** Never fails: what cannot be found out is left empty. @param cwd a folder of the source tree */
export async function registeredBy(cwd: string): Promise<RegisteredBy> {
  return { by: who(), gitRevision: await gitRevision(cwd) };
}

function who(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // a user id without an account, as in many containers
    return hostname();
  }
}

/** 40 hex digits, with `-dirty` behind them where the tree holds more than is committed. */
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
