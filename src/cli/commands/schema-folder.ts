/** `millrace schema check`, `register` and `diff`: the schemas under proto/ and the registry. */
import { resolve } from 'node:path';
import { createTwoFilesPatch } from 'diff';
import type { Command } from 'commander';
import { ConfigError } from '../../core/errors/input-errors.ts';
import { registeredBy } from '../../registry/registered-by.ts';
import type { Verdict } from '../../registry/registry.ts';
import type { SchemaDraft } from '../../registry/schema-draft.ts';
import { DEFAULT_LEVEL } from '../../registry/subject.ts';
import { checkOffline } from '../../registry/offline-check.ts';
import { createCatalog, type Catalog } from '../../wire/catalog.ts';
import { loadProtoFolder, type ProtoSource } from '../../wire/proto-folder.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { findingLines } from '../findings.ts';
import { plural, wholeNumber } from '../options.ts';
import { printable, printableLines, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { protoAt } from '../proto-at.ts';
import { asLevel } from './schema-level.ts';

const VERSION = wholeNumber(1, Number.MAX_SAFE_INTEGER);

interface CheckFlags {
  readonly proto: string;
  readonly against?: string;
  readonly level?: string;
  readonly json?: boolean;
}

export function registerSchemaFolder(schema: Command, context: LongRunningContext): void {
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
  const deployment = await context.open({ protoDir: null, anew: true });
  const { registry } = deployment;
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
  const added: Record<string, number> = {};
  const registerAll = async (): Promise<void> => {
    for (const draft of drafts) {
      const { id, version, isNew } = await registry.register(draft, by);
      if (isNew) added[draft.subject] = version;
      if (flags.json) context.out(safeJson({ type: draft.subject, version, id, new: isNew }));
      else
        rows.push([
          draft.subject,
          String(version),
          String(id),
          isNew ? 'registered' : 'was registered before',
        ]);
    }
  };
  await audited(deployment, {
    action: 'schema register',
    target: drafts.map((draft) => draft.subject).join(' '),
    wanted: by,
    make: registerAll,
    after: () => ({ added }),
  });
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

/**
 * Reads the event types of a folder.
 * @throws ConfigError if the folder declares none
 */
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

/**
 * Returns the named types, or all types of both catalogs.
 * @throws UnknownEventTypeError for a type in neither catalog
 */
function namedTypes(catalog: Catalog, types: readonly string[], before?: Catalog): string[] {
  for (const type of types) if (!before?.types.has(type)) catalog.get(type);
  if (types.length > 0) return [...new Set(types)];
  return [...new Set([...catalog.types.keys(), ...(before?.types.keys() ?? [])])].sort();
}
