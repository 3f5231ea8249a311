/**
 * Checks before a deployment whether these functions, with these schemas, can read every event that
 * is there. That includes old events in the streams (a rewind brings them back), parked events, and
 * dead letters that a replay would take out.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { FunctionSpec } from '../core/function-spec.ts';
import type { RedisSource } from '../redis/source.ts';
import type { Catalog } from '../wire/catalog.ts';
import { findPresentSchemas, type PresentSchema, type PresentSchemas } from './present-schemas.ts';
import type { SchemaRegistry } from './registry.ts';
import type { StoredSchema } from './stored-records.ts';
import {
  schemaIdentityOf,
  prepareSchema,
  readingProblems,
  type Finding,
  type PreparedSchema,
} from './schema-tools.ts';

export interface UnreadableSchema {
  readonly function: string;
  readonly type: string;
  readonly schema: number;
  /**
   * Version of the type. Null: the registry does not know the schema, or knows it as another
   * type's.
   */
  readonly version: number | null;
  readonly why: string;
  readonly findings: readonly Finding[];
}

export interface DeployReport extends PresentSchemas {
  /**
   * Versions of each schema that is present, by id. Empty: the registry does not know the schema.
   */
  readonly versions: ReadonlyMap<
    number,
    readonly { readonly subject: string; readonly version: number }[]
  >;
  readonly unreadableBy: readonly UnreadableSchema[];
}

export interface CheckedSource extends RedisSource {
  readonly registry: SchemaRegistry;
}

/** @throws InvalidSchemaError for a schema of the catalog that the registry would refuse */
export async function deployCheck(
  source: CheckedSource,
  catalog: Catalog,
  functions: readonly FunctionSpec[],
  progress?: (events: number) => void,
): Promise<DeployReport> {
  const { registry } = source;
  const present = await findPresentSchemas(source, functions, progress);
  const ids = [...new Set(present.schemas.map((one) => one.schema))].filter((id) => id > 0);
  const versions = new Map(
    await Promise.all(ids.map(async (id) => [id, await registry.store.uses(id)] as const)),
  );
  const readers = new Map<string, PreparedSchema>();
  const unreadableBy: UnreadableSchema[] = [];
  for (const fn of functions) {
    for (const one of present.schemas) {
      if (one.schema === 0 || !concerns(fn, one)) continue;
      let reader = readers.get(one.type);
      if (!reader) {
        reader = await prepareSchema(one.type, catalog.filesOf(one.type));
        readers.set(one.type, reader);
      }
      const problem = await judgeOne(registry, fn, one, reader, versions.get(one.schema) ?? []);
      if (problem)
        unreadableBy.push({ function: fn.name, type: one.type, schema: one.schema, ...problem });
    }
  }
  const versionOf = ({ type, schema }: PresentSchema): number =>
    versions.get(schema)?.find((use) => use.subject === type)?.version ?? 0;
  const schemas = present.schemas.toSorted((a, b) =>
    a.type < b.type ? -1 : a.type > b.type ? 1 : versionOf(a) - versionOf(b) || a.schema - b.schema,
  );
  return { ...present, schemas, versions, unreadableBy };
}

/**
 * Whether the function may get such events. Events in a stream are for every function of the type.
 * Parked and dead events are for their own function.
 */
function concerns(fn: FunctionSpec, one: PresentSchema): boolean {
  return fn.on.includes(one.type) && (one.streams > 0 || one.functions.has(fn.name));
}

async function judgeOne(
  registry: SchemaRegistry,
  fn: FunctionSpec,
  one: PresentSchema,
  reader: PreparedSchema,
  uses: readonly { subject: string; version: number }[],
): Promise<Omit<UnreadableSchema, 'function' | 'type' | 'schema'> | null> {
  let schema: StoredSchema | null | undefined;
  try {
    [schema] = await registry.store.schemas([one.schema]);
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return { version: null, why: error.message, findings: [] };
  }
  if (!schema)
    return {
      version: null,
      why: `the registry does not know schema id ${one.schema}: register the schema it was written with`,
      findings: [],
    };
  const version = uses.find((use) => use.subject === one.type)?.version ?? null;
  if (version === null && schema.message !== reader.message) {
    return {
      version,
      why: `schema id ${one.schema} is ${schema.message}, not a schema of "${one.type}"`,
      findings: [],
    };
  }
  if (schema.fingerprint === schemaIdentityOf(reader) || schema.fingerprint === reader.meaning)
    return null;
  const arrival = version === null ? null : arrivalOf(fn, one.type, version);
  const writer =
    arrival === null || arrival === version
      ? await registry.prepared(one.schema, one.type)
      : await registry.prepared((await registry.version(one.type, arrival, true)).id, one.type);
  if (writer.meaning === reader.meaning) return null;
  const findings = readingProblems(reader, writer);
  if (findings.length === 0) return null;
  const through = arrival !== null && arrival !== version ? ` (upcast to version ${arrival})` : '';
  return {
    version,
    why: `the schema under proto/ cannot read version ${String(version)}${through}`,
    findings,
  };
}

/** Returns the version that the function's upcasts turn a version into. */
function arrivalOf(fn: FunctionSpec, type: string, version: number): number {
  const step = fn.upcasts.find((one) => one.type === type && one.from === version);
  return step ? arrivalOf(fn, type, step.to) : version;
}
