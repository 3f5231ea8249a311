/**
 * Facts of a message's fields that its reader, its writer, its check and its types must agree on.
 */
import protobuf from 'protobufjs';

/** What protobufjs knows of editions and its types leave out. Resolved with the root. */
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

/** Least and most of each integer type, as JavaScript numbers hold them. */
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

/** Messages within messages, the outermost not counted: what writers write and readers read. */
export const MAX_DEPTH = 100;

/** Tag of a field: beyond 2^31 from field number 2^28 on, so never with signed shifts alone. */
export function tagOf(id: number, wireType: number): number {
  return ((id << 3) | wireType) >>> 0;
}

/** Of one value; elements of a packed field have none of their own. */
export function wireTypeOf(field: protobuf.Field): number {
  if (field.resolvedType instanceof protobuf.Type) return isGroup(field) ? GROUP : DELIMITED;
  return WIRE[field.type] ?? VARINT;
}

/** Of a map field: the type of its keys. */
export function keyTypeOf(field: protobuf.Field): string {
  // protobufjs' types derive its map fields from another base than it does
  return (field as unknown as protobuf.MapField).keyType;
}

/** Tag of the key in a map's entries. */
export function keyTagOf(keyType: string): number {
  return tagOf(1, WIRE[keyType] ?? VARINT);
}

export function isGroup(field: protobuf.Field): boolean {
  return field.delimited && !field.map;
}

/** Whether unset and zero are two things: unset reads as null, and a zero is written. */
export function isNullable(field: protobuf.Field): boolean {
  if (field.repeated || field.map) return false;
  return field.resolvedType instanceof protobuf.Type || Boolean(field.hasPresence);
}

/**
 * The oneof that a field shares with others; null for the one that stands for proto3's `optional`.
 */
export function oneofOf(field: protobuf.Field): protobuf.OneOf | null {
  return field.partOf && !field.partOf.isProto3Optional ? field.partOf : null;
}

/** A closed enum (proto2) has its declared numbers only; an open one (proto3) any of 32 bits. */
export function isClosed(one: protobuf.Enum): boolean {
  return (one as unknown as Resolved)._features.enum_type === 'CLOSED';
}

/** Whether bytes that are no UTF-8 are refused: not so for strings of proto2. */
export function isVerified(field: protobuf.Field): boolean {
  return (field as unknown as Resolved)._features.utf8_validation !== 'NONE';
}

/**
 * The number an enum's unset value has: the first declared, which is 0 unless the enum is closed.
 */
export function firstValue(one: protobuf.Enum): number {
  return Object.values(one.values)[0] ?? 0;
}

/** The key of a property in source text; `__proto__` as an own property. */
export function propertyKey(name: string): string {
  return name === '__proto__' ? '["__proto__"]' : JSON.stringify(name);
}
