/**
 * Made-up data of an event type. Every payload passes the type's own check. Values are short, and
 * nothing in them looks real.
 */
import protobuf from 'protobufjs';
import type { Catalog } from './catalog.ts';

/** Random number: 0 ≤ x < 1 */
export type Chance = () => number;

/** Most levels of messages in messages. Deeper message fields stay unset. */
const MOST_DEPTH = 4;

/**
 * Makes data of a type.
 * @throws UnknownEventTypeError
 */
export function sampleData(
  catalog: Catalog,
  type: string,
  subject: string,
  chance: Chance,
): Record<string, unknown> {
  const { messageName, subjectField } = catalog.get(type);
  return {
    ...sampleMessage(catalog.root.lookupType(messageName), chance, 0),
    [subjectField]: subject,
  };
}

function sampleMessage(
  message: protobuf.Type,
  chance: Chance,
  depth: number,
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  const oneofs = message.oneofsArray.filter((oneof) => !oneof.isProto3Optional);
  const chosen = new Set(
    oneofs.map((oneof) => oneof.fieldsArray[Math.floor(chance() * oneof.fieldsArray.length)]),
  );
  for (const field of message.fieldsArray) {
    field.resolve();
    if (field.partOf && oneofs.includes(field.partOf) && !chosen.has(field)) continue;
    const nested = field.resolvedType instanceof protobuf.Type;
    if (nested && depth >= MOST_DEPTH) continue;
    const one = (): unknown => sampleValue(field, chance, depth);
    if (field instanceof protobuf.MapField) out[field.name] = { [sampleKey(field.keyType)]: one() };
    else if (field.repeated)
      out[field.name] = Array.from({ length: Math.floor(chance() * 3) }, one);
    else out[field.name] = one();
  }
  return out;
}

function sampleKey(type: string): string {
  return type === 'string' ? 'key' : type === 'bool' ? 'true' : '1';
}

function sampleValue(field: protobuf.Field, chance: Chance, depth: number): unknown {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return sampleMessage(resolvedType, chance, depth + 1);
  if (resolvedType instanceof protobuf.Enum) {
    const values = Object.values(resolvedType.values);
    return values[Math.floor(chance() * values.length)];
  }
  switch (field.type) {
    case 'string':
      return `${field.name}-${Math.floor(chance() * 1000)}`;
    case 'bool':
      return chance() < 0.5;
    case 'bytes':
      return Uint8Array.from({ length: Math.floor(chance() * 16) }, () =>
        Math.floor(chance() * 256),
      );
    case 'double':
    case 'float':
      return Math.floor(chance() * 10_000) / 100;
    default:
      return Math.floor(chance() * 1000) + 1;
  }
}
