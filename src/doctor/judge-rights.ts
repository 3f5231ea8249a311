/** Judges the rights of the user of REDIS_URL. */
import { fact, someOf, unknown, type Diagnosis } from './diagnosis.ts';
import type { RedisCli } from './redis-cli.ts';
import { isOfKey, type MissingRight, type RightsFacts, type Role } from './rights.ts';
import { shellWord } from './shell-word.ts';

const NEEDED: Readonly<Record<Role, string>> = {
  look: 'The commands that look, such as millrace lag,',
  publish: 'Publishers',
  run: 'Dispatchers',
  register: 'Processes that register schemas (MILLRACE_MODE development)',
  optional: 'Some checks and durabilities',
};
const ROLES = Object.keys(NEEDED) as readonly Role[];

/** The user of REDIS_URL, and the place of its work. */
export interface Owner {
  readonly namespace: string;
  readonly user: string;
  /** MILLRACE_MODE */
  readonly mode: string;
}

export function judgeRights(
  facts: RightsFacts,
  { namespace, user, mode }: Owner,
  cli: RedisCli,
): Diagnosis[] {
  const name = shellWord(user);
  if (facts.hidden !== null)
    return [
      unknown(
        'rights',
        facts.hidden,
        `Grant the user ${user} +acl|whoami and +eval_ro, to have its rights checked`,
        cli(null, `ACL SETUSER ${name} "+acl|whoami" +eval_ro +evalsha_ro`),
      ),
    ];
  const told = `user ${user}: ${facts.asked - facts.missing.length} of ${facts.asked} commands granted, told by ${facts.means ?? 'nobody'}`;
  const found = [fact('rights', user, told)];
  for (const role of ROLES) {
    const missing = facts.missing.filter((one) => one.role === role);
    if (missing.length === 0) continue;
    const commands = [...new Set(missing.map(({ command }) => command))];
    const severity = severityOf(role, facts.part, mode);
    found.push({
      code: 'rights-missing',
      severity,
      about: user,
      problem: `${NEEDED[role]} need commands that the user may not call: ${someOf(commands, 8)}`,
      evidence: someOf([...new Set(missing.map(({ refusal }) => refusal))], 2),
      cure:
        severity === 'warning'
          ? 'Grant the commands, unless the user is for another part (millrace acl --help)'
          : 'Grant the commands, on the keys of the namespace',
      command: cli(null, `ACL SETUSER ${name} ${grants(role, missing, namespace)}`),
    });
  }
  return found;
}

/** A user for one part needs no rights of the others. */
function severityOf(role: Role, part: RightsFacts['part'], mode: string): Diagnosis['severity'] {
  switch (role) {
    case 'look':
      return 'error';
    case 'optional':
      return 'info';
    case 'register':
      return mode === 'production' ? 'info' : 'warning';
    case 'publish':
      return part === 'reader' ? 'warning' : 'error';
    case 'run':
      return part === 'dispatcher' ? 'error' : 'warning';
  }
}

/** Keys are granted, too, where a key was refused. */
function grants(role: Role, missing: readonly MissingRight[], namespace: string): string {
  const pattern = `${role === 'look' ? '%R' : ''}~${namespace}:*`;
  const keys = missing.some(({ refusal }) => isOfKey(refusal)) ? `${shellWord(pattern)} ` : '';
  return keys + [...new Set(missing.map(({ command }) => `"+${command}"`))].join(' ');
}
