/** `millrace schema`: the commands of the schema registry, each group in a file of its own. */
import type { Command } from 'commander';
import { DEFAULT_LEVEL } from '../../registry/subject.ts';
import { LEVELS } from '../../registry/schema-tools.ts';
import type { LongRunningContext } from '../context.ts';
import { registerDeployCheck } from './schema-deploy-check.ts';
import { registerSchemaFolder } from './schema-folder.ts';
import { registerSchemaLevel } from './schema-level.ts';
import { registerSchemaReads } from './schema-read.ts';
import { registerSchemaUsers } from './schema-users.ts';

export function registerSchema(program: Command, context: LongRunningContext): void {
  const schema = program
    .command('schema')
    .description('work with the schema registry: list, show, check, register and compare schemas')
    .addHelpText(
      'after',
      `
A subject is an event type, and its versions are the schemas it has had.
A level says how a new version must be compatible with the older ones. The levels are
${LEVELS.join(', ')}.
The default is ${DEFAULT_LEVEL}.

Examples:
  millrace schema check --against main          # in CI, without a server
  millrace schema register
  millrace schema diff order.created
  millrace schema users order.created
  millrace schema deploy-check ./workers`,
    );

  registerSchemaReads(schema, context);
  registerSchemaUsers(schema, context);
  registerSchemaFolder(schema, context);
  registerSchemaLevel(schema, context);
  registerDeployCheck(schema, context);
}
