/**
 * Reads payloads. Each message type is compiled into one JavaScript function, as protobufjs
 * compiles its own decoders.
 *
 * A message becomes an object literal with all of its fields, in the form of the generated types.
 * So spreading, JSON, Object.keys, structuredClone and database drivers see the same fields as a
 * handler. The fields are gathered in local variables, and the object is made once. So objects of a
 * type share one hidden class from the start.
 *
 * The wire rules are protobuf's. The last value of a field wins; messages merge; the last member of
 * a oneof stays; lists are read packed and unpacked. Skipped are unknown fields, fields with a
 * wrong wire type, and unknown numbers of a closed enum. Names from the .proto enter the source
 * only through JSON.stringify.
 */
import protobuf from 'protobufjs';
import {
  firstValue,
  isClosed,
  isGroup,
  isNullable,
  isVerified,
  keyTagOf,
  keyTypeOf,
  MAX_DEPTH,
  oneofOf,
  propertyKey,
  tagOf,
  wireTypeOf,
} from './fields.ts';
import type { PayloadReader } from './payload-reader.ts';

/**
 * Reads the plain data of a message. Arguments for a whole payload: `(reader, end, null, 0, 0)`.
 * @param previous fields of the same message that were read before, to be merged into
 * @param depth number of enclosing messages
 * @param group tag that ends the message, where it is a group; else 0
 * @throws Error, RangeError on bytes that are no such message
 */
export type MessageReader = (
  reader: PayloadReader,
  end: number,
  previous: Record<string, unknown> | null,
  depth: number,
  group: number,
) => Record<string, unknown>;

/** A box, so that a message can refer to itself. */
interface Compiled {
  read: MessageReader;
}

export function compileReader(message: protobuf.Type): MessageReader {
  return compile(message, new Map()).read;
}

/** Objects that the source of one message's function refers to by number. */
interface Links {
  readonly inner: Compiled[];
  readonly enums: ReadonlySet<number>[];
  readonly done: Map<protobuf.Type, Compiled>;
}

function compile(message: protobuf.Type, done: Map<protobuf.Type, Compiled>): Compiled {
  const existing = done.get(message);
  if (existing) return existing;
  const box: Compiled = { read: () => ({}) };
  done.set(message, box);
  const links: Links = { inner: [], enums: [], done };
  const fields = message.fieldsArray.map((field) => field.resolve());
  const key = (field: protobuf.Field): string => propertyKey(field.name);
  const variables = new Map(fields.map((field, i) => [field, `f${i}`]));
  const source = [
    `'use strict'; return function read(r, end, p, depth, g) {`,
    `if (depth > ${MAX_DEPTH}) tooDeep();`,
    ...fields.map((field) => `let ${variables.get(field) as string} = ${unsetOf(field)};`),
    'if (p !== null) {',
    ...fields.map(
      (field) => `${variables.get(field) as string} = p[${JSON.stringify(field.name)}];`,
    ),
    '}',
    'let t, n, e, k, v;',
    'const b = r.buf;',
    'loop: while (r.pos < end) {',
    // Most tags are one byte.
    't = b[r.pos]; if (t < 128 && t > 7) r.pos++; else t = r.tag();',
    'switch (t) {',
    ...fields.flatMap((field) => casesOf(field, variables, links)),
    'default:',
    'if (t === g && g !== 0) { g = 0; break loop; }',
    'r.skipField(t, depth);',
    '}',
    '}',
    'if (g !== 0) noEnd();',
    `return { ${fields.map((field) => `${key(field)}: ${resultOf(field, variables.get(field) as string)}`).join(', ')} };`,
    '}',
  ].join('\n');
  const make = new Function('T', 'E', 'tooDeep', 'noEnd', 'put', 'empty', source) as (
    ...links: unknown[]
  ) => MessageReader;
  box.read = make(links.inner, links.enums, tooDeep, noEnd, put, empty);
  return box;
}

/**
 * Returns the value of an unread field. Empty bytes are made only at the end, where no value came.
 */
function unsetOf(field: protobuf.Field): string {
  if (field.map) return '{}';
  if (field.repeated) return '[]';
  return isNullable(field) || field.type === 'bytes' ? 'null' : zeroOf(field);
}

function zeroOf(field: protobuf.Field): string {
  if (field.resolvedType instanceof protobuf.Enum) return String(firstValue(field.resolvedType));
  return field.type === 'string'
    ? "''"
    : field.type === 'bool'
      ? 'false'
      : field.type === 'bytes'
        ? 'empty()'
        : '0';
}

function resultOf(field: protobuf.Field, variable: string): string {
  const bytes = field.type === 'bytes' && !field.repeated && !field.map && !isNullable(field);
  return bytes ? `${variable} === null ? empty() : ${variable}` : variable;
}

