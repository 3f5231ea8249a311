/** `millrace schema level`: the compatibility level, global or of one subject. */
import type { Command } from 'commander';
import { checkLevel, UnknownSubjectError } from '../../registry/schema-errors.ts';
import { LEVELS, type Level } from '../../registry/schema-tools.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { requireKnownType } from '../known-types.ts';
import { printable, safeJson } from '../printable.ts';

export function registerSchemaLevel(schema: Command, context: LongRunningContext): void {
  schema
    .command('level')
    .description('print or set the compatibility level, global or of one subject')
    .argument('[subject]', 'event type (default: the global level)')
    .argument('[level]', `level to set: ${LEVELS.join(', ')}`)
    .option(
      '--unset',
      'remove the level: a subject follows the global level, the global level its default',
    )
    .option('--json', 'print one JSON object')
    .action(
      (
        subject: string | undefined,
        level: string | undefined,
        flags: { unset?: boolean; json?: boolean },
      ) => setLevel(subject, level, flags, context),
    );
}

async function setLevel(
  first: string | undefined,
  second: string | undefined,
  flags: { unset?: boolean; json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const global =
    first === undefined || (second === undefined && LEVELS.some((level) => level === first));
  const subject = global ? null : first;
  const wanted = global ? first : second;
  if (wanted !== undefined && flags.unset)
    throw new UsageError('give a level or --unset, not both');
  const level = wanted === undefined ? undefined : asLevel(wanted);
  const deployment = await context.open({ protoDir: null, anew: true });
  const { registry } = deployment;
  if (subject !== null && !(await registry.store.subjects()).includes(subject)) {
    if (level === undefined && !flags.unset) throw new UnknownSubjectError(subject);
    await requireKnownType(deployment, subject);
  }
  const levelNow = () => registry.level(subject ?? undefined);
  if (level !== undefined || flags.unset)
    await audited(deployment, {
      action: 'schema level',
      target: subject ?? '',
      wanted: level ?? null,
      // A stored level that cannot be read is set right by this change.
      before: await levelNow().catch(() => null),
      make: () => registry.setLevel(subject, level ?? null),
      after: levelNow,
    });
  const now = await levelNow();
  if (flags.json) context.out(safeJson({ subject, level: now.level, own: now.own }));
  else
    context.out(
      `${subject === null ? 'global' : printable(subject)}: ${now.level}${subject !== null && !now.own ? ' (global)' : ''}${subject === null && !now.own ? ' (default)' : ''}`,
    );
}

/** @throws UsageError for a text that names no level */
export function asLevel(text: string): Level {
  try {
    return checkLevel(text.toUpperCase());
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
