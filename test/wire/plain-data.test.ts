/**
 * Decoded payloads are plain data: every field is an own property, in the form of the generated
 * types.
 */
import { deepStrictEqual } from 'node:assert/strict';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import type { EventType } from '../../src/wire/event-type.ts';
import { generateTypes } from '../../src/wire/generate-types.ts';
import { PayloadArena } from '../../src/wire/payload-arena.ts';

const EVENT = 'option (millrace.v1.event) = { type: "m", subject: "s" };';
const SCALARS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const;

function catalogOf(fields: string, syntax = 'syntax = "proto3"') {
  const subject = /proto2/.test(syntax) ? 'optional string s = 1;' : 'string s = 1;';
  const text = `${syntax}; package a; import "millrace/v1/options.proto"; import "google/protobuf/any.proto"; import "google/protobuf/timestamp.proto";
    ${/proto2/.test(syntax) ? 'enum Kind { NONE = 0; LARGE = 7; }' : 'enum Kind { NONE = 0; LARGE = 7; } message Inner { int32 n = 1; string text = 2; Inner more = 3; }'}
    message M { ${EVENT} ${subject} ${fields} }`;
  return createCatalog([{ name: 'a.proto', text }]);
}

const typeOf = (fields: string, syntax?: string): EventType => catalogOf(fields, syntax).get('m');

function read(type: EventType, data: unknown = {}): Record<string, unknown> {
  return type.decode(type.encode(data)) as Record<string, unknown>;
}

const zeroOf = (type: string): unknown =>
  type === 'string' ? '' : type === 'bool' ? false : type === 'bytes' ? Buffer.alloc(0) : 0;

t.test('every field of every kind is an own property, unset as set', async (t) => {
  const all = SCALARS.map(
    (type, i) =>
      `${type} one_${type} = ${10 + i}; repeated ${type} list_${type} = ${30 + i}; map<string, ${type}> map_${type} = ${50 + i}; optional ${type} maybe_${type} = ${70 + i};`,
  );
  const type = typeOf(
    `${all.join('\n')} Kind kind = 2; repeated Kind kinds = 3; Inner inner = 4; repeated Inner inners = 5; oneof choice { string left = 6; Inner right = 7; int64 third = 8; }`,
  );
  const expected: Record<string, unknown> = {
    s: '',
    kind: 0,
    kinds: [],
    inner: null,
    inners: [],
    left: null,
    right: null,
    third: null,
  };
  for (const name of SCALARS) {
    const camel = name.charAt(0).toUpperCase() + name.slice(1);
    Object.assign(expected, {
      [`one${camel}`]: zeroOf(name),
      [`list${camel}`]: [],
      [`map${camel}`]: {},
      [`maybe${camel}`]: null,
    });
  }
  const data = read(type);
  deepStrictEqual({ ...data }, expected);
  deepStrictEqual(Object.keys(data).sort(), Object.keys(expected).sort());
  t.equal(Object.getPrototypeOf(data), Object.prototype, 'a plain object');
  deepStrictEqual(
    JSON.parse(JSON.stringify(data)),
    JSON.parse(JSON.stringify(expected)),
    'JSON has numbers for 64 bits and enums',
  );
  deepStrictEqual(Object.keys(structuredClone(data)), Object.keys(data));
  const zeros = Object.fromEntries(
    SCALARS.map((name) => [`maybe${name.charAt(0).toUpperCase()}${name.slice(1)}`, zeroOf(name)]),
  );
  const set = read(type, { ...zeros, inner: {}, third: 0 });
  deepStrictEqual(
    { ...set },
    { ...expected, ...zeros, inner: { n: 0, text: '', more: null }, third: 0 },
    'zeros that can be told from unset',
  );
});

t.test('a row takes over what an event says: zeros replace what was there', async (t) => {
  const type = typeOf('int32 quantity = 2; bool paid = 3; string note = 4; Kind kind = 5;');
  const row = { quantity: 5, paid: true, note: 'old', kind: 7 };
  t.same(
    { ...row, ...read(type, { s: 'x' }) },
    { s: 'x', quantity: 0, paid: false, note: '', kind: 0 },
  );
});

t.test('nested messages, lists, maps and oneofs are plain as well', async () => {
  const type = typeOf(
    'Inner inner = 2; repeated Inner list = 3; map<int32, Inner> map = 4; oneof choice { Inner one = 5; string other = 6; }',
  );
  const zero = { n: 0, text: '', more: null };
  deepStrictEqual(
    read(type, { inner: { more: {} }, list: [{}, { n: 1 }], map: { 7: {} }, one: { text: 'x' } }),
    {
      s: '',
      inner: { ...zero, more: zero },
      list: [zero, { ...zero, n: 1 }],
      map: { 7: zero },
      one: { ...zero, text: 'x' },
      other: null,
    },
  );
});

t.test('a key __proto__ is a key, and harms nobody', async (t) => {
  const type = typeOf('map<string, Inner> map = 2;');
  const map = JSON.parse('{"__proto__":{"n":1},"k":{"n":2}}') as object;
  const data = read(type, { map }) as { map: Record<string, { n: number }> };
  t.same(Object.keys(data.map), ['__proto__', 'k']);
  t.equal(Object.getPrototypeOf(data.map), Object.prototype);
  t.equal(Object.getOwnPropertyDescriptor(data.map, '__proto__')?.enumerable, true);
  t.equal(({} as { n?: number }).n, undefined);
  t.same(JSON.parse(JSON.stringify(data.map)), {
    ['__proto__']: { n: 1, text: '', more: null },
    k: { n: 2, text: '', more: null },
  });
});

