/**
 * Compares the schemas under proto/ with the registry when a publisher or a dispatcher starts. A
 * registered schema is found by the hash of its text, without parsing. In development a new schema
 * is registered if it is compatible. In production the process refuses to start, with the reasons.
 */
import { SchemaNotRegisteredError } from '../core/errors/input-errors.ts';
import type { Log } from '../core/log.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import type { Catalog } from '../wire/catalog.ts';
import { describeFindings, IncompatibleSchemaError } from './schema-errors.ts';
import type { RegisteredBy } from './registered-by.ts';
import type { SchemaRegistry } from './registry.ts';
import { textHash, type SchemaDraft } from './schema-draft.ts';
import { InvalidSchemaError } from './schema-tools.ts';

/** The local schema of each event type. */
export type LocalSchemas = ReadonlyMap<string, LocalSchema>;

export interface SettleOptions {
  readonly registry: SchemaRegistry;
  readonly catalog: Catalog;
  readonly mode: 'development' | 'production';
  /** Called only if a schema is registered. */
  readonly registeredBy: () => Promise<RegisteredBy>;
  readonly log: Log;
}

/**
 * Finds or registers all schemas of the catalog.
 * @throws SchemaNotRegisteredError listing each type whose schema is refused, with its findings. In
 *   development the compatible schemas are registered all the same
 */
export async function settleLocalSchemas(
  options: SettleOptions,
): Promise<Map<string, LocalSchema>> {
  const { registry, catalog, mode, log } = options;
  const drafts = [...catalog.types.keys()].map((subject): SchemaDraft => ({
    subject,
    files: catalog.filesOf(subject),
  }));
  const settled = await findByText(registry, drafts);
  const problems: string[] = [];
  let by: RegisteredBy | null = null;
  for (const draft of drafts) {
    if (settled.has(draft.subject)) continue;
    try {
      if (mode === 'development') {
        by ??= await options.registeredBy();
        const { id, version, isNew } = await registry.register(draft, by);
        settled.set(draft.subject, { id, version });
        if (isNew) log('info', 'schema registered', { type: draft.subject, version, schema: id });
        continue;
      }
      const found = await registry.find(draft);
      if (found) settled.set(draft.subject, { id: found.id, version: found.version });
      else problems.push(await whyNot(registry, draft));
    } catch (error) {
      if (error instanceof IncompatibleSchemaError)
        problems.push(incompatible(error.subject, error.level, error.findings));
      else if (error instanceof InvalidSchemaError)
        problems.push(`${draft.subject}: ${error.message}`);
      else throw error;
    }
  }
  if (problems.length > 0) throw new SchemaNotRegisteredError(problems);
  return settled;
}

/** Takes one round trip for the ids, and one for the versions. */
async function findByText(
  registry: SchemaRegistry,
  drafts: readonly SchemaDraft[],
): Promise<Map<string, LocalSchema>> {
  const ids = await registry.store.idsOfTexts(
    drafts.map((draft) => textHash(draft.subject, draft.files)),
  );
  const found = new Map<string, LocalSchema>();
  await Promise.all(
    drafts.map(async ({ subject }, i) => {
      const id = ids[i];
      if (id === null || id === undefined) return;
      const { versions } = await registry.store.state(subject);
      const version = versions.findLast((one) => one.id === id && !one.deleted);
      if (version) found.set(subject, { id, version: version.version });
    }),
  );
  return found;
}

async function whyNot(registry: SchemaRegistry, draft: SchemaDraft): Promise<string> {
  const { compatible, level, findings } = await registry.check(draft);
  return compatible
    ? `${draft.subject}: its schema is not registered, and MILLRACE_MODE is production. It is compatible (level ${level}): millrace schema register ${draft.subject}`
    : incompatible(draft.subject, level, findings);
}

function incompatible(
  subject: string,
  level: string,
  findings: IncompatibleSchemaError['findings'],
): string {
  return (
    `${subject}: its schema is not compatible with what is registered (level ${level}):\n` +
    `${describeFindings(findings)
      .map((line) => `    ${line}`)
      .join('\n')}\n` +
    `    Or, if no event of an older version matters (a playground): millrace schema level ${subject} NONE`
  );
}
