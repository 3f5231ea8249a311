/**
 * Data of callers: objects without enumerable content are refused by name, and objects with a plain
 * meaning are accepted.
 */
import { deepStrictEqual } from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { InvalidEventError } from '../../src/core/errors/input-errors.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import type { EventType } from '../../src/wire/event-type.ts';
import { subjectFor, subjectOf } from '../../src/wire/event-attributes.ts';
import { EventEncoder } from '../../src/wire/event-encoder.ts';
import { readEvent } from '../../src/wire/batch-reader.ts';
import { emptiedByJson } from '../../src/wire/plain-value.ts';

const HEAD =
  'import "millrace/v1/options.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";';
const EVENT = 'option (millrace.v1.event) = { type: "m", subject: "s" };';

function typeOf(fields: string, syntax = 'proto3'): EventType {
  const subject = syntax === 'proto2' ? 'optional string s = 1;' : 'string s = 1;';
  return createCatalog([
    {
      name: 'a.proto',
      text: `syntax = "${syntax}"; package a; ${HEAD} message M { ${EVENT} ${subject} ${fields} }`,
    },
  ]).get('m');
}

const type =
  typeOf(`message Inner { int32 n = 1; string text = 2; int32 size = 3; string message = 4; string name = 5; }
  Inner inner = 2; repeated Inner inners = 3; map<string, Inner> by_name = 4; oneof choice { Inner one = 5; string other = 6; }
  google.protobuf.Timestamp at = 7; google.protobuf.Duration took = 8; repeated google.protobuf.Timestamp times = 9;
  map<string, int32> counts = 10; map<int64, string> texts = 11; map<bool, string> flags = 12; bytes raw = 13; float ratio = 14; repeated string list = 15;
  repeated int32 numbers = 16; string text = 17; bool flag = 18; double big = 19; int64 wide = 20; map<string, google.protobuf.Timestamp> times_by_name = 21;`);

const read = (data: unknown): Record<string, unknown> =>
  type.decode(type.encode(data)) as Record<string, unknown>;

