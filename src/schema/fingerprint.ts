import { createHash } from 'node:crypto';
import type { ParsedSchema } from './model.ts';

/**
 * The identity of a schema, by which the registry finds it: SHA-256, in hex. The hash covers the
 * canonical form of the schema's own file, all messages that the roots lead to, and the schemas it
 * refers to. Schemas that differ only in comments, spaces, order of fields or file names have the
 * same identity.
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
 * Returns the ids that a schema may have; the first free one is taken. Each id is a part of the
 * identity. So an id means the same schema even in a registry that was lost and filled again in
 * another order. Ids are positive 32-bit integers, as Confluent's clients expect. The lowest id is
 * 2^24.
 */
export function idsOf(identity: string): number[] {
  return Array.from(
    { length: 8 },
    (_, i) => FIRST_ID + (parseInt(identity.slice(i * 8, i * 8 + 8), 16) % (2 ** 31 - FIRST_ID)),
  );
}
const FIRST_ID = 2 ** 24;

/**
 * The fingerprint of messages: SHA-256, in hex, over all messages and enums that the roots lead to.
 * Comments, spaces, order of fields and file names do not change it. Any change of bytes, names or
 * reservations does.
 *
 * @param roots names of the messages; their order counts, because message indexes follow it
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

/**
 * Returns the sorted names of all messages and enums that these messages lead to, themselves
 * included.
 */
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
