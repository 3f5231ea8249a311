/**
 * `millrace schema`: the schema registry: list, show, check, register, diff, level, deploy-check.
 */
import { resolve } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import type { Command } from 'commander';
import { ConfigError, CorruptDataError } from '../../core/errors.ts';
import { registeredBy } from '../../registry/registered-by.ts';
import {
  DEFAULT_LEVEL,
  type SchemaDraft,
  type SchemaRegistry,
  type Verdict,
} from '../../registry/registry.ts';
import { checkLevel, UnknownSubjectError } from '../../registry/schema-errors.ts';
import { checkOffline } from '../../registry/offline-check.ts';
import { LEVELS, type Level } from '../../registry/schema-tools.ts';
import {
  createCatalog,
  loadProtoFolder,
  type Catalog,
  type ProtoSource,
} from '../../wire/catalog.ts';
import type { LongRunningContext } from '../context.ts';
import { findingLines } from '../findings.ts';
import { UsageError } from '../exit-status.ts';
import { requireKnownType } from '../known-types.ts';
import { plural, wholeNumber } from '../options.ts';
import { isoTime, printable, printableLines, safeJson, table } from '../printable.ts';
import { protoAt } from '../proto-at.ts';
import { registerDeployCheck } from './schema-deploy-check.ts';

