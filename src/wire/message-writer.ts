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
import { compileCheck, type Problem } from './message-walkers.ts';

/** Appends the encoded message to the writer, or says why not; then the writer's content is undefined behind its start. */
export type MessageWriter = (data: unknown, writer: protobuf.Writer) => Problem | null;

type Inner = (data: unknown, writer: protobuf.Writer, depth: number) => string[] | null;

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
    return (data, writer) => {
      const problem = check(data, '');
      if (problem) return problem;
      message.encode(data as protobuf.Message<object>, writer);
      return null;
    };
  }
  const write = compile(message, new Map()).run;
  return (data, writer) => {
    if (write(data, writer, 0) === null) return null;
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
    'let known = 0, v;',
  ];
  for (const field of message.fieldsArray) {
    lines.push(`v = d[${JSON.stringify(field.name)}];`, 'if (v !== undefined && v !== null) {', 'known++;');
    // proto3 `optional` writes its default too; all others leave it out
    const present = field.partOf !== null;
    if (field.resolvedType instanceof protobuf.Type) {
      const at = inner.push(compile(field.resolvedType, done)) - 1;
      const tag = (field.id << 3) | 2;
      const one = (value: string): string => `w.uint32(${tag}).fork(); if (T[${at}].run(${value}, w, depth + 1) !== null) return BAD; w.ldelim();`;
      if (field.repeated) lines.push('if (!Array.isArray(v)) return BAD;', `for (let i = 0; i < v.length; i++) { ${one('v[i]')} }`);
      else lines.push(one('v'));
    } else if (field.repeated) {
      lines.push('if (!Array.isArray(v)) return BAD;', `for (let i = 0; i < v.length; i++) { if (typeof v[i] !== 'string' || !v[i].isWellFormed()) return BAD; w.uint32(${(field.id << 3) | 2}).string(v[i]); }`);
    } else if (field.resolvedType instanceof protobuf.Enum) {
      const at = enums.push(new Set(Object.values(field.resolvedType.values))) - 1;
      lines.push(`if (!E[${at}].has(v)) return BAD;`, `${present ? '' : 'if (v !== 0) '}w.uint32(${field.id << 3}).int32(v);`);
    } else if (field.type === 'string') {
      lines.push("if (typeof v !== 'string' || !v.isWellFormed()) return BAD;", `${present ? '' : "if (v !== '') "}w.uint32(${(field.id << 3) | 2}).string(v);`);
    } else if (field.type === 'bytes') {
      lines.push('if (!(v instanceof Uint8Array)) return BAD;', `${present ? '' : 'if (v.length > 0) '}w.uint32(${(field.id << 3) | 2}).bytes(v);`);
    } else if (field.type === 'bool') {
      lines.push("if (typeof v !== 'boolean') return BAD;", `${present ? '' : 'if (v) '}w.uint32(${field.id << 3}).bool(v);`);
    } else if (field.type === 'double') {
      lines.push("if (typeof v !== 'number') return BAD;", `${present ? '' : 'if (v !== 0 || 1 / v < 0) '}w.uint32(${(field.id << 3) | 1}).double(v);`);
    } else {
      const [min, max] = INTEGERS[field.type] as readonly [number, number];
      // Small non-negative numbers, which most are, take the 32-bit way: the same bytes.
      const wide = field.type === 'int64' || field.type === 'uint64' || field.type === 'int32';
      const put = wide ? `if (v >= 0 && v <= 4294967295) w.uint32(v); else w.${field.type}(v);` : `w.${field.type}(v);`;
      lines.push(`if (!Number.isInteger(v) || v < ${min} || v > ${max}) return BAD;`, `${present ? '' : 'if (v !== 0) '}{ w.uint32(${field.id << 3}); ${put} }`);
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
