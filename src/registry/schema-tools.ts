/**
 * Prepares a schema for the registry: its message, its fingerprint, and the verdict against older
 * schemas.
 */
import { setImmediate } from 'node:timers/promises';
import type { ProtoSource } from '../wire/proto-folder.ts';
import { canRead, Judgement } from '../schema/compatibility.ts';
import type { Comparison, Finding } from '../schema/finding.ts';
import { fingerprint, identity, idsOf, reachable } from '../schema/fingerprint.ts';
import { InvalidSchemaError } from '../schema/limits.ts';
import type { Level, ParsedSchema } from '../schema/model.ts';
import { parseSchema } from '../schema/parse-schema.ts';
import type { SchemaReference } from './stored-records.ts';

export { idsOf, InvalidSchemaError };
export type { Comparison, Finding, Level };
export { LEVELS } from '../schema/model.ts';

export interface PreparedSchema {
  /** Full name of the message that the subject's events are. */
  readonly message: string;
  /** Fingerprint of the compared messages. Schemas that differ elsewhere have the same one. */
  readonly meaning: string;
  readonly model: ParsedSchema;
  /**
   * The compared messages: the event's, or all top-level messages of the file if the subject is no
   * event type.
   */
  readonly roots: readonly string[];
}

/**
 * @param files the schema's own file first, then its imports
 * @throws InvalidSchemaError
 */
export async function prepareSchema(
  subject: string,
  files: readonly ProtoSource[],
): Promise<PreparedSchema> {
  const model = await parseSchema(files);
  const declared = Object.hasOwn(model.events, subject) ? model.events[subject] : undefined;
  const roots = declared === undefined ? model.roots : [declared];
  const extended = reachable(model, roots).find((name) =>
    Object.hasOwn(model.extended ?? {}, name),
  );
  if (extended !== undefined) throw new InvalidSchemaError(model.extended?.[extended] ?? extended);
  return { message: roots[0] ?? '', meaning: fingerprint(model, roots), model, roots };
}

/** Returns the identity by which the registry finds the schema. */
export function schemaIdentityOf(
  { model, meaning }: PreparedSchema,
  references: readonly SchemaReference[] = [],
): string {
  // A file that came along is offered by the registry, but is no schema of its own.
  return identity(
    model,
    meaning,
    references.filter(({ subject }) => !isImported(subject)),
  );
}

/**
 * Whether the subject is `<schema id>:<path>`: a file that came with a schema, as the HTTP API
 * offers it.
 */
export function isImported(subject: string): boolean {
  return /^\d{1,10}:./.test(subject);
}

/**
 * Compares a candidate with all previous schemas. Each finding is reported once; warnings refuse
 * nothing. Other work gets its turn after each comparison: a subject may have a thousand versions.
 */
export async function judge(
  level: Level,
  candidate: PreparedSchema,
  previous: Iterable<PreparedSchema | Promise<PreparedSchema>>,
): Promise<{ readonly compatible: boolean } & Comparison> {
  const judgement = new Judgement(level, candidate.model, candidate.roots);
  for (const one of previous) {
    const { model, roots } = await one;
    judgement.compareWith(model, roots);
    await setImmediate();
  }
  return judgement.verdict();
}

/** Returns the findings that keep the reader from decoding the writer's events. */
export function readingProblems(
  reader: PreparedSchema,
  writer: PreparedSchema,
): readonly Finding[] {
  return canRead(reader.model, reader.roots, writer.model, writer.roots);
}
