/** `millrace schema list` and `show`: what the registry holds. Reads only. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import type { SchemaRegistry } from '../../registry/registry.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { wholeNumber } from '../options.ts';
import { printable, printableLines, safeJson } from '../printable.ts';
import { table } from '../table.ts';

const VERSION = wholeNumber(1, Number.MAX_SAFE_INTEGER);

export function registerSchemaReads(schema: Command, context: LongRunningContext): void {
  schema
    .command('list')
    .description('print the subjects with their latest versions')
    .option('--deleted', 'include deleted subjects')
    .option('--json', 'print one JSON object a line')
    .action((flags: { deleted?: boolean; json?: boolean }) => list(flags, context));

  schema
    .command('show')
    .description(
      'print a version of a subject: its text, its author, its time, its source revision',
    )
    .argument('[subject]', 'event type')
    .argument('[version]', 'version (default: the latest)', VERSION)
    .option('--id <id>', 'show the schema with this id, as events carry it', VERSION)
    .option('--json', 'print one JSON object')
    .action(
      (
        subject: string | undefined,
        version: number | undefined,
        flags: { id?: number; json?: boolean },
      ) => show(subject, version, flags, context),
    );
}

async function list(
  flags: { deleted?: boolean; json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const { registry } = await context.open({ protoDir: null, anew: true });
  const subjects = await registry.subjects(flags.deleted);
  const rows: string[][] = [];
  for (const subject of subjects) {
    const found = await readListed(registry, subject, flags.deleted ?? false, context);
    if (found === null) continue;
    const { versions, latest, level, own } = found;
    if (flags.json) {
      context.out(
        safeJson({
          subject,
          level,
          ownLevel: own,
          message: latest.schema.message,
          versions: versions.map((one) => ({
            version: one.version,
            id: one.id,
            at: isoTime(one.atMs),
            by: one.by,
            revision: one.revision,
            ...(one.deleted ? { deleted: true } : {}),
          })),
        }),
      );
    } else {
      rows.push([
        subject,
        `${latest.version}${latest.deleted ? ' (deleted)' : ''}`,
        String(latest.id),
        latest.schema.message,
        own ? level : `${level} (global)`,
        isoTime(latest.atMs) ?? '-',
        latest.by,
        latest.revision.replace(/^(\w{12})\w+/, '$1'),
      ]);
    }
  }
  if (flags.json) return;
  if (rows.length === 0)
    context.err(
      'millrace: no schema is registered; millrace schema register registers the schemas under proto/',
    );
  else
    context.out(
      table(
        [
          { title: 'subject' },
          { title: 'version', right: true },
          { title: 'id', right: true },
          { title: 'message' },
          { title: 'level' },
          { title: 'registered' },
          { title: 'by' },
          { title: 'revision' },
        ],
        rows,
      ),
    );
}

/** Reads a subject with its versions. Null: it cannot be read, and stderr says why. */
async function readListed(
  registry: SchemaRegistry,
  subject: string,
  deletedToo: boolean,
  context: LongRunningContext,
) {
  try {
    const versions = await registry.versions(subject, deletedToo);
    const latest = await registry.version(subject, 'latest', deletedToo);
    return { versions, latest, ...(await registry.level(subject)) };
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    context.err(`millrace: ${printable(subject)}: ${printable(error.message, 1000)}`);
    context.fail();
    return null;
  }
}

async function show(
  subject: string | undefined,
  version: number | undefined,
  flags: { id?: number; json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  if ((subject === undefined) === (flags.id === undefined))
    throw new UsageError('give either a subject or --id');
  const { registry } = await context.open({ protoDir: null, anew: true });
  const found =
    subject === undefined ? null : await registry.version(subject, version ?? 'latest', true);
  const schema = found?.schema ?? (await registry.schema(flags.id as number));
  const uses = await registry.store.uses(schema.id);
  if (flags.json) {
    const { files, message, fingerprint, references } = schema;
    const of =
      found === null
        ? {}
        : {
            subject: found.subject,
            version: found.version,
            at: isoTime(found.atMs),
            by: found.by,
            revision: found.revision,
            deleted: found.deleted,
          };
    context.out(safeJson({ ...of, id: schema.id, message, fingerprint, uses, references, files }));
    return;
  }
  const facts: [string, string][] = [
    ...(found === null
      ? []
      : ([
          ['subject', found.subject],
          ['version', `${found.version}${found.deleted ? ' (deleted)' : ''}`],
        ] satisfies [string, string][])),
    ['id', String(schema.id)],
    ['message', schema.message],
    ['is', uses.map((use) => `${use.subject} ${use.version}`).join(', ')],
    ...(found === null
      ? []
      : ([
          [
            'registered',
            `${isoTime(found.atMs) ?? '-'} by ${found.by}${found.revision === '' ? '' : ` from ${found.revision}`}`,
          ],
        ] satisfies [string, string][])),
  ];
  for (const [name, value] of facts)
    context.out(`${name.padEnd(10)} ${printable(value, 1000)}`.trimEnd());
  for (const file of schema.files)
    context.out(`\n// ${printable(file.name)}\n${printableLines(file.text, Infinity, Infinity)}`);
}
