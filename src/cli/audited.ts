/** Changes that the command line makes, recorded in the audit log. */
import { hostname, userInfo } from 'node:os';
import { makeAudited, type Change } from '../audit/make-audited.ts';
import type { Deployment } from '../deployment.ts';
import { readLag } from '../lag/lag.ts';

/** Counts of a function. Undefined: it is not known, or the counts cannot be read. */
export async function functionState(deployment: Deployment, name: string): Promise<unknown> {
  const report = await readLag(deployment).catch(() => null);
  const found = report?.functions.find((fn) => fn.name === name);
  if (found === undefined) return undefined;
  const { appended, done, parked, dead, pending, lag } = found;
  return { appended, done, parked, dead, pending, lag };
}

/**
 * Makes the change, and records it.
 * @throws AuditRefusedError, AuditUnfinishedError; the error of the change
 */
export function audited<T>(deployment: Deployment, change: Change<T>): Promise<T> {
  return makeAudited(deployment, { who: actorName(deployment), via: 'cli' }, change);
}

/** Name of the person or program that runs the command, as far as it is known. */
export function actorName({ environment }: Pick<Deployment, 'environment'>): string {
  return environment.MILLRACE_ACTOR ?? `${userName()}@${hostname()}`;
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that has no name.
    return `uid ${process.getuid?.() ?? 'unknown'}`;
  }
}
