/** `millrace dlq edit`: other data for a dead event. */
import { readFileSync } from 'node:fs';
import {
  auditedEdit,
  makeEdit,
  planEdit,
  type EditSchema,
  type LetterEditPlan,
} from '../../mend/edit-letter.ts';
import { PayloadCodecs } from '../../mend/payload-codecs.ts';
import { getDeadLetter } from '../../pipeline/dead/dead-letters.ts';
import { actorName, audited } from '../audited.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { safeJson } from '../printable.ts';
import { checkIds } from './dlq-filter.ts';
import { differenceLines } from './dlq-differences.ts';

export interface EditFlags {
  readonly data: string;
  readonly schema?: EditSchema;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export async function edit(id: string, flags: EditFlags, context: CliContext): Promise<void> {
  checkIds([id], 1024);
  const json = dataOf(flags.data);
  const deployment = await context.open();
  const letter = await getDeadLetter(deployment, id);
  const codecs = new PayloadCodecs(deployment);
  const plan = await planEdit(codecs, letter, json, flags.schema);
  if (flags.dryRun) {
    tell(plan, null, flags, context);
    return;
  }
  const by = actorName(deployment);
  const edited = await audited(deployment, {
    action: 'dlq edit',
    target: id,
    ...(await auditedEdit(codecs, plan)),
    make: () => makeEdit(deployment, plan, by),
    after: (result) => ({ letter: result }),
  });
  tell(plan, edited, flags, context);
}

/** @throws UsageError */
function dataOf(given: string): unknown {
  const path = given.startsWith('@') ? given.slice(1) : null;
  let text = given;
  try {
    if (path !== null) text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--data: ${path} cannot be read: ${(error as Error).message}`);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(
      `--data: ${path ?? 'the argument'} is no JSON: ${(error as Error).message}`,
    );
  }
}

/** @param edited id of the new letter; null: a dry run */
function tell(
  { letter, schema, schemaOf, differences, before, after }: LetterEditPlan,
  edited: string | null,
  { json }: EditFlags,
  context: CliContext,
): void {
  if (json) {
    context.out(
      safeJson({
        letter: edited ?? letter.id,
        replaces: edited === null ? null : letter.id,
        dryRun: edited === null,
        schema: { id: schema, of: schemaOf },
        before: before.kind === 'data' ? before.data : null,
        after,
        differences: differences?.list ?? null,
      }),
    );
    return;
  }
  if (before.kind === 'undecodable')
    context.err(`millrace: the data before cannot be read: ${before.problem}`);
  if (differences) for (const line of differenceLines(differences)) context.out(line);
  if (edited === null) context.out(`${letter.id} would be edited`);
  else {
    context.out(`${letter.id} is edited, and is now ${edited}`);
    context.err(`millrace: run it with: millrace dlq replay ${edited}`);
  }
}
