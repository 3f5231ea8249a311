/** `millrace schema users`: the writers and the readers of a subject's versions. Reads only. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import {
  judgeChange,
  judgeDeletion,
  type ChangeEffect,
  type DeletionEffect,
} from '../../registry/schema-change.ts';
import { isoTime } from '../../core/rfc3339.ts';
import { UnknownSubjectError } from '../../registry/schema-errors.ts';
import { readSchemaUsers, type SchemaUsers } from '../../registry/schema-users.ts';
import { createCatalog } from '../../wire/catalog.ts';
import { loadProtoFolder } from '../../wire/proto-folder.ts';
import type { LongRunningContext } from '../context.ts';
import { findingLines } from '../findings.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';

interface Flags {
  readonly sample: number;
  readonly proto?: string;
  readonly delete?: number;
  readonly json?: boolean;
}

export function registerSchemaUsers(schema: Command, context: LongRunningContext): void {
  schema
    .command('users')
    .description('say who writes and who reads the versions of a subject, and what a change breaks')
    .argument('<subject>', 'event type')
    .option('--sample <n>', 'newest entries to read in each partition', wholeNumber(1, 1000), 10)
    .option('--proto <dir>', 'also say what the text in this folder would break')
    .option(
      '--delete <version>',
      'also say what the deletion of this version would break',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Writers are a sample: the newest entries of each partition. Older events may be of other versions:
millrace schema deploy-check reads all of them. Readers are the functions registered for the type,
with the schemas that their dispatchers tell of.

Examples:
  millrace schema users order.created
  millrace schema users order.created --proto ./proto
  millrace schema users order.created --delete 2 --json`,
    )
    .action((subject: string, flags: Flags) => run(subject, flags, context));
}

async function run(subject: string, flags: Flags, context: LongRunningContext): Promise<void> {
  const files =
    flags.proto === undefined
      ? null
      : createCatalog(loadProtoFolder(resolve(flags.proto))).filesOf(subject);
  const deployment = await context.open({ protoDir: null, anew: true });
  const users = await readSchemaUsers(deployment, subject, { entries: flags.sample });
  const { versions, damaged, written, readers } = users;
  if ([versions, damaged, written, readers].every((list) => list.length === 0))
    throw new UnknownSubjectError(subject);
  const change = files && (await judgeChange(deployment, { subject, files }, users));
  const deletion =
    flags.delete === undefined ? null : await judgeDeletion(deployment, flags.delete, users);
  if (flags.json) {
    context.out(
      safeJson({
        ...asJson(users),
        ...(change ? { change } : {}),
        ...(deletion ? { deletion } : {}),
      }),
    );
    return;
  }
  printUsers(users, context);
  if (change) printChange(change, context);
  if (deletion) printDeletion(subject, deletion, context);
}

function asJson(users: SchemaUsers): object {
  return {
    ...users,
    versions: users.versions.map(({ version, id, atMs, by, revision, deleted }) => ({
      version,
      id,
      at: isoTime(atMs),
      by,
      revision,
      deleted,
    })),
    written: users.written.map(({ newestMs, ...schema }) => ({
      ...schema,
      newestAt: isoTime(newestMs),
    })),
  };
}

function printUsers(users: SchemaUsers, context: LongRunningContext): void {
  const { versions, written, sample, readers } = users;
  if (versions.length === 0)
    context.err(`millrace: no schema is registered for ${printable(users.subject)}`);
  const schemas = [
    ...versions.map(({ id }) => id),
    ...written.map(({ schema }) => schema),
    ...readers.flatMap(({ dispatchers }) => dispatchers.flatMap(({ schema }) => schema ?? [])),
  ];
  const rows = [...new Set(schemas)].map((id) => {
    const version = versions.findLast((one) => one.id === id);
    const wrote = written.find(({ schema }) => schema === id);
    const reading = readers
      .filter(({ dispatchers }) => dispatchers.some(({ schema }) => schema === id))
      .map(({ name }) => name);
    return [
      version
        ? `${version.version}${version.deleted ? ' (deleted)' : ''}`
        : id === 0
          ? 'not stamped'
          : 'unknown',
      String(id),
      wrote ? formatCount(wrote.events) : '0',
      wrote ? (isoTime(wrote.newestMs) ?? '-') : '-',
      wrote?.sources.join(', ') ?? '',
      reading.join(', '),
    ];
  });
  if (rows.length > 0)
    context.out(
      table(
        [
          { title: 'version', right: true },
          { title: 'schema', right: true },
          { title: 'in sample', right: true },
          { title: 'newest' },
          { title: 'sources' },
          { title: 'read by' },
        ],
        rows,
      ),
    );
  context.err(
    `millrace: sample: ${plural(sample.events, 'event')} in the newest ${formatCount(sample.entries)} of ${formatCount(sample.ofEntries)} entries`,
  );
  if (sample.unreadable > 0)
    context.err(
      `millrace: ${formatCount(sample.unreadable)} of these entries could not be decoded`,
    );
  for (const { name, dispatchers } of readers) {
    if (dispatchers.length === 0) context.out(`${printable(name)}: no dispatcher serves it now`);
    const silent = dispatchers.filter(({ schema }) => schema === null);
    if (silent.length > 0)
      context.out(
        `${printable(name)}: ${plural(silent.length, 'dispatcher')} did not tell what it reads with: ${silent.map(({ dispatcher }) => printable(dispatcher)).join(', ')}`,
      );
  }
}

function printChange(
  { verdict, versions, notCompared }: ChangeEffect,
  context: LongRunningContext,
): void {
  context.out(
    `the new text is ${verdict.compatible ? 'compatible' : `NOT compatible, ${plural(verdict.findings.length, 'finding')}`} (level ${verdict.level})`,
  );
  for (const one of versions) {
    const name = one.version === null ? `schema ${one.schema}` : `version ${one.version}`;
    const used = [
      one.events > 0 ? `${plural(one.events, 'event')} in the sample` : '',
      one.readers.length > 0
        ? `read by ${one.readers.map((who) => printable(who)).join(', ')}`
        : '',
    ].filter((text) => text !== '');
    const state =
      one.problem !== null
        ? `cannot be compared: ${printable(one.problem, 500)}`
        : one.unreadable.length + one.misread.length === 0
          ? 'nothing breaks'
          : [
              one.unreadable.length > 0 ? 'its events cannot be read' : '',
              one.misread.length > 0 ? 'its readers misread new events' : '',
            ]
              .filter((text) => text !== '')
              .join('; ');
    context.out(`${name}: ${state}${used.length > 0 ? ` (${used.join('; ')})` : ''}`);
    for (const finding of one.unreadable) context.out(findingLines(finding, 'old events: '));
    for (const finding of one.misread) context.out(findingLines(finding, 'old readers: '));
  }
  for (const warning of verdict.warnings) context.out(findingLines(warning, 'warning: '));
  if (notCompared > 0) context.err(`millrace: ${plural(notCompared, 'version')} not compared`);
}

function printDeletion(
  subject: string,
  { version, referencedBy, written, readers, isLast, deleted }: DeletionEffect,
  context: LongRunningContext,
): void {
  const effects = [
    ...(deleted ? ['it is deleted softly; its number is never given again'] : []),
    ...referencedBy.map(
      (use) =>
        `version ${use.version} of ${printable(use.subject)} imports it, and prevents a permanent deletion`,
    ),
    ...(written
      ? [
          `${plural(written.events, 'event')} of the sample are of it: their writers (${written.sources.map((source) => printable(source)).join(', ')}) register it again, or in production mode no longer start`,
        ]
      : []),
    ...readers.map(
      (who) => `${printable(who)} reads with it, and in production mode no longer starts`,
    ),
    ...(isLast ? ['no version is left: the next one is compared with nothing'] : []),
  ];
  context.out(
    effects.length === 0
      ? `deletion of version ${version} of ${printable(subject)}: nothing that was looked at breaks`
      : `deletion of version ${version} of ${printable(subject)}:`,
  );
  for (const effect of effects) context.out(`  ${effect}`);
  context.out('  its events are decoded all the same: the registry keeps its text');
}
