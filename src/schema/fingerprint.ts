import { createHash } from 'node:crypto';
import type { ParsedSchema } from './model.ts';

/**
 * What a schema is found by: SHA-256, in hex, over the canonical form of its own file, what the
 * roots lead to in all files, and the schemas it refers to. Two schemas have the same one if they
 * differ in comments, spaces, order of fields or file names.
 *
 * @param meaning `fingerprint` of the roots
 */
export function identity(
  schema: ParsedSchema,
  meaning: string,
  references: readonly Reference[],
): string {
  const referred = references
    .map(({ name, subject, version }) => [name, subject, version])
    .sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([meaning, schema.text, referred]))
    .digest('hex');
}

interface Reference {
  readonly name: string;
  readonly subject: string;
  readonly version: number;
}

/**
 * Ids that a schema may have, the first one that is free: each is a part of its identity. So an id
 * means the same schema also in a registry that was lost and filled anew, in whatever order.
 * Positive 32-bit integers, as Confluent's clients expect, above all ids that were counted up by
 * versions before.
 */
export function idsOf(identity: string): number[] {
  return Array.from(
    { length: 8 },
    (_, i) => FIRST_ID + (parseInt(identity.slice(i * 8, i * 8 + 8), 16) % (2 ** 31 - FIRST_ID)),
  );
}
const FIRST_ID = 2 ** 24;

/**
 * SHA-256, in hex, over what the roots lead to: the same for the same messages whatever their
 * comments, spaces, order and file names; another one as soon as bytes, names or reservations
 * differ.
 *
 * @param roots messages it is about; their order counts (message indexes follow it)
 */
export function fingerprint(schema: ParsedSchema, roots: readonly string[]): string {
  const names = reachable(schema, roots);
  const messages = names
    .filter((name) => Object.hasOwn(schema.messages, name))
    .map((name) => [name, schema.messages[name]]);
  const enums = names
    .filter((name) => Object.hasOwn(schema.enums, name))
    .map((name) => [name, schema.enums[name]]);
  return createHash('sha256')
    .update(JSON.stringify([roots, messages, enums]))
    .digest('hex');
}

/** Names of the messages and enums that these messages lead to, themselves included, sorted. */
export function reachable(schema: ParsedSchema, roots: readonly string[]): string[] {
  const found = new Set<string>();
  const queue = [...roots];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    for (const field of schema.messages[name]?.fields ?? [])
      if (field.kind !== 'scalar') queue.push(field.type);
  }
  return [...found].sort();
}
