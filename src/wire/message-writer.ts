/**
 * Checks and encodes a payload in one pass. Each message type is compiled into one JavaScript
 * function, as protobufjs compiles its own encoders. But wrong data is refused with the path of the
 * field.
 *
 * One pass is for publishing: reading every field twice took half of a publisher's time.
 *
 * The check (message-walkers.ts) explains each refusal. Names from the .proto enter the source only
 * through JSON.stringify.
 */
import protobuf from 'protobufjs';
import {
  INTEGERS,
  isClosed,
  isGroup,
  isNullable,
  keyTagOf,
  keyTypeOf,
  MAX_DEPTH,
  oneofOf,
  tagOf,
  wireTypeOf,
} from './fields.ts';
import {
  compileCheck,
  entriesOf,
  fitsFloat,
  isDetached,
  keyFits,
  type Problem,
} from './message-walkers.ts';
import type { PayloadArena } from './payload-arena.ts';
import { hasContent, isData, isPlain } from './plain-value.ts';
import { wellKnown, type WellKnown } from './well-known.ts';

/**
 * Appends the encoded message to the arena, or returns the problem. After a problem, the arena's
 * content behind its start is undefined.
 */
export type MessageWriter = (data: unknown, arena: PayloadArena) => Problem | null;

type Inner = (data: unknown, arena: PayloadArena, depth: number) => boolean;

export function compileWriter(message: protobuf.Type): MessageWriter {
  const check = compileCheck(message);
  const write = compile(message, new Map());
  return (data, arena) => {
    try {
      if (write.run(data, arena, 0)) return null;
    } catch (error) {
      // A getter or a revoked Proxy has thrown: the check will meet the error again.
      const problem = check(data, '');
      if (problem) return problem;
      throw error;
    }
    return check(data, '') ?? { path: '', what: 'it does not fit its schema' };
  };
}

/** A box, so that a message can refer to itself. */
interface Compiled {
  run: Inner;
}

/** Objects that the source of one message's function refers to by number. */
interface Links {
  readonly inner: Compiled[];
  readonly enums: ReadonlySet<number>[];
  readonly known: WellKnown[];
  readonly done: Map<protobuf.Type, Compiled>;
}

/** Compiles a message. Its function returns true: written; false: the data does not fit. */
function compile(message: protobuf.Type, done: Map<protobuf.Type, Compiled>): Compiled {
  const existing = done.get(message);
  if (existing) return existing;
  const box: Compiled = { run: () => false };
  done.set(message, box);
  const links: Links = { inner: [], enums: [], known: [], done };
  const oneofs = message.oneofsArray.filter((oneof) => !oneof.isProto3Optional);
  const known = wellKnown(message);
  const lines = [
    `if (typeof d !== 'object' || d === null || depth > ${MAX_DEPTH}) return false;`,
    // All objects other than literals are checked closely: most have no content to be written.
    // Reading `constructor` is a load that V8 remembers; a call of getPrototypeOf would not be.
    // `misfit` finds the rest (iterators, old style classes).
    'const instance = d.constructor !== Object;',
    'if (instance && !isPlain(d) && !hasContent(d)) return false;',
    `let known = 0, v, m, q, x${oneofs.map((_, i) => `, o${i} = false`).join('')};`,
  ];
  for (const field of message.fieldsArray) {
    const oneof = oneofOf(field.resolve());
    const member =
      oneof === null
        ? ''
        : `if (o${oneofs.indexOf(oneof)}) return false; o${oneofs.indexOf(oneof)} = true;`;
    lines.push(
      `v = d[${JSON.stringify(field.name)}];`,
      'if (v !== undefined && v !== null) {',
      'known++;',
      member,
      ...fieldLines(field, links),
      '}',
    );
  }
  if (known !== null)
    lines.push(`if (K[${links.known.push(known) - 1}].outside(d) !== null) return false;`);
  lines.push(
    'const any = known > 0;',
    'for (const _ in d) known--;',
    'return (any && known === 0 && !instance) || !misfit(d);',
  );
  const names = new Set(message.fieldsArray.map((field) => field.name));
  const misfit = (data: Record<string, unknown>): boolean => isMisfit(data, names);
  const source = `'use strict'; return function write(d, w, depth) {\n${lines.join('\n')}\n}`;
  const tools = { entriesOf, fitsFloat, isDetached, keyFits, isPlain, hasContent, misfit };
  const make = new Function('T', 'E', 'K', ...Object.keys(tools), source) as (
    ...links: unknown[]
  ) => Inner;
  box.run = make(links.inner, links.enums, links.known, ...Object.values(tools));
  return box;
}

/** Whether data has keys that are no fields, or fields that are not enumerable. */
function isMisfit(data: Record<string, unknown>, names: ReadonlySet<string>): boolean {
  if (!isPlain(data) && !hasContent(data)) return true;
  let fields = 0;
  for (const name of names) if (data[name] !== undefined && data[name] !== null) fields++;
  for (const key in data) {
    if (data[key] === undefined || data[key] === null || !isData(data, key)) continue;
    if (!names.has(key)) return true;
    fields--;
  }
  return fields !== 0;
}

