/**
 * Explains why data does not fit a message: the path of the first wrong field, and the reason. The
 * writer (message-writer.ts) accepts exactly the same data. A typo never becomes a silently missing
 * value. An object without enumerable content never becomes an empty message.
 */
import protobuf from 'protobufjs';
import { INTEGERS, isClosed, keyTypeOf, MAX_DEPTH } from './fields.ts';
import { describe, hasContent, isData, isPlain } from './plain-value.ts';
import { wellKnown } from './well-known.ts';

export interface Problem {
  readonly path: string;
  readonly what: string;
}
export type Check = (data: unknown, path: string) => Problem | null;
type FieldCheck = (value: unknown, path: string, depth: number) => Problem | null;

export function compileCheck(message: protobuf.Type): Check {
  const check = compileMessage(message, new Map());
  return (data, path) => check(data, path, 0);
}

function compileMessage(message: protobuf.Type, done: Map<protobuf.Type, FieldCheck>): FieldCheck {
  const existing = done.get(message);
  if (existing) return existing;
  const fields = new Map<string, FieldCheck>();
  const oneofs = message.oneofsArray.filter((oneof) => !oneof.isProto3Optional);
  const known = wellKnown(message);
  const takes = known?.takes ?? 'an object';
  const check: FieldCheck = (given, path, depth) => {
    const data = known === null ? given : known.convert(given);
    if (!isMessageData(data))
      return { path, what: `${takes} was expected, got ${describe(given)}` };
    if (depth > MAX_DEPTH) return { path, what: `nested deeper than ${MAX_DEPTH}` };
    const seen = new Set<string>();
    for (const key in data) {
      if (!isData(data, key) || data[key] === undefined || data[key] === null) continue;
      seen.add(key);
      const field = fields.get(key);
      if (!field)
        return {
          path: join(path, key),
          what: `no such field in ${message.fullName.slice(1)}; it has ${[...fields.keys()].join(', ') || 'none'}`,
        };
      const problem = field(data[key], join(path, key), depth);
      if (problem) return problem;
    }
    const hidden = hiddenField(data, fields, seen);
    if (hidden !== null)
      return {
        path: join(path, hidden),
        what: 'its value is in no enumerable property of the object (a getter of a class?): give a plain object',
      };
    const outside = known === null ? null : known.outside(data);
    return outside === null
      ? oneofProblem(oneofs, data, path)
      : { path, what: `${outside}, got ${show(given)}` };
  };
  const readable = guarded(check);
  done.set(message, readable);
  for (const field of message.fieldsArray)
    fields.set(field.name, guarded(compileField(field.resolve(), done)));
  return readable;
}

function isMessageData(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && (isPlain(data) || hasContent(data));
}

/** Returns a field that has a value but is not enumerable. */
function hiddenField(
  data: Readonly<Record<string, unknown>>,
  fields: ReadonlyMap<string, FieldCheck>,
  seen: ReadonlySet<string>,
): string | null {
  for (const name of fields.keys())
    if (!seen.has(name) && data[name] !== undefined && data[name] !== null) return name;
  return null;
}

function oneofProblem(
  oneofs: readonly protobuf.OneOf[],
  data: Readonly<Record<string, unknown>>,
  path: string,
): Problem | null {
  for (const oneof of oneofs) {
    const set = oneof.fieldsArray.filter(
      (field) => data[field.name] !== undefined && data[field.name] !== null,
    );
    if (set.length > 1)
      return {
        path: join(path, oneof.name),
        what: `only one of ${set.map((field) => field.name).join(', ')} may be set`,
      };
  }
  return null;
}

/**
 * Reports an error while reading a value (a getter, a revoked Proxy) as a problem of that value.
 */
function guarded(check: FieldCheck): FieldCheck {
  return (value, path, depth) => {
    try {
      return check(value, path, depth);
    } catch (error) {
      return {
        path,
        what: `it cannot be read: ${error instanceof Error ? error.message : describe(error)}`,
      };
    }
  };
}

function compileField(field: protobuf.Field, done: Map<protobuf.Type, FieldCheck>): FieldCheck {
  const one = compileValue(field, done);
  if (field.map) {
    const keyType = keyTypeOf(field);
    return (value, path, depth) => {
      const entries = entriesOf(value);
      if (entries === null)
        return { path, what: `an object or a Map was expected, got ${describe(value)}` };
      for (let i = 0; i < entries.length; i += 2) {
        const key = entries[i];
        if (!keyFits(keyType, key))
          return {
            path,
            what: `its keys are ${keyType}, ${typeof key === 'string' ? JSON.stringify(key.slice(0, 60)) : describe(key)} is none`,
          };
        const problem = one(entries[i + 1], `${path}.${String(key)}`, depth);
        if (problem) return problem;
      }
      return null;
    };
  }
  if (!field.repeated) return one;
  return (value, path, depth) => {
    if (!Array.isArray(value))
      return { path, what: `an array was expected, got ${describe(value)}` };
    for (let i = 0; i < value.length; i++) {
      const problem = one(value[i], `${path}.${i}`, depth);
      if (problem) return problem;
    }
    return null;
  };
}

