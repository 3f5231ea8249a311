/**
 * Compiled once per message: what protobufjs leaves open. Its verify() accepts unknown names and integers beyond 2^53 and stops at types; here a payload is refused
 * with the path of the first field that does not fit, so that a typo never becomes a silently missing value.
 */
import protobuf from 'protobufjs';

export interface Problem {
  readonly path: string;
  readonly what: string;
}
export type Check = (data: unknown, path: string) => Problem | null;
type FieldCheck = (value: unknown, path: string) => Problem | null;

const MAX_DEPTH = 100;

export function compileCheck(message: protobuf.Type): Check {
  return compileMessage(message, new Map());
}

function compileMessage(message: protobuf.Type, done: Map<protobuf.Type, Check>): Check {
  const existing = done.get(message);
  if (existing) return existing;
  let depth = 0;
  const fields = new Map<string, FieldCheck>();
  const check: Check = (data, path) => {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) return { path, what: `an object was expected, got ${show(data)}` };
    if (++depth > MAX_DEPTH) {
      depth = 0;
      return { path, what: `nested deeper than ${MAX_DEPTH}` };
    }
    for (const key in data) {
      const value = (data as Record<string, unknown>)[key];
      // a decoded message inherits methods: not data
      if (value === undefined || value === null || (typeof value === 'function' && !Object.hasOwn(data, key))) continue;
      const field = fields.get(key);
      if (!field) {
        depth--;
        return { path: join(path, key), what: `no such field in ${message.fullName.slice(1)}; it has ${[...fields.keys()].join(', ') || 'none'}` };
      }
      const problem = field(value, path === '' ? key : `${path}.${key}`);
      if (problem) {
        depth--;
        return problem;
      }
    }
    depth--;
    return oneofs.length === 0 ? null : oneofProblem(data as Record<string, unknown>, path);
  };
  const oneofs = message.oneofsArray.filter((o) => !o.isProto3Optional);
  const oneofProblem = (data: Record<string, unknown>, path: string): Problem | null => {
    for (const oneof of oneofs) {
      const set = oneof.fieldsArray.filter((f) => data[f.name] !== undefined && data[f.name] !== null);
      if (set.length > 1) return { path: join(path, oneof.name), what: `only one of ${set.map((f) => f.name).join(', ')} may be set` };
    }
    return null;
  };
  done.set(message, check);
  for (const field of message.fieldsArray) {
    field.resolve();
    fields.set(field.name, compileField(field, done));
  }
  return check;
}

function compileField(field: protobuf.Field, done: Map<protobuf.Type, Check>): FieldCheck {
  const one = compileValue(field, done);
  if (field.map) {
    const { keyType } = field as unknown as protobuf.MapField;
    return (value, path) => {
      if (typeof value !== 'object' || Array.isArray(value)) return { path, what: `an object was expected, got ${show(value)}` };
      for (const key of Object.keys(value as object)) {
        if (!keyFits(keyType, key)) return { path, what: `its keys are ${keyType}, ${JSON.stringify(key.slice(0, 60))} is none` };
        const problem = one((value as Record<string, unknown>)[key], `${path}.${key}`);
        if (problem) return problem;
      }
      return null;
    };
  }
  if (field.repeated) {
    return (value, path) => {
      if (!Array.isArray(value)) return { path, what: `an array was expected, got ${show(value)}` };
      for (let i = 0; i < value.length; i++) {
        const problem = one(value[i], `${path}.${i}`);
        if (problem) return problem;
      }
      return null;
    };
  }
  return one;
}

function compileValue(field: protobuf.Field, done: Map<protobuf.Type, Check>): FieldCheck {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) {
    const inner = compileMessage(resolvedType, done);
    return (value, path) => inner(value, path);
  }
  if (resolvedType instanceof protobuf.Enum) {
    const { values } = resolvedType;
    const numbers = new Set(Object.values(values));
    return (value, path) =>
      typeof value === 'number' && numbers.has(value) ? null : { path, what: `one of ${Object.entries(values).map(([k, v]) => `${v} (${k})`).join(', ')} was expected, got ${show(value)}` };
  }
  switch (field.type) {
    case 'string':
      return (value, path) =>
        typeof value !== 'string' ? { path, what: `a string was expected, got ${show(value)}` } : UNPAIRED.test(value) ? { path, what: 'an unpaired surrogate, which UTF-8 cannot hold' } : null;
    case 'bool':
      return (value, path) => (typeof value === 'boolean' ? null : { path, what: `true or false was expected, got ${show(value)}` });
    case 'bytes':
      return (value, path) => (value instanceof Uint8Array ? null : { path, what: `a Uint8Array was expected, got ${show(value)}` });
    case 'double':
    case 'float':
      return (value, path) => (typeof value === 'number' ? null : { path, what: `a number was expected, got ${show(value)}` });
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return integer(-2147483648, 2147483647);
    case 'uint32':
    case 'fixed32':
      return integer(0, 4294967295);
    case 'int64':
    case 'sint64':
    case 'sfixed64':
      return integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    default:
      return integer(0, Number.MAX_SAFE_INTEGER);
  }
}

/** Half of a surrogate pair: protobufjs would write bytes that no reader accepts. */
const UNPAIRED = /\p{Surrogate}/u;

/** Whether the text of a map's key is one of its key type, as protobufjs will read it: anything else would be written as 0. */
function keyFits(type: string, key: string): boolean {
  if (type === 'string') return !UNPAIRED.test(key);
  if (type === 'bool') return key === 'true' || key === 'false';
  const number = Number(key);
  if (String(number) !== key || !Number.isSafeInteger(number)) return false;
  const wide = type.endsWith('64');
  if (type.startsWith('u') || type === 'fixed32' || type === 'fixed64') return number >= 0 && (wide || number <= 4294967295);
  return wide || (number >= -2147483648 && number <= 2147483647);
}

function integer(min: number, max: number): FieldCheck {
  return (value, path) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? null
      : { path, what: `a whole number from ${min} to ${max} was expected, got ${show(value)}` };
}

function show(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'bigint') return `${value}n`;
  return `${typeof value} ${JSON.stringify(value)?.slice(0, 60) ?? ''}`.trim();
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

// ---------------------------------------------------------------- 64-bit fields

const WIDE = new Set(['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64']);

/** An absent 64-bit field reads as the number 0, as a present one reads as a number (see payload-reader.ts). */
export function zeroWideDefaults(message: protobuf.Type, seen: Set<protobuf.Type> = new Set()): void {
  if (seen.has(message)) return;
  seen.add(message);
  const proto = message.ctor.prototype as Record<string, unknown>;
  for (const field of message.fieldsArray) {
    field.resolve();
    if (WIDE.has(field.type) && !field.repeated && !field.map && typeof proto[field.name] === 'object' && proto[field.name] !== null) proto[field.name] = 0;
    if (field.resolvedType instanceof protobuf.Type) zeroWideDefaults(field.resolvedType, seen);
  }
}