/** Returns source that writes `v`, which is set. */
function fieldLines(field: protobuf.Field, links: Links): string[] {
  if (field.map) return mapLines(field, links);
  const tag = tagOf(field.id, wireTypeOf(field));
  if (!field.repeated) {
    const zero = isNullable(field) ? '' : `if (${isNotZero(field)}) `;
    return [
      `if (${isBad(field, 'v', links)}) return false;`,
      `${zero}${put(field, 'v', tag, links)}`,
    ];
  }
  const each = (one: string): string =>
    `for (let i = 0; i < v.length; i++) { x = v[i]; if (${isBad(field, 'x', links)}) return false; ${one} }`;
  if (!field.packed || wireTypeOf(field) === 2 || field.resolvedType instanceof protobuf.Type) {
    return ['if (!Array.isArray(v)) return false;', each(put(field, 'x', tag, links))];
  }
  return [
    'if (!Array.isArray(v)) return false;',
    `if (v.length > 0) { m = w.open(${tagOf(field.id, 2)});`,
    each(put(field, 'x', 0, links)),
    'w.close(m); }',
  ];
}

/** Returns source that writes every map entry with its key and its value, zeros too. */
function mapLines(field: protobuf.Field, links: Links): string[] {
  const keyType = keyTypeOf(field);
  const key =
    keyType === 'string'
      ? 'if (!w.string(10, k)) return false;'
      : keyType === 'bool'
        ? "w.uint(8, k === true || k === 'true' ? 1 : 0);"
        : `k = Number(k); ${putNumber(keyType, 'k', keyTagOf(keyType))}`;
  return [
    'q = entriesOf(v);',
    'if (q === null) return false;',
    'for (let i = 0; i < q.length; i += 2) {',
    'let k = q[i]; x = q[i + 1];',
    `if (!keyFits('${keyType}', k) || ${isBad(field, 'x', links)}) return false;`,
    `const entry = w.open(${tagOf(field.id, 2)});`,
    key,
    put(field, 'x', tagOf(2, wireTypeOf(field)), links),
    'w.close(entry);',
    '}',
  ];
}

/**
 * Returns the condition under which a value does not fit. Problems that writing finds are left out.
 * Replaces a value that stands for a message by the message.
 */
function isBad(field: protobuf.Field, value: string, links: Links): string {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) {
    const known = wellKnown(resolvedType);
    return known === null
      ? 'false'
      : `(${value} = K[${links.known.push(known) - 1}].convert(${value})) === null`;
  }
  if (resolvedType instanceof protobuf.Enum) {
    return isClosed(resolvedType)
      ? `!E[${links.enums.push(new Set(Object.values(resolvedType.values))) - 1}].has(${value})`
      : `typeof ${value} !== 'number' || ${value} !== (${value} | 0)`;
  }
  switch (field.type) {
    case 'string':
      return `typeof ${value} !== 'string'`;
    case 'bool':
      return `typeof ${value} !== 'boolean'`;
    case 'bytes':
      return `!(${value} instanceof Uint8Array) || (${value}.length === 0 && isDetached(${value}))`;
    case 'double':
      return `typeof ${value} !== 'number'`;
    case 'float':
      return `typeof ${value} !== 'number' || !fitsFloat(${value})`;
    default: {
      const [min, max] = INTEGERS[field.type] as readonly [number, number];
      return `!Number.isInteger(${value}) || ${value} < ${min} || ${value} > ${max}`;
    }
  }
}

/**
 * Returns the condition for writing a value: fields that cannot tell unset from zero leave zeros
 * out.
 */
function isNotZero(field: protobuf.Field): string {
  if (field.type === 'string') return "v !== ''";
  if (field.type === 'bytes') return 'v.length > 0';
  if (field.type === 'bool') return 'v';
  return field.type === 'double' || field.type === 'float' ? 'v !== 0 || 1 / v < 0' : 'v !== 0';
}

/**
 * Returns a statement that writes one value.
 * @param tag 0: an element of a packed field
 */
function put(field: protobuf.Field, value: string, tag: number, links: Links): string {
  if (field.resolvedType instanceof protobuf.Type) {
    const run = `T[${links.inner.push(compile(field.resolvedType, links.done)) - 1}].run(${value}, w, depth + 1)`;
    if (isGroup(field))
      return `{ w.tag(${tag}); if (!${run}) return false; w.tag(${tagOf(field.id, 4)}); }`;
    return `{ m = w.open(${tag}); if (!${run}) return false; w.close(m); }`;
  }
  if (field.resolvedType instanceof protobuf.Enum) return `w.int(${tag}, ${value});`;
  if (field.type === 'string') return `if (!w.string(${tag}, ${value})) return false;`;
  if (field.type === 'bool') return `w.uint(${tag}, ${value} ? 1 : 0);`;
  if (field.type === 'bytes' || field.type === 'double' || field.type === 'float')
    return `w.${field.type}(${tag}, ${value});`;
  return putNumber(field.type, value, tag);
}

function putNumber(type: string, value: string, tag: number): string {
  const method = /fixed/.test(type)
    ? type.replace(/^s/, '')
    : type.startsWith('s')
      ? 'sint'
      : 'int';
  return `w.${method}(${tag}, ${value});`;
}