/** Returns key, value, key, value …; null: neither an object with content nor a Map. */
export function entriesOf(value: unknown): unknown[] | null {
  if (typeof value !== 'object' || value === null) return null;
  if (value instanceof Map) return [...(value as Map<unknown, unknown>)].flat(1);
  if (!isPlain(value) && !hasContent(value)) return null;
  const entries: unknown[] = [];
  for (const key of Object.keys(value)) entries.push(key, (value as Record<string, unknown>)[key]);
  return entries;
}

function compileValue(field: protobuf.Field, done: Map<protobuf.Type, FieldCheck>): FieldCheck {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) {
    const inner = compileMessage(resolvedType, done);
    return (value, path, depth) => inner(value, path, depth + 1);
  }
  if (resolvedType instanceof protobuf.Enum) return compileEnum(resolvedType);
  switch (field.type) {
    case 'string':
      return (value, path) =>
        typeof value !== 'string'
          ? { path, what: `a string was expected, got ${describe(value)}` }
          : UNPAIRED.test(value)
            ? { path, what: 'an unpaired surrogate, which UTF-8 cannot hold' }
            : null;
    case 'bool':
      return (value, path) =>
        typeof value === 'boolean'
          ? null
          : { path, what: `true or false was expected, got ${describe(value)}` };
    case 'bytes':
      return (value, path) =>
        !(value instanceof Uint8Array)
          ? { path, what: `a Uint8Array was expected, got ${describe(value)}` }
          : isDetached(value)
            ? { path, what: 'a Uint8Array whose bytes were transferred elsewhere' }
            : null;
    case 'double':
      return (value, path) =>
        typeof value === 'number'
          ? null
          : { path, what: `a number was expected, got ${describe(value)}` };
    case 'float':
      return (value, path) =>
        typeof value !== 'number'
          ? { path, what: `a number was expected, got ${describe(value)}` }
          : fitsFloat(value)
            ? null
            : {
                path,
                what: `a number that 32 bits can hold (at most 3.4e38) was expected, got ${value}`,
              };
    default:
      return integer(...(INTEGERS[field.type] as readonly [number, number]));
  }
}

function compileEnum(one: protobuf.Enum): FieldCheck {
  const numbers = new Set(Object.values(one.values));
  const closed = isClosed(one);
  const known = Object.entries(one.values)
    .map(([name, value]) => `${value} (${name})`)
    .join(', ');
  return (value, path) => {
    if (typeof value === 'number' && (closed ? numbers.has(value) : value === (value | 0)))
      return null;
    return {
      path,
      what: `${closed ? `one of ${known}` : `a whole number of 32 bits, such as ${known},`} was expected, got ${describe(value)}`,
    };
  };
}

/** Half of a surrogate pair: UTF-8 has no bytes for it. */
const UNPAIRED = /\p{Surrogate}/u;

/** Whether a number fits a float. Infinities stay infinities; no finite number may become one. */
export function fitsFloat(value: number): boolean {
  return Number.isFinite(Math.fround(value)) || !Number.isFinite(value);
}

/**
 * Whether bytes were transferred to another owner (transfer, structuredClone). Such bytes look
 * empty.
 */
export function isDetached({ length, buffer }: Uint8Array): boolean {
  if (length > 0 || buffer.byteLength > 0) return false;
  try {
    return new Uint8Array(buffer).length > 0;
  } catch {
    return true;
  }
}

/** Whether a map's key fits its key type. A key is the name of a property or the key of a Map. */
export function keyFits(type: string, key: unknown): boolean {
  if (type === 'string') return typeof key === 'string' && !UNPAIRED.test(key);
  if (type === 'bool') return typeof key === 'boolean' || key === 'true' || key === 'false';
  if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'bigint') return false;
  const number = Number(key);
  if (String(number) !== String(key)) return false;
  const [min, max] = INTEGERS[type] as readonly [number, number];
  return Number.isSafeInteger(number) && number >= min && number <= max;
}

function integer(min: number, max: number): FieldCheck {
  return (value, path) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? null
      : { path, what: `a whole number from ${min} to ${max} was expected, got ${describe(value)}` };
}

/** Describes a value, with its content where that is short. */
function show(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object'
    ? (JSON.stringify(value)?.slice(0, 100) ?? describe(value))
    : describe(value);
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
