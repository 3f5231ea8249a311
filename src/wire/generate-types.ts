/**
 * TypeScript types of the event payloads, generated from the catalog by `npm run proto` and
 * `millrace proto`.
 */
import protobuf from 'protobufjs';
import type { Catalog } from './catalog.ts';
import { isNullable } from './fields.ts';

const SCALARS: Record<string, string> = {
  string: 'string',
  bool: 'boolean',
  bytes: 'Uint8Array',
};

/**
 * Generates a module that declares an interface per message and adds every event type to
 * `EventTypes` of `millrace/define`. Fields have protobufjs' names (camelCase). Decoded events have
 * every field, with its default; messages may be null. 64-bit integers are numbers: both writers
 * and readers refuse values beyond 2^53.
 */
export function generateTypes(catalog: Catalog): string {
  const messages: protobuf.Type[] = [];
  const enums: protobuf.Enum[] = [];
  const collect = (namespace: protobuf.NamespaceBase): void => {
    for (const nested of namespace.nestedArray) {
      // custom options extend the messages of this file: they are no payloads
      if (nested.filename === 'google/protobuf/descriptor.proto') continue;
      if (nested instanceof protobuf.Enum) enums.push(nested);
      if (nested instanceof protobuf.Type) messages.push(nested);
      if (nested instanceof protobuf.Namespace && nested.fullName !== '.millrace.v1')
        collect(nested);
    }
  };
  collect(catalog.root);

  const out = [
    '// Generated from proto/ by `millrace proto`. Do not edit.',
    "import type {} from 'millrace/define';",
    '',
  ];
  const names = uniqueNames([...messages, ...enums]);
  for (const one of enums) {
    out.push(
      `/** ${one.fullName.slice(1)}: ${Object.entries(one.values)
        .map(([name, value]) => `${value} = ${name}`)
        .join(', ')} */`,
    );
    out.push(
      `export type ${names.get(one) as string} = ${[...new Set(Object.values(one.values))].join(' | ')};`,
      '',
    );
  }
  for (const message of messages) {
    if (message.comment)
      out.push(`/** ${message.comment.replaceAll('*/', '* /').split('\n').join(' ')} */`);
    out.push(`export interface ${names.get(message) as string} {`);
    for (const field of message.fieldsArray) {
      field.resolve();
      if (field.comment)
        out.push(`  /** ${field.comment.replaceAll('*/', '* /').split('\n').join(' ')} */`);
      out.push(`  ${field.name}: ${typeOf(field, names)};`);
    }
    out.push('}', '');
  }
  const byMessage = new Map(messages.map((m) => [m.fullName.slice(1), m]));
  out.push("declare module 'millrace/define' {", '  interface EventTypes {');
  for (const [type, { messageName }] of [...catalog.types].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const message = byMessage.get(messageName);
    if (message) out.push(`    '${type}': ${names.get(message) as string};`);
  }
  out.push('  }', '}', '');
  return out.join('\n');
}

function typeOf(field: protobuf.Field, names: Map<protobuf.ReflectionObject, string>): string {
  const { resolvedType } = field;
  const base = resolvedType
    ? (names.get(resolvedType) ?? 'unknown')
    : (SCALARS[field.type] ?? 'number');
  if (field.map) return `Record<string, ${base}>`;
  if (field.repeated) return `${base}[]`;
  // messages, members of a oneof, proto3's `optional`, and all fields of proto2: unset differs from
  // the default
  return isNullable(field) ? `${base} | null` : base;
}

/** Names that the generated module uses itself, or that TypeScript does not allow for a type. */
const TAKEN = [
  'EventTypes',
  'Record',
  'Uint8Array',
  'Array',
  'any',
  'bigint',
  'boolean',
  'never',
  'null',
  'number',
  'object',
  'string',
  'symbol',
  'undefined',
  'unknown',
  'void',
];

/**
 * Chooses type names: short where they are unique, else with the path: OrderCreated, or
 * BillingV1Money.
 */
function uniqueNames(
  objects: readonly protobuf.ReflectionObject[],
): Map<protobuf.ReflectionObject, string> {
  const short = new Map<string, number>(TAKEN.map((name) => [name, 1]));
  for (const one of objects) short.set(one.name, (short.get(one.name) ?? 0) + 1);
  const pascal = (path: string): string =>
    path
      .split(/[._]/)
      .filter(Boolean)
      .map((part) => part.charAt(0).toUpperCase() + part.slice(1))
      .join('');
  const used = new Set([...TAKEN, ...objects.map((one) => one.name)]);
  return new Map(
    objects.map((one) => {
      if (short.get(one.name) === 1) return [one, one.name];
      let name = pascal(one.fullName);
      while (used.has(name)) name += '_';
      used.add(name);
      return [one, name];
    }),
  );
}
