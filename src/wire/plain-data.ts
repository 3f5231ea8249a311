/**
 * Decoded messages as plain objects. protobufjs leaves defaults and methods on a message's prototype: right for what lives as long
 * as a handler runs, wrong for states that are kept, compared and written as JSON (its toJSON makes 64-bit integers strings).
 */
import protobuf from 'protobufjs';

type Convert = (value: unknown) => unknown;

/** Copies messages of this type: every field its own property, as the generated types say. Compiled once per type. */
export function plainCopier(message: protobuf.Type, known: Map<protobuf.Type, Convert> = new Map()): Convert {
  const found = known.get(message);
  if (found) return found;
  // Looked up when it is called: messages may be recursive.
  let fields: readonly (readonly [name: string, convert: Convert])[] = [];
  const copy: Convert = (value) => {
    const from = value as Record<string, unknown>;
    const to: Record<string, unknown> = {};
    for (const [name, convert] of fields) to[name] = convert(from[name]);
    return to;
  };
  known.set(message, copy);
  fields = message.fieldsArray.map((field) => [field.name, fieldCopier(field.resolve(), known)] as const);
  return copy;
}

function fieldCopier(field: protobuf.Field, known: Map<protobuf.Type, Convert>): Convert {
  const one: Convert = field.resolvedType instanceof protobuf.Type ? plainCopier(field.resolvedType, known) : (value) => value;
  if (field.repeated) return (value) => (value as unknown[]).map(one);
  // An own property whatever its name, also __proto__.
  if (field.map) return (value) => Object.fromEntries(Object.entries(value as object).map(([key, each]) => [key, one(each)]));
  return (value) => (value === null || value === undefined ? null : one(value));
}