class Fielded {
  n = 1;
  text = 'x';
}
class Private {
  #n = 1;
  get n(): number {
    return this.#n;
  }
}
/** The pattern of many libraries: data behind getters, storage under other names. */
class Underscored {
  _n = 1;
  get n(): number {
    return this._n;
  }
}
function OldStyle(this: object): void {
  Object.defineProperty(this, 'n', { value: 1, enumerable: false });
}
OldStyle.prototype = {
  total() {
    return 1;
  },
  other() {
    return 2;
  },
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

/** Values that are no message, map or list, in any field. */
const OPAQUE: readonly (readonly [name: string, make: () => unknown])[] = [
  ['a Promise', () => Promise.resolve({ n: 1 })],
  ['a thenable', () => ({ then: () => undefined })],
  ['a Set', () => new Set([1])],
  ['a WeakMap', () => new WeakMap()],
  ['a RegExp', () => /x/],
  ['an Error', () => new Error('x')],
  ['a URL', () => new URL('http://x.y')],
  ['URLSearchParams', () => new URLSearchParams('a=1')],
  ['a boxed number', () => new Number(5)],
  ['a boxed text', () => new String('x')],
  ['a boxed boolean', () => new Boolean(true)],
  ['a Buffer', () => Buffer.from('x')],
  ['a typed array', () => new Float64Array(2)],
  ['an ArrayBuffer', () => new ArrayBuffer(4)],
  ['a DataView', () => new DataView(new ArrayBuffer(4))],
  ['a function', () => () => 1],
  ['a class', () => Fielded],
  ['a symbol', () => Symbol('x')],
  ['a bigint', () => 5n],
  ['an iterator', () => [1][Symbol.iterator]()],
  [
    'a generator',
    () =>
      (function* () {
        yield 1;
      })(),
  ],
  ['a class with private fields', () => new Private()],
  [
    'an old style class without enumerable fields',
    () => new (OldStyle as unknown as new () => object)(),
  ],
  ['a revoked Proxy', revoked],
  ['a Proxy of a Promise', () => new Proxy(Promise.resolve(1), {})],
  ['an Intl object', () => new Intl.NumberFormat('en')],
  ['an AbortSignal', () => new AbortController().signal],
];

function refused(data: unknown, path: string, name: string): void {
  for (const call of [() => type.check(data), () => type.encode(data)]) {
    try {
      call();
    } catch (error) {
      if (error instanceof InvalidEventError && error.path === path) continue;
      throw new Error(`${name} at ${path}: ${String(error)}`, { cause: error });
    }
    throw new Error(`${name} at ${path} was taken`);
  }
}

t.test('what has no enumerable content is refused at every place, naming the field', async () => {
  const places: readonly (readonly [path: string, at: (value: unknown) => unknown])[] = [
    ['', (value) => value],
    ['inner', (value) => ({ s: 'x', inner: value })],
    ['inners.1', (value) => ({ inners: [{}, value] })],
    ['byName.k', (value) => ({ byName: { k: value } })],
    ['byName.k', (value) => ({ byName: new Map([['k', value]]) })],
    ['one', (value) => ({ one: value })],
    ['at', (value) => ({ at: value })],
    ['took', (value) => ({ took: value })],
    ['times.0', (value) => ({ times: [value] })],
    ['counts', (value) => ({ counts: value })],
    ['byName', (value) => ({ byName: value })],
    ['list', (value) => ({ list: value })],
    ['list.0', (value) => ({ list: [value] })],
    ['numbers', (value) => ({ numbers: value })],
    ['text', (value) => ({ text: value })],
    ['flag', (value) => ({ flag: value })],
    ['ratio', (value) => ({ ratio: value })],
    ['wide', (value) => ({ wide: value })],
    ['inner.text', (value) => ({ inner: { text: value } })],
  ];
  for (const [name, make] of OPAQUE)
    for (const [path, at] of places)
      if (!(name === 'a thenable' && /^(counts|byName)?$/.test(path)))
        refused(
          at(make()),
          path === '' || !/thenable/.test(name)
            ? path
            : /^(inner|inners\.1|byName\.k|one|at|took|times\.0)$/.test(path)
              ? `${path}.then`
              : path,
          name,
        );
  for (const [name, make] of OPAQUE)
    if (name !== 'a Buffer') refused({ raw: make() }, 'raw', 'bytes');
  for (const value of [new Map([['n', 1]]), new Date(), [], 'x', 5])
    refused({ inner: value }, 'inner', String(value));
});

t.test('the words name the Promise that was not awaited', async (t) => {
  t.throws(() => type.encode({ inner: Promise.resolve() }), {
    message: /field inner: an object was expected, got a Promise \(an await is missing\?\)/,
  });
  t.throws(() => subjectFor(type, Promise.resolve({ s: 'x' }), undefined), {
    code: 'INVALID_EVENT',
    message: /a Promise \(an await is missing\?\)/,
  });
  t.throws(() => subjectFor(type, revoked(), undefined), {
    code: 'INVALID_EVENT',
    message: /revoked/,
  });
  t.throws(() => subjectOf(type, [{ s: 'x' }]), { code: 'INVALID_EVENT', message: /an array/ });
  t.throws(() => type.encode({ inner: new Private() }), {
    message: /an instance of Private without an enumerable property/,
  });
  t.throws(() => type.encode({ inner: new Underscored() }), {
    code: 'INVALID_EVENT',
    path: 'inner._n',
  });
  t.throws(() => type.encode({ inner: Object.defineProperty({}, 'n', { value: 1 }) }), {
    path: 'inner.n',
    message: /no enumerable property/,
  });
  t.throws(
    () =>
      type.encode({
        inner: {
          get n() {
            throw new Error('lazy');
          },
        },
      }),
    { path: 'inner', message: /cannot be read: lazy/ },
  );
  const lost = new Uint8Array(4);
  structuredClone(lost, { transfer: [lost.buffer] });
  t.throws(() => type.encode({ raw: lost }), { path: 'raw', message: /transferred/ });
  t.throws(() => type.encode({ list: ['a', , 'b'] }), { code: 'INVALID_EVENT', path: 'list.1' });
  t.throws(() => type.encode({ numbers: [NaN] }), { path: 'numbers.0', message: /number NaN/ });
  t.throws(() => type.encode({ wide: 2n ** 60n }), { code: 'INVALID_EVENT', path: 'wide' });
});

t.test('content in enumerable properties is taken, whatever the object', async () => {
  const expected = { n: 1, text: 'x', size: 0, message: '', name: '' };
  const foreign = runInNewContext('({ n: 1, text: "x" })') as object;
  for (const inner of [
    new Fielded(),
    Object.assign(Object.create(null) as object, { n: 1, text: 'x' }),
    foreign,
    Object.freeze({ n: 1, text: 'x' }),
    new Proxy({ n: 1, text: 'x' }, {}),
    {
      n: 1,
      get text() {
        return 'x';
      },
    },
  ]) {
    deepStrictEqual({ ...(read({ inner })['inner'] as object) }, expected);
  }
});

t.test('a Map is a map, with keys of their type', async (t) => {
  deepStrictEqual(
    read({
      counts: new Map([
        ['a', 1],
        ['__proto__', 2],
      ]),
    })['counts'],
    JSON.parse('{"a":1,"__proto__":2}'),
  );
  deepStrictEqual(
    read({
      texts: new Map([
        [7, 'x'],
        [-1, 'y'],
      ]),
      flags: new Map([
        [true, 'on'],
        [false, 'off'],
      ]),
    }),
    read({ texts: { 7: 'x', '-1': 'y' }, flags: { true: 'on', false: 'off' } }),
  );
  for (const [data, path] of [
    [{ counts: new Map([[1, 1]]) }, 'counts'],
    [{ texts: new Map([['x', 'x']]) }, 'texts'],
    [{ texts: new Map([[1.5, 'x']]) }, 'texts'],
    [{ flags: new Map([[0, 'x']]) }, 'flags'],
    [{ counts: new Map([['a', 'x']]) }, 'counts.a'],
  ] as const) {
    t.throws(() => type.encode(data), { code: 'INVALID_EVENT', path }, path);
  }
});

t.test(
  'a Timestamp is a Date, a time of RFC 3339, or seconds and nanos, exact to the nanosecond',
  async (t) => {
    const at = (value: unknown): unknown => read({ at: value })['at'];
    deepStrictEqual(at(new Date('2026-01-31T12:00:00.123Z')), {
      seconds: 1769860800,
      nanos: 123_000_000,
    });
    deepStrictEqual(at('2026-01-31T12:00:00.123456789Z'), {
      seconds: 1769860800,
      nanos: 123_456_789,
    });
    deepStrictEqual(at('2026-01-31T13:00:00+01:00'), { seconds: 1769860800, nanos: 0 });
    deepStrictEqual(at(new Date(-1)), { seconds: -1, nanos: 999_000_000 });
    deepStrictEqual(at(new Date(0)), { seconds: 0, nanos: 0 });
    deepStrictEqual(at({ seconds: 5, nanos: 7 }), { seconds: 5, nanos: 7 });
    deepStrictEqual(at('0001-01-01T00:00:00Z'), { seconds: -62_135_596_800, nanos: 0 });
    deepStrictEqual(at('9999-12-31T23:59:59.999999999Z'), {
      seconds: 253_402_300_799,
      nanos: 999_999_999,
    });
    deepStrictEqual(
      read({ times: [new Date(1000), '1970-01-01T00:00:02Z'], timesByName: { a: new Date(3000) } })[
        'timesByName'
      ],
      { a: { seconds: 3, nanos: 0 } },
    );
    for (const bad of [
      new Date(NaN),
      new Date(8.64e15),
      new Date('+010000-01-01T00:00:00Z'),
      new Date('0000-12-31T23:59:59Z'),
      { seconds: 253_402_300_800 },
      { seconds: -62_135_596_801 },
      { nanos: -1 },
      { nanos: 1e9 },
      { seconds: NaN },
      '2026-02-30T00:00:00Z',
      '2026-01-31',
      '12',
      '',
      1769860800000,
      true,
      {}.constructor,
    ]) {
      t.throws(() => type.encode({ at: bad }), { code: 'INVALID_EVENT', path: /^at/ }, String(bad));
      t.throws(() => type.check({ at: bad }), { code: 'INVALID_EVENT', path: /^at/ });
    }
    fc.assert(
      fc.property(
        fc.date({
          min: new Date('0001-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59.999Z'),
          noInvalidDate: true,
        }),
        (date) => {
          const { seconds, nanos } = at(date) as { seconds: number; nanos: number };
          return seconds * 1000 + nanos / 1e6 === date.getTime();
        },
      ),
    );
  },
);

t.test('a Duration is milliseconds, a text, or seconds and nanos', async (t) => {
  const took = (value: unknown): unknown => read({ took: value })['took'];
  for (const [value, seconds, nanos] of [
    [1500, 1, 500_000_000],
    [0.25, 0, 250_000],
    [-1500, -1, -500_000_000],
    [0, 0, 0],
    [999.9999999, 1, 0],
    ['1.5s', 1, 500_000_000],
    ['-0.000000001s', 0, -1],
    [{ seconds: 3 }, 3, 0],
  ] as const) {
    deepStrictEqual(took(value), { seconds, nanos }, JSON.stringify(value));
  }
  for (const bad of [
    NaN,
    Infinity,
    1e18,
    '1.5',
    '5m',
    new Date(),
    { seconds: 1, nanos: -1 },
    { seconds: 315_576_000_001 },
  ])
    t.throws(
      () => type.encode({ took: bad }),
      { code: 'INVALID_EVENT', path: /^took/ },
      String(bad),
    );
});

t.test(
  'numbers: no finite float becomes infinite; numbers of an open enum are taken, those of a closed one are its own',
  async (t) => {
    for (const value of [1e300, -1e300, 3.5e38, Number.MAX_VALUE])
      t.throws(
        () => type.encode({ ratio: value }),
        { code: 'INVALID_EVENT', path: 'ratio' },
        String(value),
      );
    for (const value of [Infinity, -Infinity, NaN, 3.4028234663852886e38, 0, -0, 1.5])
      t.ok(Object.is(read({ ratio: value })['ratio'], value), String(value));
    const kinds = 'enum Kind { NONE = 0; ONE = 1; }';
    const open = typeOf(
      `${kinds} Kind kind = 2; repeated Kind kinds = 3; map<string, Kind> by_name = 4;`,
    );
    const data = { s: 'x', kind: 7, kinds: [0, -2, 2 ** 31 - 1], byName: { k: 9 } };
    const received = open.decode(open.encode(data));
    deepStrictEqual(received, data);
    deepStrictEqual(open.decode(open.encode(received)), data, 'what was read is published on');
    for (const kind of [1.5, 2 ** 31, NaN, 'ONE', 1n, null] as const)
      if (kind !== null)
        t.throws(
          () => open.encode({ kind }),
          { code: 'INVALID_EVENT', path: 'kind' },
          String(kind),
        );
    const closed = typeOf(`${kinds} optional Kind kind = 2;`, 'proto2');
    t.throws(() => closed.encode({ kind: 7 }), { code: 'INVALID_EVENT', path: 'kind' });
    deepStrictEqual(
      closed.decode(Buffer.from([0x10, 7])),
      { s: null, kind: null },
      'an unknown number of a closed enum counts as unknown',
    );
  },
);

t.test('the time of an event is one that a Date and RFC 3339 can hold', async (t) => {
  const write = (time: unknown): number => {
    const encoder = new EventEncoder({
      catalog: { get: () => type },
      schemas: new Map(),
      source: '',
      options: null,
    });
    const draft = { type: 'm', data: { s: 'x' }, time: time as number };
    encoder.encode(draft, 'id', 0, null);
    return readEvent(encoder.arena.buffer.subarray(encoder.start, encoder.arena.end)).timeMs;
  };
  for (const bad of [
    9e15,
    8.64e15,
    253_402_300_800_000,
    -1,
    NaN,
    Infinity,
    new Date(NaN),
    new Date(8.64e15),
    '5',
    null,
    true,
    [],
    [5],
    5n,
    {},
    Promise.resolve(5),
    new Number(5),
  ])
    t.throws(() => write(bad), { code: 'INVALID_EVENT', path: 'time' }, String(bad));
  t.equal(write(253_402_300_799_999), 253_402_300_799_999);
  t.equal(write(1.75), 1);
  t.equal(write(new Date(5)), 5);
});

t.test('what JSON would leave empty is found, with its path', async (t) => {
  const found = (value: unknown): unknown => emptiedByJson(value, JSON.stringify(value));
  for (const [name, make] of OPAQUE.filter(
    ([name]) =>
      /Promise$|Set|WeakMap|RegExp|an Error|private|iterator/.test(name) && !/Proxy/.test(name),
  )) {
    t.match(found({ a: [{ b: make() }] }), { path: 'a.0.b' }, name);
    t.match(found(make()), { path: '' }, name);
  }
  t.match(found({ m: new Map([[1, 2]]) }), { path: 'm', what: 'a Map' });
  for (const value of [
    {},
    { a: {}, b: [] },
    { a: new Date() },
    { a: '{}' },
    { a: new Fielded(), b: {} },
    [],
    { a: new Number(1), b: {} },
  ])
    t.equal(found(value), null);
});
