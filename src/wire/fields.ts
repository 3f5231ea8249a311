/** Facts of a message's fields. A message's reader, writer, check and types must agree on them. */
import protobuf from 'protobufjs';

/** Features of editions that protobufjs has and its types leave out. Resolved with the root. */
interface Resolved {
  readonly _features: { readonly enum_type?: string; readonly utf8_validation?: string };
}

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const GROUP = 3;
const FIXED32 = 5;

const WIRE: Readonly<Record<string, number>> = {
  double: FIXED64,
  fixed64: FIXED64,
  sfixed64: FIXED64,
  float: FIXED32,
  fixed32: FIXED32,
  sfixed32: FIXED32,
  string: DELIMITED,
  bytes: DELIMITED,
};

/** Bounds of each integer type, as JavaScript numbers hold them. */
export const INTEGERS: Readonly<Record<string, readonly [min: number, max: number]>> = {
  int32: [-2147483648, 2147483647],
  sint32: [-2147483648, 2147483647],
  sfixed32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  fixed32: [0, 4294967295],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  sint64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  sfixed64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  fixed64: [0, Number.MAX_SAFE_INTEGER],
};

/**
 * Most levels of messages in messages, the outermost not counted. Writers and readers have the same
 * limit.
 */
export const MAX_DEPTH = 100;

/**
 * Returns the tag of a field. It exceeds 2^31 from field number 2^28 on, so signed shifts alone do
 * not do.
 */
export function tagOf(id: number, wireType: number): number {
  return ((id << 3) | wireType) >>> 0;
}

/**
 * Returns the wire type of one value. Elements of a packed field have no wire type of their own.
 */
export function wireTypeOf(field: protobuf.Field): number {
  if (field.resolvedType instanceof protobuf.Type) return isGroup(field) ? GROUP : DELIMITED;
  return WIRE[field.type] ?? VARINT;
}

/** Returns the type of a map field's keys. */
export function keyTypeOf(field: protobuf.Field): string {
  // protobufjs' types give its map fields another base class than its code does
  return (field as unknown as protobuf.MapField).keyType;
}

/** Returns the tag of the key in a map's entries. */
export function keyTagOf(keyType: string): number {
  return tagOf(1, WIRE[keyType] ?? VARINT);
}

export function isGroup(field: protobuf.Field): boolean {
  return field.delimited && !field.map;
}

/** Whether unset differs from zero: an unset field reads as null, and a zero is written. */
export function isNullable(field: protobuf.Field): boolean {
  if (field.repeated || field.map) return false;
  return field.resolvedType instanceof protobuf.Type || Boolean(field.hasPresence);
}

/**
 * Returns the oneof that a field shares with others; null for the oneof that stands for proto3's
 * `optional`.
 */
export function oneofOf(field: protobuf.Field): protobuf.OneOf | null {
  return field.partOf && !field.partOf.isProto3Optional ? field.partOf : null;
}

/**
 * Whether an enum is closed. A closed enum (proto2) has its declared numbers only; an open one
 * (proto3) any of 32 bits.
 */
export function isClosed(one: protobuf.Enum): boolean {
  return (one as unknown as Resolved)._features.enum_type === 'CLOSED';
}

/** Whether invalid UTF-8 is refused: true except for strings of proto2. */
export function isVerified(field: protobuf.Field): boolean {
  return (field as unknown as Resolved)._features.utf8_validation !== 'NONE';
}

/**
 * Returns the number of an enum's unset value: the first declared one, which is 0 unless the enum
 * is closed.
 */
export function firstValue(one: protobuf.Enum): number {
  return Object.values(one.values)[0] ?? 0;
}

/** Returns a property's key in source text; `__proto__` becomes an own property. */
export function propertyKey(name: string): string {
  return name === '__proto__' ? '["__proto__"]' : JSON.stringify(name);
}
