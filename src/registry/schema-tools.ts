/**
 * What the registry needs of a schema: which message it is, its fingerprint, and the verdict
 * against older ones.
 */
import { setImmediate } from 'node:timers/promises';
import type { ProtoSource } from '../wire/catalog.ts';
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
  /** Of the messages that are compared: the same in schemas that differ elsewhere. */
  readonly meaning: string;
  readonly model: ParsedSchema;
  /**
   * The messages that are compared: the event's, or all at the top of the file where the subject is
   * no event type.
   */
  readonly roots: readonly string[];
}

/**
 * @param files the schema's own file first, then what it imports
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

/** What a schema is found by in the registry. */
export function identityOf(
  { model, meaning }: PreparedSchema,
  references: readonly SchemaReference[] = [],
): string {
  // What the registry offers of files that came along is no schema of its own.
  return identity(
    model,
    meaning,
    references.filter(({ subject }) => !isImported(subject)),
  );
}

/** `<schema id>:<path>`: a file that came with a schema, as the HTTP API offers it. */
export function isImported(subject: string): boolean {
  return /^\d{1,10}:./.test(subject);
}

/**
 * All findings against all of the previous ones, each once; warnings refuse nothing. One previous
 * schema after the other, and others get their turn between: a subject may have a thousand.
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

/** What is in the way of decoding what the writer wrote. */
export function readingProblems(
  reader: PreparedSchema,
  writer: PreparedSchema,
): readonly Finding[] {
  return canRead(reader.model, reader.roots, writer.model, writer.roots);
}
