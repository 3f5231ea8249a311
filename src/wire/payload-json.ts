/**
 * Payloads as JSON: the protobuf JSON mapping (https://protobuf.dev/programming-guides/json/), as
 * far as payloads have forms of their own.
 *
 * The writer makes plain JSON values in the shape that functions see: enums as numbers, 64-bit
 * integers as numbers, bytes as base64, messages as objects. JSON has no NaN, infinities or
 * negative zero, so these are written as strings. The reader accepts that shape, and everything
 * else that the mapping allows.
 */
import protobuf from 'protobufjs';
import { InvalidEventError } from '../core/errors/input-errors.ts';
import { parseRfc3339 } from '../core/rfc3339.ts';
import type { Catalog } from './catalog.ts';

/** Returns decoded data as JSON values. `readJson` is the inverse. */
export function plainJson(value: unknown): unknown {
  if (typeof value === 'number') return jsonNumber(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  }
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plainJson);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plainJson(field)]));
}

function jsonNumber(value: number): number | string {
  if (!Number.isFinite(value)) return String(value);
  return Object.is(value, -0) ? '-0' : value;
}

/** Converts a value, in place where possible. Throws NoJson. */
type Convert = (value: unknown, path: string, depth: number) => unknown;

/** A value that does not fit, found while a payload is read. */
class NoJson extends Error {
  readonly path: string;
  constructor(path: string, what: string) {
    super(what);
    this.path = path;
  }
}

/** Depth at which reading stops. The writer refuses deeper payloads, and reports it. */
const MAX_DEPTH = 100;

/**
 * Reads payloads of the catalog's types from parsed JSON. The result is data for publish(). Unknown
 * fields and values of a wrong type stay as they are, so that publish() reports them.
 * @returns (type, value as JSON.parse gave it; it may be changed) => data. The function throws
 *   InvalidEventError naming the field, for a value that the mapping refuses.
 */
export function createJsonReader(catalog: Catalog): (type: string, json: unknown) => unknown {
  const known = new Map<protobuf.Type, Convert>();
  return (type, json) => {
    const declared = catalog.types.get(type);
    if (!declared) return json;
    try {
      return messageReader(catalog.root.lookupType(declared.messageName), known)(json, '', 0);
    } catch (error) {
      if (error instanceof NoJson) throw new InvalidEventError(type, error.path, error.message);
      throw error;
    }
  };
}

function messageReader(message: protobuf.Type, known: Map<protobuf.Type, Convert>): Convert {
  const found = known.get(message);
  if (found) return found;
  const fields = new Map<string, { readonly name: string; readonly read: Convert | null }>();
  const read: Convert = (value, path, depth) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    if (depth > MAX_DEPTH) return value;
    const data = value as Record<string, unknown>;
    for (const key of Object.keys(data)) {
      const field = fields.get(key);
      if (!field) continue;
      const at = path === '' ? key : `${path}.${key}`;
      if (field.name !== key) rename(data, key, field.name, at);
      const given = data[field.name];
      if (field.read && given !== null && given !== undefined)
        data[field.name] = field.read(given, at, depth + 1);
    }
    return data;
  };
  const convert = WELL_KNOWN[message.fullName.slice(1)]?.(read) ?? read;
  // The reader is registered before its fields are compiled: a message may refer to itself.
  known.set(message, convert);
  for (const field of message.fieldsArray) {
    const entry = { name: field.name, read: fieldReader(field.resolve(), known) };
    for (const name of jsonNames(field)) if (!fields.has(name)) fields.set(name, entry);
  }
  return convert;
}

/**
 * Returns the names of a field: the mapping accepts its lowerCamelCase name, its `json_name` and
 * its name in the .proto.
 */
function jsonNames(field: protobuf.Field): string[] {
  const own = field.options?.['json_name'] as unknown;
  const snake = field.name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return [field.name, ...(typeof own === 'string' ? [own] : []), snake];
}

function rename(data: Record<string, unknown>, from: string, to: string, path: string): void {
  if (Object.hasOwn(data, to)) throw new NoJson(path, `it is given twice, as ${from} and as ${to}`);
  data[to] = data[from];
  delete data[from];
}

function fieldReader(field: protobuf.Field, known: Map<protobuf.Type, Convert>): Convert | null {
  const one = valueReader(field, known);
  if (one === null) return null;
  if (field.map) {
    return (value, path, depth) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, one(each, `${path}.${key}`, depth)]),
      );
    };
  }
  if (!field.repeated) return one;
  return (value, path, depth) =>
    Array.isArray(value) ? value.map((each, i) => one(each, `${path}.${i}`, depth)) : value;
}

/** Returns the conversion of a field's value; null: the value stays as it is. */
function valueReader(
  { type, resolvedType }: protobuf.Field,
  known: Map<protobuf.Type, Convert>,
): Convert | null {
  if (resolvedType instanceof protobuf.Type) {
    // The reader is looked up when a value comes: a message may refer to itself.
    return (value, path, depth) => messageReader(resolvedType, known)(value, path, depth);
  }
  if (resolvedType instanceof protobuf.Enum)
    return (value, path) => readEnum(resolvedType, value, path);
  if (type === 'bytes') return readBytes;
  if (type === 'string' || type === 'bool') return null;
  return type === 'double' || type === 'float' ? readDouble : readInteger;
}

function readEnum({ values }: protobuf.Enum, value: unknown, path: string): unknown {
  if (typeof value !== 'string') return value;
  if (Object.hasOwn(values, value)) return values[value];
  throw new NoJson(
    path,
    `one of ${Object.keys(values).join(', ')} was expected, got ${quoted(value)}`,
  );
}