t.test('objects of a type share one hidden class, whatever was set', async (t) => {
  const type = typeOf(
    'int32 n = 2; string text = 3; Inner inner = 4; oneof choice { string left = 5; string right = 6; }',
  );
  const keys = Object.keys(read(type)).join();
  for (const data of [{ right: 'x' }, { inner: {}, n: 1 }, { text: 'y', left: '' }])
    t.equal(Object.keys(read(type, data)).join(), keys);
});

t.test(
  'explicit presence is kept: proto2 and editions tell a zero from nothing, and so do the types',
  async (t) => {
    for (const [syntax, fields] of [
      [
        'syntax = "proto2"',
        SCALARS.map((type, i) => `optional ${type} f_${type} = ${10 + i};`).join(' '),
      ],
      ['edition = "2023"', SCALARS.map((type, i) => `${type} f_${type} = ${10 + i};`).join(' ')],
    ] as const) {
      const type = typeOf(fields, syntax);
      const unset = read(type, { s: 'x' });
      const camel = (name: string): string => `f${name.charAt(0).toUpperCase()}${name.slice(1)}`;
      const zeros = Object.fromEntries(SCALARS.map((name) => [camel(name), zeroOf(name)]));
      t.same(Object.values(unset), ['x', ...SCALARS.map(() => null)], syntax);
      deepStrictEqual(
        { ...read(type, { s: 'x', ...zeros }) },
        { s: 'x', ...zeros },
        `${syntax}: zeros`,
      );
      const types = generateTypes(catalogOf(fields, syntax));
      t.match(types, /fInt32: number \| null;/, syntax);
      t.match(types, /fBytes: Uint8Array \| null;/, syntax);
    }
    const implicit = typeOf(
      'int32 n = 2 [features.field_presence = IMPLICIT];',
      'edition = "2023"',
    );
    t.same(read(implicit, { s: 'x', n: 0 }), { s: 'x', n: 0 });
    t.equal(implicit.encode({ s: 'x', n: 0 }).length, 3, 'a zero without presence takes no bytes');
  },
);

t.test('field numbers up to the largest come back', async (t) => {
  const ids = [
    15,
    16,
    2047,
    2048,
    18_999,
    20_000,
    2 ** 28 - 1,
    2 ** 28,
    2 ** 28 + 1,
    2 ** 29 - 2,
    2 ** 29 - 1,
  ];
  for (const id of ids) {
    for (const [field, value] of [
      ['int32 f', 7],
      ['string f', 'x'],
      ['bytes f', Buffer.from('b')],
      ['double f', 1.5],
      ['float f', 1.5],
      ['Inner f', { n: 1, text: '', more: null }],
      ['repeated int32 f', [1, 2]],
      ['repeated string f', ['a', 'b']],
      ['map<string, int32> f', { k: 1 }],
      ['Kind f', 7],
      ['fixed64 f', 5],
      ['optional bool f', false],
    ] as const) {
      t.strictSame(
        read(typeOf(`${field} = ${id};`), { s: 'x', f: value })['f'],
        value,
        `${field} = ${id}`,
      );
    }
  }
});

t.test('a map entry without its value, or without its key, reads as the zero', async () => {
  for (const name of SCALARS) {
    const type = typeOf(`map<int64, ${name}> m = 2;`);
    deepStrictEqual(
      type.decode(Buffer.from([0x12, 2, 0x08, 5])),
      { s: '', m: { 5: zeroOf(name) } },
      name,
    );
    deepStrictEqual(type.decode(Buffer.from([0x12, 0])), { s: '', m: { 0: zeroOf(name) } }, name);
  }
  deepStrictEqual(typeOf('map<bool, Inner> m = 2;').decode(Buffer.from([0x12, 0])), {
    s: '',
    m: { false: { n: 0, text: '', more: null } },
  });
});

t.test('Any is named in camelCase, as all else', async () => {
  const any = { typeUrl: 'type.googleapis.com/a.M', value: Buffer.from('x') };
  deepStrictEqual({ ...read(typeOf('google.protobuf.Any any = 2;'), { any }) }, { s: '', any });
});

t.test(
  'a refusal leaves nothing behind: data as deep as it may be is taken, however often deeper data was refused',
  async (t) => {
    const type = typeOf('Inner inner = 2;');
    const nested = (levels: number): object => {
      let inner: object = { n: 1 };
      for (let i = 1; i < levels; i++) inner = { more: inner };
      return { s: 'x', inner };
    };
    const arena = new PayloadArena();
    for (let i = 0; i < 300; i++)
      t.throws(() => type.encodeTo(nested(101), arena), {
        code: 'INVALID_EVENT',
        message: /nested deeper than 100/,
      });
    for (let i = 0; i < 300; i++)
      t.throws(() => type.check(nested(5000)), { code: 'INVALID_EVENT' });
    type.check(nested(100));
    t.match(read(type, nested(100)), { inner: { more: { more: {} } } });
    t.throws(() => type.check(nested(101)), { code: 'INVALID_EVENT' });
    // One level more than writers write.
    let deep = Buffer.alloc(0);
    for (let i = 0; i < 101; i++)
      deep = Buffer.concat([Buffer.from([i === 100 ? 0x12 : 0x1a]), lengthOf(deep.length), deep]);
    for (let i = 0; i < 300; i++) t.throws(() => type.decode(deep), { code: 'CORRUPT_DATA' });
    t.match(read(type, nested(100)), { inner: {} });
  },
);

function lengthOf(length: number): Buffer {
  return Buffer.from(length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7]);
}