const VERSION = wholeNumber(1, Number.MAX_SAFE_INTEGER);

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
  millrace schema deploy-check ./workers`,
    );

  registerReads(schema, context);
  registerFolder(schema, context);
  registerLevel(schema, context);
  registerDeployCheck(schema, context);
}

/** list, show */
function registerReads(schema: Command, context: LongRunningContext): void {
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

/** check, register, diff: of the schemas under proto/ */
function registerFolder(schema: Command, context: LongRunningContext): void {
  schema
    .command('check')
    .description(
      'say whether the schemas under proto/ may be registered, with reasons and cures; change nothing',
    )
    .argument('[types...]', 'event types (default: all under proto/)')
    .option('--proto <dir>', 'folder of the .proto files', './proto')
    .option(
      '--against <revision or folder>',
      'compare with a git revision or another folder; needs no server',
    )
    .option('--level <level>', `with --against: the compatibility level (default ${DEFAULT_LEVEL})`)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExit status 1 if a schema is not compatible.')
    .action((types: string[], flags: CheckFlags) => check(types, flags, context));

  schema
    .command('register')
    .description('register the schemas under proto/: all, or none if one is not compatible')
    .argument('[types...]', 'event types (default: all under proto/)')
    .option('--proto <dir>', 'folder of the .proto files', './proto')
    .option('--json', 'print one JSON object a line')
    .action((types: string[], flags: { proto: string; json?: boolean }) =>
      register(types, flags, context),
    );

  schema
    .command('diff')
    .description('print the changes between two versions, and whether they are compatible')
    .argument('<subject>', 'event type')
    .argument('[from]', 'older version (default: the latest)', VERSION)
    .argument('[to]', 'newer version (default: the text under proto/)', VERSION)
    .option('--proto <dir>', 'folder of the .proto files', './proto')
    .action(
      (
        subject: string,
        from: number | undefined,
        to: number | undefined,
        flags: { proto: string },
      ) => diff(subject, from, to, flags.proto, context),
    );
}

function registerLevel(schema: Command, context: LongRunningContext): void {
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

interface CheckFlags {
  readonly proto: string;
  readonly against?: string;
  readonly level?: string;
  readonly json?: boolean;
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

/** Null: it cannot be read, which is said. */
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

async function check(
  types: readonly string[],
  flags: CheckFlags,
  context: LongRunningContext,
): Promise<void> {
  if (flags.level !== undefined && flags.against === undefined)
    throw new UsageError(
      '--level goes with --against; to set a level of the registry, use millrace schema level',
    );
  const catalog = readCatalog(flags.proto);
  let results: readonly CheckResult[];
  if (flags.against === undefined) {
    const { registry } = await context.open({ protoDir: null, anew: true });
    results = [];
    for (const draft of draftsOf(catalog, types))
      results = [...results, { type: draft.subject, ...(await registry.check(draft)) }];
  } else {
    const level = flags.level === undefined ? DEFAULT_LEVEL : asLevel(flags.level);
    const before = createCatalog(await protoAt(flags.against, flags.proto));
    results = await checkOffline(catalog, before, level, namedTypes(catalog, types, before));
  }
  report(results, flags.json ?? false, context);
}

interface CheckResult extends Omit<Verdict, 'against'> {
  readonly type: string;
}

function report(results: readonly CheckResult[], json: boolean, context: LongRunningContext): void {
  const bad = results.filter((one) => !one.compatible);
  if (bad.length > 0) context.fail();
  if (json) {
    context.out(
      safeJson({
        compatible: bad.length === 0,
        types: results.map(({ type, compatible, level, findings, warnings }) => ({
          type,
          compatible,
          level,
          findings,
          warnings,
        })),
      }),
    );
    return;
  }
  for (const { type, compatible, level, findings, warnings } of results) {
    context.out(
      `${printable(type)}: ${compatible ? 'compatible' : `NOT compatible, ${plural(findings.length, 'finding')}`} (level ${level})`,
    );
    for (const finding of findings) context.out(findingLines(finding));
    for (const warning of warnings) context.out(findingLines(warning, 'warning: '));
  }
}

async function register(
  types: readonly string[],
  flags: { proto: string; json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const drafts = draftsOf(readCatalog(flags.proto), types);
  const { registry } = await context.open({ protoDir: null, anew: true });
  const results: CheckResult[] = [];
  for (const draft of drafts)
    results.push({ type: draft.subject, ...(await registry.check(draft)) });
  const bad = results.filter((one) => !one.compatible);
  if (bad.length > 0) {
    report(bad, flags.json ?? false, context);
    context.err(
      `millrace: nothing was registered: ${plural(bad.length, 'schema')} of ${drafts.length} ${bad.length === 1 ? 'is' : 'are'} not compatible`,
    );
    return;
  }
  const by = await registeredBy(resolve(flags.proto));
  const rows: string[][] = [];
  for (const draft of drafts) {
    const { id, version, isNew } = await registry.register(draft, by);
    if (flags.json) context.out(safeJson({ type: draft.subject, version, id, new: isNew }));
    else
      rows.push([
        draft.subject,
        String(version),
        String(id),
        isNew ? 'registered' : 'was registered before',
      ]);
  }
  if (rows.length > 0)
    context.out(
      table(
        [
          { title: 'subject' },
          { title: 'version', right: true },
          { title: 'id', right: true },
          { title: '' },
        ],
        rows,
      ),
    );
}

async function diff(
  subject: string,
  from: number | undefined,
  to: number | undefined,
  protoDir: string,
  context: LongRunningContext,
): Promise<void> {
  const { registry } = await context.open({ protoDir: null, anew: true });
  const old = await registry.version(subject, from ?? 'latest', true);
  let fresh: { readonly name: string; readonly files: readonly ProtoSource[] };
  if (to === undefined) {
    const catalog = readCatalog(protoDir);
    if (!catalog.types.has(subject))
      throw new ConfigError([
        `no message under ${protoDir} declares "${subject}"; name two versions to compare those`,
      ]);
    fresh = { name: protoDir, files: catalog.filesOf(subject) };
  } else
    fresh = {
      name: `version ${to}`,
      files: (await registry.version(subject, to, true)).schema.files,
    };
  const texts = (files: readonly ProtoSource[]): Map<string, string> =>
    new Map(files.map((file) => [file.name, file.text]));
  const [before, after] = [texts(old.schema.files), texts(fresh.files)];
  let changed = false;
  for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    if (before.get(name) === after.get(name)) continue;
    changed = true;
    context.out(
      printableLines(
        createTwoFilesPatch(
          name,
          name,
          before.get(name) ?? '',
          after.get(name) ?? '',
          `version ${old.version}`,
          fresh.name,
        ),
        Infinity,
        Infinity,
      ),
    );
  }
  if (!changed) {
    context.out('no difference');
    return;
  }
  const { compatible, level, findings, warnings } = await registry.check(
    { subject, files: fresh.files },
    old.version,
  );
  context.out(
    `${compatible ? 'compatible' : `NOT compatible, ${plural(findings.length, 'finding')}`} with version ${old.version} (level ${level})`,
  );
  for (const finding of findings) context.out(findingLines(finding));
  for (const warning of warnings) context.out(findingLines(warning, 'warning: '));
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
  if (level !== undefined || flags.unset) await registry.setLevel(subject, level ?? null);
  const now = await registry.level(subject ?? undefined);
  if (flags.json) context.out(safeJson({ subject, level: now.level, own: now.own }));
  else
    context.out(
      `${subject === null ? 'global' : printable(subject)}: ${now.level}${subject !== null && !now.own ? ' (global)' : ''}${subject === null && !now.own ? ' (default)' : ''}`,
    );
}

function asLevel(text: string): Level {
  try {
    return checkLevel(text.toUpperCase());
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** @throws ConfigError where the folder declares no event type */
function readCatalog(dir: string): Catalog {
  const catalog = createCatalog(loadProtoFolder(resolve(dir)));
  if (catalog.types.size === 0)
    throw new ConfigError([
      `no message under ${dir} has option (millrace.v1.event): add it to the message of each event type`,
    ]);
  return catalog;
}

function draftsOf(catalog: Catalog, types: readonly string[]): SchemaDraft[] {
  return namedTypes(catalog, types).map((subject) => ({
    subject,
    files: catalog.filesOf(subject),
  }));
}

/** @throws UnknownEventTypeError for a type that neither declares */
function namedTypes(catalog: Catalog, types: readonly string[], before?: Catalog): string[] {
  for (const type of types) if (!before?.types.has(type)) catalog.get(type);
  if (types.length > 0) return [...new Set(types)];
  return [...new Set([...catalog.types.keys(), ...(before?.types.keys() ?? [])])].sort();
}
