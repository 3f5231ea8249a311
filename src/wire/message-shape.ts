/**
 * The shape of messages as plain data, for readers that show payloads to people. A pool thread
 * reads payloads through compiled code (message-reader.ts), which knows no masks and no integers
 * beyond 2^53.
 */
import protobuf from 'protobufjs';
import { firstValue, isClosed, isNullable, keyTypeOf, oneofOf } from './fields.ts';
import { isMasked } from './masked-fields.ts';

export interface EnumShape {
  readonly name: string;
  /** First declared name of each number. */
  readonly names: ReadonlyMap<number, string>;
  /** Number of an unset value. */
  readonly first: number;
  /** Whether numbers that are not declared count as not written. */
  readonly closed: boolean;
}

export interface FieldShape {
  readonly number: number;
  /** Name in `data`: camelCase. */
  readonly name: string;
  /** Scalar type as the .proto names it; `message`; `enum`. */
  readonly kind: string;
  readonly repeated: boolean;
  /** Scalar type of a map's keys; null: no map. */
  readonly mapKey: string | null;
  /** Whether an unset field differs from zero. */
  readonly nullable: boolean;
  /** Numbers of the other fields of its oneof. */
  readonly others: readonly number[];
  /** Whether its value, and everything below it, is confidential. */
  readonly masked: boolean;
  readonly enum: EnumShape | null;
  /** Shape of its message; null: it is no message. A message may lead to itself. */
  readonly message: () => MessageShape | null;
}

export interface MessageShape {
  /** Full name, without a leading dot. */
  readonly name: string;
  readonly fields: ReadonlyMap<number, FieldShape>;
  /** Finds another message of the same files, for google.protobuf.Any. */
  readonly find: (name: string) => MessageShape | null;
}

/** Shapes of each root. A root never changes once it is resolved. */
const known = new WeakMap<protobuf.Root, Map<string, MessageShape>>();

/**
 * Returns the shape of a message.
 * @param root resolved, as a catalog's is
 * @param name full name, without a leading dot
 * @returns null: the files have no such message
 */
export function shapeOf(root: protobuf.Root, name: string): MessageShape | null {
  let shapes = known.get(root);
  if (!shapes) known.set(root, (shapes = new Map<string, MessageShape>()));
  const found = shapes.get(name);
  if (found) return found;
  // The name may come from an event (Any): only names that are there are kept.
  const message = /^[\w.]+$/.test(name) ? root.lookup(`.${name}`) : null;
  if (!(message instanceof protobuf.Type)) return null;
  const shape: MessageShape = {
    name,
    fields: new Map(
      message.fieldsArray.map((field) => [field.id, fieldShape(field.resolve(), root)]),
    ),
    find: (other) => shapeOf(root, other),
  };
  shapes.set(name, shape);
  return shape;
}

function fieldShape(field: protobuf.Field, root: protobuf.Root): FieldShape {
  const { resolvedType } = field;
  const isMessage = resolvedType instanceof protobuf.Type;
  const isEnum = resolvedType instanceof protobuf.Enum;
  return {
    number: field.id,
    name: field.name,
    kind: isMessage ? 'message' : isEnum ? 'enum' : field.type,
    repeated: field.repeated,
    mapKey: field.map ? keyTypeOf(field) : null,
    nullable: isNullable(field),
    others: (oneofOf(field)?.fieldsArray ?? [])
      .filter((other) => other !== field)
      .map((other) => other.id),
    masked: isMasked(field),
    enum: isEnum ? enumShape(resolvedType) : null,
    message: () => (isMessage ? shapeOf(root, resolvedType.fullName.slice(1)) : null),
  };
}

function enumShape(one: protobuf.Enum): EnumShape {
  const names = new Map<number, string>();
  for (const [name, number] of Object.entries(one.values))
    if (!names.has(number)) names.set(number, name);
  return {
    name: one.fullName.slice(1),
    names,
    first: firstValue(one),
    closed: isClosed(one),
  };
}
