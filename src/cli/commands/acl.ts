/** `millrace acl`: the rights that a Redis user needs. Needs no server. */
import { Argument, type Command } from 'commander';
import { aclRules, PARTS, type Part } from '../../redis/acl.ts';
import type { LongRunningContext } from '../context.ts';
import { safeJson } from '../printable.ts';

interface AclFlags {
  readonly user?: string;
  readonly registersSchemas?: boolean;
  readonly json?: boolean;
}

export function registerAcl(program: Command, context: LongRunningContext): void {
  program
    .command('acl')
    .description('print the least rights of a Redis user, as a command for redis-cli')
    .addArgument(new Argument('<part>', 'part that the user plays').choices(PARTS))
    .option('--user <name>', 'name of the Redis user (default: <namespace>-<part>)')
    .option('--registers-schemas', 'also grant the registration of schemas at start')
    .option('--json', 'print one JSON object: user and rules')
    .addHelpText(
      'after',
      `
  producer    services: publish, schedule, append to histories, read views
  dispatcher  millrace start and dispatchers in services
  admin       all commands of the command line, and millrace admin
  reader      commands that only look, and millrace admin without --allow-changes

The rights are for the keys of MILLRACE_NAMESPACE. No command that concerns the whole server is
among them.
A user has no password yet. Set the password apart, so that it is in no file. Printing the rights
again, and sending them, keeps the password.
In MILLRACE_MODE development, processes register their schemas: use --registers-schemas.

Examples:
  millrace acl dispatcher | redis-cli
  redis-cli ACL SETUSER mr-dispatcher '>a long password'`,
    )
    .action((part: Part, flags: AclFlags) => printAcl(part, flags, context));
}

function printAcl(part: Part, flags: AclFlags, context: LongRunningContext): void {
  const namespace = context.environment().MILLRACE_NAMESPACE;
  const registersSchemas = flags.registersSchemas ?? false;
  const rules = aclRules({ namespace, part, registersSchemas });
  const user = flags.user ?? `${namespace}-${part}`;
  if (flags.json) context.out(safeJson({ user, rules }));
  else context.out(`ACL SETUSER ${user} on ${rules.join(' ')}`);
}
