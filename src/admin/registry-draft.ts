/**
 * Reads the body of a request that brings a schema: a draft for the registry, with its references.
 */
import type { Context } from 'hono';
import {
  RegistryInputError,
  UnknownSubjectError,
  UnknownVersionError,
} from '../registry/schema-errors.ts';
import type { SchemaRegistry, VersionWithSchema } from '../registry/registry.ts';
import type { SchemaDraft } from '../registry/schema-draft.ts';
import type { SchemaReference } from '../registry/stored-records.ts';
import type { ProtoSource } from '../wire/proto-folder.ts';
import { ApiError } from './registry-errors.ts';
import { bodyOf, subjectInPath, unprocessable } from './registry-request.ts';

const MAX_REFERENCES = 100;

const DRAFT = [
  'schema',
  'schemaType',
  'references',
  'id',
  'version',
  'subject',
  'deleted',
  'guid',
  'ts',
];
const DRAFT_UNSUPPORTED = [
  'metadata',
  'ruleSet',
  'schemaTags',
  'schemaTagsToAdd',
  'schemaTagsToRemove',
  'propagateSchemaTags',
];

/**
 * Reads the draft of a request, with the files of all references.
 * @param registers whether the request registers the draft: a client must not number it then
 * @throws ApiError, RegistryInputError
 */
export async function draftOf(
  c: Context,
  registry: SchemaRegistry,
  registers = false,
): Promise<SchemaDraft> {
  const subject = subjectInPath(c);
  const { schema, schemaType, references, id, version } = await bodyOf(c, DRAFT, DRAFT_UNSUPPORTED);
  for (const [name, value] of Object.entries({ id, version })) {
    if (value === undefined || value === null || value === -1 || value === 0) continue;
    if (!Number.isInteger(value)) throw unprocessable(`${name} must be a whole number`);
    // Only in import mode, which is not supported, a client numbers schemas.
    if (registers)
      throw new ApiError(
        422,
        42205,
        `Subject ${subject} is not in import mode: the ${name} is given by the registry`,
      );
  }
  if (schemaType !== undefined && schemaType !== null && typeof schemaType !== 'string')
    throw unprocessable('schemaType must be a string');
  if (typeof schema !== 'string' || schema.trim() === '')
    throw new ApiError(422, 42201, 'Empty schema');
  if (schemaType !== 'PROTOBUF')
    throw new ApiError(
      422,
      42201,
      `Invalid schema: its type is ${JSON.stringify(schemaType ?? 'AVRO').slice(0, 50)}; this registry takes "PROTOBUF" only`,
    );
  const wanted = referencesIn(references);
  const files = new Map<string, string>();
  const add = ({ name, text }: ProtoSource): void => {
    const other = files.get(name);
    if (other !== undefined && other !== text)
      throw new RegistryInputError(
        'references',
        `two different files named ${JSON.stringify(name)} are referred to`,
      );
    files.set(name, text);
  };
  for (const reference of wanted) {
    const [root, ...others] = (await referredTo(registry, reference)).schema.files;
    add({ name: reference.name, text: root?.text ?? '' });
    others.forEach(add);
  }
  const own = subject.endsWith('.proto') ? subject : `${subject}.proto`;
  if (files.has(own))
    throw new RegistryInputError('references', `the schema of "${subject}" refers to itself`);
  return {
    subject,
    files: [
      { name: own, text: schema },
      ...[...files].sort().map(([name, text]) => ({ name, text })),
    ],
    references: wanted,
  };
}

async function referredTo(
  registry: SchemaRegistry,
  { subject, version }: SchemaReference,
): Promise<VersionWithSchema> {
  try {
    return await registry.version(subject, version);
  } catch (error) {
    if (!(error instanceof UnknownSubjectError || error instanceof UnknownVersionError))
      throw error;
    throw new RegistryInputError(
      'references',
      `it refers to version ${version} of "${subject}": ${error.message}`,
    );
  }
}

function referencesIn(value: unknown): SchemaReference[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_REFERENCES)
    throw new RegistryInputError(
      'references',
      `references must be a list of at most ${MAX_REFERENCES}`,
    );
  return value.map((one: unknown) => {
    const { name, subject, version } = (one ?? {}) as Record<string, unknown>;
    if (typeof name !== 'string' || typeof subject !== 'string' || !Number.isInteger(version)) {
      throw new RegistryInputError(
        'references',
        'a reference needs a name, a subject and a version',
      );
    }
    return { name, subject, version: version as number };
  });
}
