/**
 * The HTTP API of the Confluent Schema Registry over our registry, so that existing clients and tools work. Protobuf only,
 * as text. What is left out: contexts, import mode, metadata and rules, GUIDs.
 *
 * Schemas that Millrace registered hold the files they import. Where the API needs references (a subject and a version per
 * import), each of those files is offered as version 1 of a subject `<schema id>:<path>`, which exists for that only.
 */
import type { Context, Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { checkLevel, describeFindings, RegistryInputError, UnknownSchemaError, UnknownSubjectError, UnknownVersionError } from '../registry/errors.ts';
import type { SchemaDraft, SchemaRegistry, VersionWithSchema } from '../registry/registry.ts';
import type { SchemaReference, StoredSchema } from '../registry/store.ts';
import type { ProtoSource } from '../wire/catalog.ts';
import { ApiError, toApiError } from './registry-errors.ts';
import type { RouteGroup } from './server.ts';

const TYPE = { 'content-type': 'application/vnd.schemaregistry.v1+json' };
const MAX_REFERENCES = 100;

export interface RegistryApiOptions {
  readonly registry: SchemaRegistry;
}

export function registryApi({ registry }: RegistryApiOptions): RouteGroup {
  return {
    prefixes: ['/subjects', '/schemas', '/compatibility', '/config', '/mode', '/contexts'],
    access: 'guarded',
    // Looking a schema up and judging one are POSTs too.
    changes: (method, path) => !['GET', 'HEAD', 'OPTIONS'].includes(method) && !(method === 'POST' && !/^\/subjects\/[^/]+\/versions\/?$/.test(path)),
    errorBody: (status, message) => ({ error_code: status === 413 ? 42209 : status * 100 + 1, message }),
    mount(app) {
      subjects(app, registry);
      schemas(app, registry);
      compatibility(app, registry);
      config(app, registry);
      mode(app);
    },
  };
}

type Handler = (c: Context) => Promise<Response> | Response;

/** Errors of the registry become its answers; others are the server's. */
function answering(handler: Handler): Handler {
  return async (c) => {
    try {
      return await handler(c);
    } catch (error) {
      const answer = toApiError(error);
      if (!answer) throw error;
      return c.json({ error_code: answer.errorCode, message: answer.message }, answer.status as ContentfulStatusCode, TYPE);
    }
  };
}

function subjects(app: Hono, registry: SchemaRegistry): void {
  app.get('/subjects', answering(async (c) => {
    const prefix = c.req.query('subjectPrefix') ?? '';
    return page(c, (await registry.subjects(flag(c, 'deleted'))).filter((subject) => subject.startsWith(prefix)));
  }));
  app.post('/subjects/:subject', answering(async (c) => {
    const draft = await draftOf(c, registry);
    const deleted = flag(c, 'deleted');
    await registry.versions(draft.subject, deleted);
    const found = await registry.find(draft, deleted);
    if (!found) throw new UnknownSchemaError('not a version of the subject');
    return json(c, versionBody({ ...found, schema: await registry.schema(found.id) }));
  }));
  app.delete('/subjects/:subject', answering(async (c) => json(c, await registry.delete(subjectOf(c), 'all', flag(c, 'permanent')))));

  app.get('/subjects/:subject/versions', answering(async (c) => page(c, (await registry.versions(subjectOf(c), flag(c, 'deleted'))).map((one) => one.version))));
  app.post('/subjects/:subject/versions', answering(async (c) => {
    const draft = await draftOf(c, registry);
    const { id, version } = await registry.register(draft, { by: c.req.header('user-agent') ?? 'http', gitRevision: '' });
    return json(c, { id, version });
  }));
  app.get('/subjects/:subject/versions/:version', answering(async (c) => json(c, versionBody(await findVersion(c, registry)))));
  app.get('/subjects/:subject/versions/:version/schema', answering(async (c) => c.body((await findVersion(c, registry)).schema.files[0]?.text ?? '', 200, TYPE)));
  app.get('/subjects/:subject/versions/:version/referencedby', answering(async (c) => {
    const { subject, version } = await findVersion(c, registry);
    const by = await registry.store.referencedBy(subject, version);
    const ids = await Promise.all(by.map(async (use) => (await registry.version(use.subject, use.version, true)).id));
    return json(c, [...new Set(ids)]);
  }));
  app.delete('/subjects/:subject/versions/:version', answering(async (c) => json(c, (await registry.delete(subjectOf(c), versionOf(c), flag(c, 'permanent')))[0])));
}

function schemas(app: Hono, registry: SchemaRegistry): void {
  app.get('/schemas/types', (c) => json(c, ['PROTOBUF']));
  app.get('/schemas', answering(async (c) => {
    const prefix = c.req.query('subjectPrefix') ?? '';
    const deleted = flag(c, 'deleted');
    const out: object[] = [];
    for (const subject of (await registry.subjects(deleted)).filter((one) => one.startsWith(prefix))) {
      const versions = await registry.versions(subject, deleted);
      for (const version of flag(c, 'latestOnly') ? versions.slice(-1) : versions) out.push(versionBody({ ...version, schema: await registry.schema(version.id) }));
    }
    return page(c, out);
  }));
  app.get('/schemas/ids/:id', answering(async (c) => {
    const schema = await registry.schema(idOf(c));
    return json(c, { schemaType: 'PROTOBUF', schema: schema.files[0]?.text, references: referencesOf(schema) });
  }));
  app.get('/schemas/ids/:id/schema', answering(async (c) => c.body((await registry.schema(idOf(c))).files[0]?.text ?? '', 200, TYPE)));
  app.get('/schemas/ids/:id/subjects', answering(async (c) => json(c, [...new Set((await usesOf(c, registry)).map((use) => use.subject))])));
  app.get('/schemas/ids/:id/versions', answering(async (c) => json(c, await usesOf(c, registry))));
  app.get('/contexts', (c) => json(c, ['.']));
}

function compatibility(app: Hono, registry: SchemaRegistry): void {
  const check = (version: (c: Context) => Promise<number | undefined>) => answering(async (c) => {
    const draft = await draftOf(c, registry);
    const { compatible, findings } = await registry.check(draft, await version(c));
    return json(c, { is_compatible: compatible, ...(flag(c, 'verbose') || !compatible ? { messages: describeFindings(findings) } : {}) });
  });
  app.post('/compatibility/subjects/:subject/versions', check(() => Promise.resolve(undefined)));
  app.post('/compatibility/subjects/:subject/versions/:version', check(async (c) => (await registry.version(subjectOf(c), versionOf(c))).version));
}

function config(app: Hono, registry: SchemaRegistry): void {
  const wanted = async (c: Context): Promise<string> => checkLevel((await bodyOf(c))['compatibility']);
  app.get('/config', answering(async (c) => json(c, { compatibilityLevel: (await registry.level()).level })));
  app.put('/config', answering(async (c) => {
    const level = await wanted(c);
    await registry.setLevel(null, level);
    return json(c, { compatibility: level });
  }));
  app.delete('/config', answering(async (c) => {
    const { level } = await registry.level();
    await registry.setLevel(null, null);
    return json(c, { compatibilityLevel: level });
  }));
  const ownLevel = async (c: Context, globalToo: boolean): Promise<string> => {
    const { level, own } = await registry.level(subjectOf(c));
    if (!own && !globalToo) throw new ApiError(404, 40408, `Subject '${subjectOf(c)}' does not have subject-level compatibility configured`);
    return level;
  };
  app.get('/config/:subject', answering(async (c) => json(c, { compatibilityLevel: await ownLevel(c, flag(c, 'defaultToGlobal')) })));
  app.put('/config/:subject', answering(async (c) => {
    const level = await wanted(c);
    await registry.setLevel(subjectOf(c), level);
    return json(c, { compatibility: level });
  }));
  app.delete('/config/:subject', answering(async (c) => {
    const level = await ownLevel(c, false);
    await registry.setLevel(subjectOf(c), null);
    return json(c, { compatibilityLevel: level });
  }));
}

/** Always READWRITE, and nothing else can be set. */
function mode(app: Hono): void {
  app.get('/mode', (c) => json(c, { mode: 'READWRITE' }));
  app.get('/mode/:subject', answering((c) => {
    if (flag(c, 'defaultToGlobal')) return json(c, { mode: 'READWRITE' });
    throw new ApiError(404, 40409, `Subject '${subjectOf(c)}' does not have subject-level mode configured`);
  }));
  const refused = answering(() => {
    throw new ApiError(422, 42205, 'the mode is READWRITE and cannot be changed');
  });
  for (const path of ['/mode', '/mode/:subject']) app.on(['PUT', 'DELETE'], path, refused);
}

// ---------------------------------------------------------------- requests

function json(c: Context, body: unknown): Response {
  return c.json(body as object, 200, TYPE);
}

/** `offset` and `limit`, as some of its lists take them. */
function page(c: Context, list: readonly unknown[]): Response {
  const number = (name: string, otherwise: number): number => {
    const value = Number(c.req.query(name) ?? otherwise);
    return Number.isInteger(value) && value >= 0 ? value : otherwise;
  };
  const offset = number('offset', 0);
  const limit = number('limit', 0);
  return json(c, list.slice(offset, limit > 0 ? offset + limit : undefined));
}

function flag(c: Context, name: string): boolean {
  return c.req.query(name) === 'true';
}

function subjectOf(c: Context): string {
  return c.req.param('subject') ?? '';
}

/** `latest` and -1 are the latest. @throws RegistryInputError */
function versionOf(c: Context): number | 'latest' {
  const text = c.req.param('version') ?? '';
  if (text === 'latest' || text === '-1') return 'latest';
  const version = Number(text);
  if (!/^\d+$/.test(text) || version < 1 || version > 2_147_483_647) {
    throw new RegistryInputError('version', `The specified version '${text.slice(0, 50)}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`);
  }
  return version;
}

function idOf(c: Context): number {
  const text = c.req.param('id') ?? '';
  if (!/^\d{1,10}$/.test(text)) throw new UnknownSchemaError(`${text.slice(0, 50)} is no schema id`);
  return Number(text);
}

async function usesOf(c: Context, registry: SchemaRegistry): Promise<{ subject: string; version: number }[]> {
  const { id } = await registry.schema(idOf(c));
  const uses = await registry.store.uses(id);
  if (flag(c, 'deleted')) return uses;
  const live = await Promise.all(uses.map(async (use) => (await registry.versions(use.subject, true)).some((one) => one.version === use.version && !one.deleted)));
  return uses.filter((_, i) => live[i]);
}

async function findVersion(c: Context, registry: SchemaRegistry): Promise<VersionWithSchema> {
  const subject = subjectOf(c);
  const version = versionOf(c);
  const imported = /^(\d{1,10}):(.+)$/.exec(subject);
  if (imported) {
    const schema = await registry.schema(Number(imported[1]));
    const file = schema.files.find((one) => one.name === imported[2]);
    if (!file) throw new UnknownSubjectError(subject);
    if (version !== 'latest' && version !== 1) throw new UnknownVersionError(subject, version);
    const files = [file, ...schema.files.filter((one) => one !== file)];
    return { subject, version: 1, id: schema.id, atMs: 0, by: '', revision: '', deleted: false, schema: { ...schema, references: [], files } };
  }
  return registry.version(subject, version, flag(c, 'deleted'));
}

function versionBody(version: VersionWithSchema): object {
  const { subject, id, schema } = version;
  return { subject, version: version.version, id, schemaType: 'PROTOBUF', schema: schema.files[0]?.text, references: referencesOf(schema) };
}

/** As it was registered, or made for the files that came with it. */
function referencesOf(schema: StoredSchema): readonly SchemaReference[] {
  if (schema.references.length > 0) return schema.references;
  const imports = [...(schema.files[0]?.text ?? '').matchAll(/^\s*import\s+(?:public\s+|weak\s+)?"([^"]+)"\s*;/gm)].map((match) => match[1] as string);
  return imports.filter((name) => schema.files.some((file) => file.name === name)).map((name) => ({ name, subject: `${schema.id}:${name}`, version: 1 }));
}

async function bodyOf(c: Context): Promise<Record<string, unknown>> {
  let body: unknown;
  try {
    body = JSON.parse(await c.req.text());
  } catch {
    throw new ApiError(400, 400, 'the body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new ApiError(400, 400, 'the body is not a JSON object');
  return body as Record<string, unknown>;
}

/** @throws ApiError, RegistryInputError */
async function draftOf(c: Context, registry: SchemaRegistry): Promise<SchemaDraft> {
  const subject = subjectOf(c);
  const { schema, schemaType, references, ruleSet, metadata } = await bodyOf(c);
  if (typeof schema !== 'string' || schema === '') throw new ApiError(422, 42201, 'Empty schema');
  if (schemaType !== 'PROTOBUF') throw new ApiError(422, 42201, `Invalid schema: its type is ${JSON.stringify(schemaType ?? 'AVRO').slice(0, 50)}; this registry takes "PROTOBUF" only`);
  for (const [name, value] of Object.entries({ ruleSet, metadata })) {
    if (value !== undefined && value !== null && JSON.stringify(value) !== '{}') throw new ApiError(422, 42201, `Invalid schema: ${name} is not supported by this registry`);
  }
  const wanted = referencesIn(references);
  const files = new Map<string, string>();
  const add = ({ name, text }: ProtoSource): void => {
    const other = files.get(name);
    if (other !== undefined && other !== text) throw new RegistryInputError('references', `two different files named ${JSON.stringify(name)} are referred to`);
    files.set(name, text);
  };
  for (const reference of wanted) {
    const [root, ...others] = (await referredTo(registry, reference)).schema.files;
    add({ name: reference.name, text: root?.text ?? '' });
    others.forEach(add);
  }
  const own = subject.endsWith('.proto') ? subject : `${subject}.proto`;
  if (files.has(own)) throw new RegistryInputError('references', `the schema of "${subject}" refers to itself`);
  return { subject, files: [{ name: own, text: schema }, ...[...files].sort().map(([name, text]) => ({ name, text }))], references: wanted };
}

async function referredTo(registry: SchemaRegistry, { subject, version }: SchemaReference): Promise<VersionWithSchema> {
  try {
    return await registry.version(subject, version);
  } catch (error) {
    if (!(error instanceof UnknownSubjectError || error instanceof UnknownVersionError)) throw error;
    throw new RegistryInputError('references', `it refers to version ${version} of "${subject}": ${error.message}`);
  }
}

function referencesIn(value: unknown): SchemaReference[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_REFERENCES) throw new RegistryInputError('references', `references must be a list of at most ${MAX_REFERENCES}`);
  return value.map((one: unknown) => {
    const { name, subject, version } = (one ?? {}) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof subject !== 'string' || !Number.isInteger(version)) {
      throw new RegistryInputError('references', 'a reference has a name, a subject and a version');
    }
    return { name, subject, version: version as number };
  });
}
