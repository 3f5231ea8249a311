/**
 * The HTTP API of the Confluent Schema Registry over our registry, so that existing clients and
 * tools work. Schemas are Protobuf, as text. Contexts, import mode, metadata and rules, and GUIDs
 * are left out.
 *
 * Schemas that Millrace registered hold the files they import. The API needs references instead: a
 * subject and a version for each import. So each imported file is offered as version 1 of a subject
 * `<schema id>:<path>`, which exists for that only.
 */
import type { Context, Hono } from 'hono';
import {
  describeFindings,
  readable,
  RegistryInputError,
  UnknownSchemaError,
  UnknownSubjectError,
  UnknownVersionError,
} from '../registry/schema-errors.ts';
import type { SchemaRegistry, VersionWithSchema } from '../registry/registry.ts';
import type { SchemaReference, StoredSchema } from '../registry/stored-records.ts';
import type { AccessRole } from './access.ts';
import { draftOf } from './registry-draft.ts';
import {
  answering,
  choose,
  flag,
  json,
  pageOf,
  subjectInPath,
  subjectPrefix,
  TYPE,
} from './registry-request.ts';
import { config, mode, PREFIXES, server } from './registry-settings.ts';
import type { RouteGroup } from './server.ts';

export interface RegistryApiOptions {
  readonly registry: SchemaRegistry;
}

export function registryApi({ registry }: RegistryApiOptions): RouteGroup {
  return {
    prefixes: ['/', ...PREFIXES],
    access: 'guarded',
    needs,
    stateBefore: (path) => stateOf(registry, path),
    errorBody: (status, message) => ({
      error_code: status === 413 ? 42209 : status * 100 + 1,
      message,
    }),
    mount(app) {
      subjects(app, registry);
      versions(app, registry);
      schemas(app, registry);
      compatibility(app, registry);
      config(app, registry);
      mode(app);
      server(app);
    },
  };
}

/**
 * Returns the role that a request needs. A POST that looks a schema up, or checks it, changes
 * nothing.
 * A registration is judged, so that it breaks nobody. Levels and deletions are for admins.
 */
function needs(method: string, path: string): AccessRole {
  if (['GET', 'HEAD', 'OPTIONS'].includes(method)) return 'read';
  if (method !== 'POST') return 'admin';
  return /^\/subjects\/[^/]+\/versions\/?$/.test(path) ? 'operate' : 'read';
}

/** Returns the level, and the versions of the subject in the path. */
async function stateOf(registry: SchemaRegistry, path: string): Promise<object> {
  const [, encoded] = /^\/(?:subjects|config)\/([^/]+)/.exec(path) ?? [];
  if (encoded === undefined) return registry.level();
  const subject = decodeURIComponent(encoded);
  const { level } = await registry.level(subject);
  const versions = await registry.versions(subject, true).catch(() => []);
  return { level, versions: versions.map(({ version }) => version) };
}

function subjects(app: Hono, registry: SchemaRegistry): void {
  app.get(
    '/subjects',
    answering(async (c) => {
      const prefix = subjectPrefix(c);
      const live = new Set(flag(c, 'deletedOnly') ? await registry.subjects() : []);
      const all = await registry.subjects(flag(c, 'deleted') || flag(c, 'deletedOnly'));
      return json(
        c,
        pageOf(
          c,
          all.filter((subject) => subject.startsWith(prefix) && !live.has(subject)),
        ),
      );
    }),
  );
  app.post(
    '/subjects/:subject',
    answering(async (c) => {
      const draft = await draftOf(c, registry);
      const deleted = flag(c, 'deleted') || flag(c, 'lookupDeletedSchema');
      await registry.versions(draft.subject, deleted);
      const found = await registry.find(draft, deleted);
      if (!found) throw new UnknownSchemaError('not a version of the subject');
      return json(c, versionBody({ ...found, schema: await registry.schema(found.id) }));
    }),
  );
  app.delete(
    '/subjects/:subject',
    answering(async (c) =>
      json(c, await registry.delete(subjectInPath(c), 'all', flag(c, 'permanent'))),
    ),
  );
}

function versions(app: Hono, registry: SchemaRegistry): void {
  app.get(
    '/subjects/:subject/versions',
    answering(async (c) => {
      const chosen = choose(c, await registry.versions(subjectInPath(c), deletedToo(c)));
      return json(
        c,
        pageOf(
          c,
          chosen.map((one) => one.version),
        ),
      );
    }),
  );
  app.post(
    '/subjects/:subject/versions',
    answering(async (c) => {
      const draft = await draftOf(c, registry, true);
      const { id, version } = await registry.register(draft, {
        by: c.req.header('user-agent') ?? 'http',
        gitRevision: '',
      });
      return json(c, { id, version });
    }),
  );
  app.get(
    '/subjects/:subject/versions/:version',
    answering(async (c) => json(c, versionBody(await findVersion(c, registry)))),
  );
  app.get(
    '/subjects/:subject/versions/:version/schema',
    answering(async (c) =>
      c.body((await findVersion(c, registry)).schema.files[0]?.text ?? '', 200, TYPE),
    ),
  );
  app.get(
    '/subjects/:subject/versions/:version/referencedby',
    answering(async (c) => {
      const { subject, version } = await findVersion(c, registry);
      const by = await registry.store.referencedBy(subject, version);
      const ids = await Promise.all(
        by.map(async (use) => (await registry.version(use.subject, use.version, true)).id),
      );
      return json(c, [...new Set(ids)]);
    }),
  );
  app.delete(
    '/subjects/:subject/versions/:version',
    answering(async (c) =>
      json(c, (await registry.delete(subjectInPath(c), versionOf(c), flag(c, 'permanent')))[0]),
    ),
  );
}

