import { createHash } from 'node:crypto';
import type { ParsedSchema } from './model.ts';

/**
 * SHA-256, in hex, over what the roots lead to: the same for the same schema whatever its comments, spaces, order and file
 * names; another one as soon as bytes, names or reservations differ.
 *
 * @param roots messages it is about; their order counts (message indexes follow it)
 */
export function fingerprint(schema: ParsedSchema, roots: readonly string[]): string {
  const names = reachable(schema, roots);
  const messages = names.filter((name) => Object.hasOwn(schema.messages, name)).map((name) => [name, schema.messages[name]]);
  const enums = names.filter((name) => Object.hasOwn(schema.enums, name)).map((name) => [name, schema.enums[name]]);
  return createHash('sha256').update(JSON.stringify([roots, messages, enums])).digest('hex');
}

/** Names of the messages and enums that these messages lead to, themselves included, sorted. */
export function reachable(schema: ParsedSchema, roots: readonly string[]): string[] {
  const found = new Set<string>();
  const queue = [...roots];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    for (const field of schema.messages[name]?.fields ?? []) if (field.kind !== 'scalar') queue.push(field.type);
  }
  return [...found].sort();
}
