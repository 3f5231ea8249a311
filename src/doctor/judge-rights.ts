/** Judges the rights of the user of REDIS_URL. */
import { fact, someOf, unknown, type Diagnosis } from './diagnosis.ts';
import type { RedisCli } from './judge-server.ts';
import type { MissingRight, RightsFacts, Role } from './rights.ts';

const NEEDED: Readonly<Record<Role, { readonly severity: Diagnosis['severity']; for: string }>> = {
  look: { severity: 'error', for: 'The commands that look, such as millrace lag,' },
  work: { severity: 'warning', for: 'Publishers and dispatchers' },
  optional: { severity: 'info', for: 'Some checks and durabilities' },
};

/** @param namespace MILLRACE_NAMESPACE */
export function judgeRights(facts: RightsFacts, namespace: string, cli: RedisCli): Diagnosis[] {
  const user = facts.user ?? '<user>';
  if (facts.hidden !== null)
    return [
      unknown(
        'rights',
        facts.hidden,
        `Grant the user ${user} +acl|whoami and +eval_ro, to have its rights checked`,
        cli(null, `ACL SETUSER ${user} "+acl|whoami" +eval_ro +evalsha_ro`),
      ),
    ];
  const told = `user ${facts.user ?? 'unknown'}: ${facts.asked - facts.missing.length} of ${facts.asked} commands granted, told by ${facts.means ?? 'nobody'}`;
  const found = [fact('rights', facts.user, told)];
  for (const role of Object.keys(NEEDED) as Role[]) {
    const missing = facts.missing.filter((one) => one.role === role);
    if (missing.length === 0) continue;
    const commands = [...new Set(missing.map(({ command }) => command))];
    found.push({
      code: 'rights-missing',
      severity: NEEDED[role].severity,
      about: facts.user,
      problem: `${NEEDED[role].for} need commands that the user may not call: ${someOf(commands, 8)}`,
      evidence: someOf([...new Set(missing.map(({ refusal }) => refusal))], 2),
      cure:
        role === 'work'
          ? 'Grant the commands, unless this user is to look only'
          : 'Grant the commands, on the keys of the namespace',
      command: cli(null, `ACL SETUSER ${user} ${grants(missing, namespace)}`),
    });
  }
  return found;
}

/** Keys are granted, too, where a key was refused. */
function grants(missing: readonly MissingRight[], namespace: string): string {
  const keys = missing.some(({ refusal }) => refusal.includes('key')) ? `"~${namespace}:*" ` : '';
  return keys + [...new Set(missing.map(({ command }) => `"+${command}"`))].join(' ');
}