function schemas(app: Hono, registry: SchemaRegistry): void {
  app.get(
    '/schemas/types',
    answering((c) => json(c, ['PROTOBUF'])),
  );
  app.get(
    '/schemas',
    answering(async (c) => {
      const prefix = subjectPrefix(c);
      const deleted = deletedToo(c);
      const out: object[] = [];
      for (const subject of (await registry.subjects(deleted)).filter((one) =>
        one.startsWith(prefix),
      )) {
        const versions = choose(c, (await readable(registry.versions(subject, deleted))) ?? []);
        for (const version of flag(c, 'latestOnly') ? versions.slice(-1) : versions) {
          const schema = await readable(registry.schema(version.id));
          if (schema) out.push(versionBody({ ...version, schema }));
        }
      }
      return json(c, pageOf(c, out));
    }),
  );
  app.get(
    '/schemas/ids/:id',
    answering(async (c) => {
      const schema = await registry.schema(idOf(c));
      const maxId = flag(c, 'fetchMaxId')
        ? { maxId: Math.max(...(await registry.store.ids())) }
        : {};
      return json(c, {
        schemaType: 'PROTOBUF',
        schema: schema.files[0]?.text,
        references: referencesOf(schema),
        ...maxId,
      });
    }),
  );
  app.get(
    '/schemas/ids/:id/schema',
    answering(async (c) =>
      c.body((await registry.schema(idOf(c))).files[0]?.text ?? '', 200, TYPE),
    ),
  );
  app.get(
    '/schemas/ids/:id/subjects',
    answering(async (c) =>
      json(c, pageOf(c, [...new Set((await usesOf(c, registry)).map((use) => use.subject))])),
    ),
  );
  app.get(
    '/schemas/ids/:id/versions',
    answering(async (c) => json(c, pageOf(c, await usesOf(c, registry)))),
  );
  app.get(
    '/contexts',
    answering((c) => json(c, ['.'])),
  );
}

function compatibility(app: Hono, registry: SchemaRegistry): void {
  const check = (version: (c: Context) => Promise<number | undefined>) =>
    answering(async (c) => {
      const draft = await draftOf(c, registry);
      const { compatible, findings } = await registry.check(draft, await version(c));
      return json(c, {
        is_compatible: compatible,
        ...(flag(c, 'verbose') ? { messages: describeFindings(findings) } : {}),
      });
    });
  app.post(
    '/compatibility/subjects/:subject/versions',
    check(() => Promise.resolve(undefined)),
  );
  app.post(
    '/compatibility/subjects/:subject/versions/:version',
    check(async (c) => (await registry.version(subjectInPath(c), versionOf(c))).version),
  );
}

// ---------------------------------------------------------------- requests

function deletedToo(c: Context): boolean {
  return flag(c, 'deleted') || flag(c, 'deletedOnly');
}

/**
 * Reads the version of a path. `latest` and -1 are the latest.
 * @throws RegistryInputError
 */
function versionOf(c: Context): number | 'latest' {
  const text = c.req.param('version') ?? '';
  if (text === 'latest' || text === '-1') return 'latest';
  const version = Number(text);
  if (!/^\d+$/.test(text) || version < 1 || version > 2_147_483_647) {
    throw new RegistryInputError(
      'version',
      `The specified version '${text.slice(0, 50)}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`,
    );
  }
  return version;
}

function idOf(c: Context): number {
  const text = c.req.param('id') ?? '';
  if (!/^\d{1,10}$/.test(text))
    throw new UnknownSchemaError(`${text.slice(0, 50)} is no schema id`);
  return Number(text);
}

async function usesOf(
  c: Context,
  registry: SchemaRegistry,
): Promise<{ subject: string; version: number }[]> {
  const { id } = await registry.schema(idOf(c));
  const uses = await registry.store.uses(id);
  if (flag(c, 'deleted')) return uses;
  const live = await Promise.all(
    uses.map(async (use) =>
      (await registry.versions(use.subject, true)).some(
        (one) => one.version === use.version && !one.deleted,
      ),
    ),
  );
  return uses.filter((_, i) => live[i]);
}

async function findVersion(c: Context, registry: SchemaRegistry): Promise<VersionWithSchema> {
  const subject = subjectInPath(c);
  const version = versionOf(c);
  const imported = /^(\d{1,10}):(.+)$/.exec(subject);
  if (imported) {
    const schema = await registry.schema(Number(imported[1]));
    const file = schema.files.find((one) => one.name === imported[2]);
    if (!file) throw new UnknownSubjectError(subject);
    if (version !== 'latest' && version !== 1) throw new UnknownVersionError(subject, version);
    const files = [file, ...schema.files.filter((one) => one !== file)];
    return {
      subject,
      version: 1,
      id: schema.id,
      atMs: 0,
      by: '',
      revision: '',
      deleted: false,
      schema: { ...schema, references: [], files },
    };
  }
  return registry.version(subject, version, flag(c, 'deleted'));
}

function versionBody(version: VersionWithSchema): object {
  const { subject, id, schema } = version;
  return {
    subject,
    version: version.version,
    id,
    schemaType: 'PROTOBUF',
    schema: schema.files[0]?.text,
    references: referencesOf(schema),
  };
}

/** References as they were registered, or made for the files that came with the schema. */
function referencesOf(schema: StoredSchema): readonly SchemaReference[] {
  if (schema.references.length > 0) return schema.references;
  const imports = [
    ...(schema.files[0]?.text ?? '').matchAll(/^\s*import\s+(?:public\s+|weak\s+)?"([^"]+)"\s*;/gm),
  ].map((match) => match[1] as string);
  return imports
    .filter((name) => schema.files.some((file) => file.name === name))
    .map((name) => ({ name, subject: `${schema.id}:${name}`, version: 1 }));
}