/** Returns the source of the cases for the field's tags. */
function casesOf(
  field: protobuf.Field,
  variables: ReadonlyMap<protobuf.Field, string>,
  links: Links,
): string[] {
  const variable = variables.get(field) as string;
  if (field.map) return mapCase(field, variable, links);
  const wireType = wireTypeOf(field);
  const head = `case ${tagOf(field.id, wireType)}:`;
  const known = knownOf(field, links);
  if (field.repeated) {
    const one = valueOf(field);
    const push =
      known === '' ? `${variable}.push(${one});` : `v = ${one}; if (${known}) ${variable}.push(v);`;
    const single = [
      head,
      ...(isMessage(field) ? messageInto(field, 'null', `${variable}.push(v);`, links) : [push]),
      'continue;',
    ];
    if (isMessage(field) || wireType === 2) return single;
    return [
      ...single,
      `case ${tagOf(field.id, 2)}:`,
      ...within(`while (r.pos < e) { ${push} }`),
      'continue;',
    ];
  }
  const others = (oneofOf(field)?.fieldsArray ?? []).filter((one) => one !== field);
  const set = `${others.map((one) => `${variables.get(one) as string} = null; `).join('')}${variable} = v;`;
  if (isMessage(field)) return [head, ...messageInto(field, variable, set, links), 'continue;'];
  if (known === '' && others.length === 0)
    return [head, `${variable} = ${valueOf(field)};`, 'continue;'];
  return [
    head,
    `v = ${valueOf(field)};`,
    known === '' ? set : `if (${known}) { ${set} }`,
    'continue;',
  ];
}

function isMessage(field: protobuf.Field): boolean {
  return field.resolvedType instanceof protobuf.Type;
}

/** Returns source that reads a length-delimited value up to `e`, and nothing beyond. */
function within(body: string): string[] {
  return [
    'n = r.size(); e = r.pos + n; if (e > end) r.beyond();',
    'r.len = e;',
    body,
    'r.len = end;',
  ];
}

/** Returns source that reads a message or group into `v`. */
function messageInto(
  field: protobuf.Field,
  previous: string,
  then: string,
  links: Links,
): string[] {
  const at = links.inner.push(compile(field.resolvedType as protobuf.Type, links.done)) - 1;
  if (isGroup(field))
    return [`v = T[${at}].read(r, end, ${previous}, depth + 1, ${tagOf(field.id, 4)}); ${then}`];
  return [...within(`v = T[${at}].read(r, e, ${previous}, depth + 1, 0);`), then];
}

/** Returns code that tests whether a closed enum has the number `v`; '' for open enums. */
function knownOf(field: protobuf.Field, links: Links): string {
  const { resolvedType } = field;
  if (!(resolvedType instanceof protobuf.Enum) || !isClosed(resolvedType)) return '';
  return `E[${links.enums.push(new Set(Object.values(resolvedType.values))) - 1}].has(v)`;
}

/** Returns an expression that reads one value other than a message. */
function valueOf(field: protobuf.Field): string {
  if (field.resolvedType instanceof protobuf.Enum) return 'r.int32()';
  if (field.type === 'string') return isVerified(field) ? 'r.stringVerify()' : 'r.string()';
  return `r.${field.type}()`;
}

/**
 * Returns source that reads a map's entry: a message of a key and a value. Either may be missing,
 * or come more than once.
 */
function mapCase(field: protobuf.Field, variable: string, links: Links): string[] {
  const keyType = keyTypeOf(field);
  const key =
    keyType === 'string'
      ? isVerified(field)
        ? 'r.stringVerify()'
        : 'r.string()'
      : `r.${keyType}()`;
  const zero = keyType === 'string' ? "''" : keyType === 'bool' ? 'false' : '0';
  const message = isMessage(field);
  const known = knownOf(field, links);
  const at = message
    ? links.inner.push(compile(field.resolvedType as protobuf.Type, links.done)) - 1
    : 0;
  const value = message
    ? `{ const i = r.size(), o = r.pos + i; if (o > e) r.beyond(); r.len = o; v = T[${at}].read(r, o, v, depth + 1, 0); r.len = e; }`
    : `v = ${valueOf(field)};`;
  const put = `put(${variable}, k, v);`;
  return [
    `case ${tagOf(field.id, 2)}:`,
    `k = ${zero}; v = ${message ? 'null' : zeroOf(field)};`,
    ...within(
      [
        'while (r.pos < e) {',
        't = r.tag();',
        `if (t === ${keyTagOf(keyType)}) k = ${key};`,
        `else if (t === ${tagOf(2, wireTypeOf(field))}) ${value}`,
        'else r.skipField(t, depth);',
        '}',
        message ? `if (v === null) v = T[${at}].read(r, r.pos, null, depth + 1, 0);` : '',
      ].join('\n'),
    ),
    known === '' ? put : `if (${known}) ${put}`,
    'continue;',
  ];
}

/** Sets an own property, also for names such as __proto__. */
function put(into: Record<string, unknown>, key: string | number | boolean, value: unknown): void {
  if (key !== '__proto__') into[key as string] = value;
  else
    Object.defineProperty(into, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}

function empty(): Buffer {
  return Buffer.alloc(0);
}

function tooDeep(): never {
  throw new RangeError(`nested deeper than ${MAX_DEPTH}`);
}

function noEnd(): never {
  throw new RangeError('a group without its end');
}
