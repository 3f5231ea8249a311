/**
 * Check and encode a payload in one pass: compiled per message type into one JavaScript function, as protobufjs compiles
 * its own encoders, but refusing what does not fit with the path of the field. Publishing is what this is for: half of a
 * publisher's time was looking at every field twice.
 *
 * Only what most events are made of is compiled (strings, bool, whole numbers, double, bytes, enums, messages, and lists of
 * strings and messages). A message with anything else is checked (message-walkers.ts), then encoded by protobufjs.
 * Names from the .proto enter the source only through JSON.stringify.
 */
import protobuf from 'protobufjs';
import type { PayloadArena } from './payload-arena.ts';
import { compileCheck, type Problem } from './message-walkers.ts';

/** Appends the encoded message to the arena, or says why not; then the arena's content is undefined behind its start. */
export type MessageWriter = (data: unknown, arena: PayloadArena) => Problem | null;

type Inner = (data: unknown, arena: PayloadArena, depth: number) => string[] | null;

const INTEGERS: Record<string, readonly [min: number, max: number]> = {
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  sint32: [-2147483648, 2147483647],
  sint64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};
const MAX_DEPTH = 100;

export function compileWriter(message: protobuf.Type): MessageWriter {
  const check = compileCheck(message);
  if (!compilable(message, new Set())) {
    return (data, arena) => {
      const problem = check(data, '');
      if (problem) return problem;
      arena.raw(message.encode(data as protobuf.Message<object>));
      return null;
    };
  }
  const write = compile(message, new Map()).run;
  return (data, arena) => {
    if (write(data, arena, 0) === null) return null;
    // Something does not fit: the slow check finds the words for it.
    return check(data, '') ?? { path: '', what: 'it does not fit its schema' };
  };
}

function compilable(message: protobuf.Type, seen: Set<protobuf.Type>): boolean {
  if (seen.has(message)) return true;
  seen.add(message);
  if (message.oneofsArray.some((o) => !o.isProto3Optional)) return false;
  return message.fieldsArray.every((field) => {
    field.resolve();
    if (field.map || field.required) return false;
    if (field.resolvedType instanceof protobuf.Type) return compilable(field.resolvedType, seen);
    if (field.resolvedType instanceof protobuf.Enum) return !field.repeated;
    if (field.type === 'string') return true;
    return !field.repeated && (field.type in INTEGERS || field.type === 'bool' || field.type === 'double' || field.type === 'bytes');
  });
}

/** A box, so that a message may refer to itself. */
interface Compiled {
  run: Inner;
}

function compile(message: protobuf.Type, done: Map<protobuf.Type, Compiled>): Compiled {
  const existing = done.get(message);
  if (existing) return existing;
  const box: Compiled = { run: () => null };
  done.set(message, box);

  const inner: Compiled[] = [];
  const enums: Set<number>[] = [];
  const names = new Set(message.fieldsArray.map((f) => f.name));
  const lines = [
    `if (typeof d !== 'object' || d === null || Array.isArray(d) || depth > ${MAX_DEPTH}) return BAD;`,
    'let known = 0, v, m;',
  ];
  for (const field of message.fieldsArray) {
    lines.push(`v = d[${JSON.stringify(field.name)}];`, 'if (v !== undefined && v !== null) {', 'known++;');
    // proto3 `optional` writes its default too; all others leave it out
    const present = field.partOf !== null;
    if (field.resolvedType instanceof protobuf.Type) {
      const at = inner.push(compile(field.resolvedType, done)) - 1;
      const one = (value: string): string => `m = w.open(${(field.id << 3) | 2}); if (T[${at}].run(${value}, w, depth + 1) !== null) return BAD; w.close(m);`;
      if (field.repeated) lines.push('if (!Array.isArray(v)) return BAD;', `for (let i = 0; i < v.length; i++) { ${one('v[i]')} }`);
      else lines.push(one('v'));
    } else if (field.repeated) {
      lines.push('if (!Array.isArray(v)) return BAD;', `for (let i = 0; i < v.length; i++) { if (typeof v[i] !== 'string' || !w.string(${(field.id << 3) | 2}, v[i])) return BAD; }`);
    } else if (field.resolvedType instanceof protobuf.Enum) {
      const at = enums.push(new Set(Object.values(field.resolvedType.values))) - 1;
      lines.push(`if (!E[${at}].has(v)) return BAD;`, `${present ? '' : 'if (v !== 0) '}w.int(${field.id << 3}, v);`);
    } else if (field.type === 'string') {
      lines.push("if (typeof v !== 'string') return BAD;", `if (${present ? '' : "v !== '' && "}!w.string(${(field.id << 3) | 2}, v)) return BAD;`);
    } else if (field.type === 'bytes') {
      lines.push('if (!(v instanceof Uint8Array)) return BAD;', `${present ? '' : 'if (v.length > 0) '}w.bytes(${(field.id << 3) | 2}, v);`);
    } else if (field.type === 'bool') {
      lines.push("if (typeof v !== 'boolean') return BAD;", `${present ? '' : 'if (v) '}w.uint(${field.id << 3}, v ? 1 : 0);`);
    } else if (field.type === 'double') {
      lines.push("if (typeof v !== 'number') return BAD;", `${present ? '' : 'if (v !== 0 || 1 / v < 0) '}w.double(${(field.id << 3) | 1}, v);`);
    } else {
      const [min, max] = INTEGERS[field.type] as readonly [number, number];
      const put = field.type.startsWith('s') ? 'sint' : 'int';
      lines.push(`if (!Number.isInteger(v) || v < ${min} || v > ${max}) return BAD;`, `${present ? '' : 'if (v !== 0) '}w.${put}(${field.id << 3}, v);`);
    }
    lines.push('}');
  }
  lines.push('for (const _ in d) known--;', 'if (known !== 0 && unknown(d)) return BAD;', 'return null;');
  const unknown = (data: Record<string, unknown>): boolean => {
    for (const key in data) {
      const value = data[key];
      if (value !== undefined && value !== null && typeof value !== 'function' && !names.has(key)) return true;
    }
    return false;
  };
  box.run = new Function('T', 'E', 'BAD', 'unknown', `'use strict'; return function write(d, w, depth) {\n${lines.join('\n')}\n}`)(inner, enums, BAD, unknown) as Inner;
  return box;
}

const BAD: string[] = [];