/**
 * Decodes base64 with the standard or the URL-safe alphabet, with or without padding, and without
 * stray bits.
 */
function readBytes(value: unknown, path: string): unknown {
  if (typeof value !== 'string') return value;
  const plain = value
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '');
  const bytes = Buffer.from(plain, 'base64');
  const padding = value.length - plain.length;
  if (
    (padding > 0 && value.length % 4 !== 0) ||
    bytes.toString('base64').replace(/=+$/, '') !== plain
  ) {
    throw new NoJson(path, `base64 was expected, got ${quoted(value)}`);
  }
  return bytes;
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

function readDouble(value: unknown, path: string): unknown {
  if (typeof value === 'number' && !Number.isFinite(value))
    throw new NoJson(path, 'the number is too large for a double');
  if (typeof value !== 'string') return value;
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value);
  const number = NUMBER.test(value) ? Number(value) : Number.NaN;
  if (!Number.isFinite(number))
    throw new NoJson(path, `a number was expected, got ${quoted(value)}`);
  return number;
}

/** Reads an integer. A string holds one exactly, also one that a JavaScript number would round. */
function readInteger(value: unknown, path: string): unknown {
  if (typeof value !== 'string') return value;
  const number = NUMBER.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) {
    throw new NoJson(path, `a whole number within 2^53 was expected, got ${quoted(value)}`);
  }
  // The mapping allows "1e3"; integers have no negative zero.
  return number + 0;
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60));

// ---------------------------------------------------------------- google.protobuf

/**
 * Conversion of a well-known type.
 * @param read takes the value in the form of an object, which functions see
 */
const WELL_KNOWN: Readonly<Record<string, (read: Convert) => Convert>> = {
  'google.protobuf.Timestamp': (read) => (value, path, depth) =>
    typeof value === 'string' ? timestamp(value, path) : read(value, path, depth),
  'google.protobuf.Duration': (read) => (value, path, depth) =>
    typeof value === 'string' ? duration(value, path) : read(value, path, depth),
  'google.protobuf.FieldMask': (read) => (value, path, depth) =>
    typeof value === 'string'
      ? { paths: value === '' ? [] : value.split(',') }
      : read(value, path, depth),
  'google.protobuf.Struct': (read) => (value, path, depth) =>
    isObject(value) && !isStruct(value) ? toStruct(value, depth) : read(value, path, depth),
  'google.protobuf.Value': (read) => (value, path, depth) =>
    isValue(value) ? read(value, path, depth) : toValue(value, depth),
  'google.protobuf.ListValue': (read) => (value, path, depth) =>
    Array.isArray(value)
      ? { values: value.map((one) => toValue(one, depth + 1)) }
      : read(value, path, depth),
  ...Object.fromEntries(
    ['Double', 'Float', 'Int64', 'UInt64', 'Int32', 'UInt32', 'Bool', 'String', 'Bytes'].map(
      (name) => [
        `google.protobuf.${name}Value`,
        (read: Convert): Convert =>
          (value, path, depth) =>
            read(typeof value === 'object' ? value : { value }, path, depth),
      ],
    ),
  ),
};

const KINDS = new Set([
  'nullValue',
  'numberValue',
  'stringValue',
  'boolValue',
  'structValue',
  'listValue',
]);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Whether a value is a google.protobuf.Value as functions see it, and not free JSON. */
function isValue(value: unknown): boolean {
  if (!isObject(value)) return false;
  const keys = Object.keys(value);
  return keys.length === 1 && KINDS.has(keys[0] as string);
}

function isStruct(value: Record<string, unknown>): boolean {
  const { fields, ...more } = value;
  return Object.keys(more).length === 0 && isObject(fields) && Object.values(fields).every(isValue);
}

function toStruct(value: Record<string, unknown>, depth: number): unknown {
  const fields = Object.entries(value).map(([name, one]) => [name, toValue(one, depth + 1)]);
  return { fields: Object.fromEntries(fields) as unknown };
}

/** Converts free JSON into a google.protobuf.Value. */
function toValue(json: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) return json;
  if (json === null) return { nullValue: 0 };
  if (typeof json === 'number') return { numberValue: json };
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'boolean') return { boolValue: json };
  if (!Array.isArray(json))
    return { structValue: toStruct(json as Record<string, unknown>, depth) };
  return { listValue: { values: json.map((one) => toValue(one, depth + 1)) } };
}

function timestamp(text: string, path: string): { seconds: number; nanos: number } {
  const moment = parseRfc3339(text);
  if (moment === null) throw new NoJson(path, `an RFC 3339 time was expected, got ${quoted(text)}`);
  const seconds = Math.floor(moment.ms / 1000);
  return { seconds, nanos: (moment.ms - seconds * 1000) * 1_000_000 + moment.nanos };
}

/** Longest duration that the mapping allows: 10,000 years. */
const MAX_DURATION_S = 315_576_000_000;

function duration(text: string, path: string): { seconds: number; nanos: number } {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text) ?? [];
  if (sign === undefined || Number(whole) > MAX_DURATION_S) {
    throw new NoJson(path, `seconds such as "1.5s" were expected, got ${quoted(text)}`);
  }
  const direction = sign === '-' ? -1 : 1;
  return {
    seconds: direction * Number(whole) + 0,
    nanos: direction * Number(fraction.padEnd(9, '0')) + 0,
  };
}
