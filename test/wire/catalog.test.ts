import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { CorruptDataError } from '../../src/core/errors/data-errors.ts';
import { ConfigError, InvalidEventError } from '../../src/core/errors/input-errors.ts';
import { createCatalog } from '../../src/wire/catalog.ts';
import type { EventType } from '../../src/wire/event-type.ts';
import { loadProtoFolder } from '../../src/wire/proto-folder.ts';
import { PayloadArena } from '../../src/wire/payload-arena.ts';

const HEAD = 'syntax = "proto3"; package a; import "millrace/v1/options.proto";\n';
const DECLARED = 'option (millrace.v1.event) = { type: "m", subject: "s" };';

/** A type `m` of one message with a subject `s` (field 1) and these fields. */
function typeOf(fields: string, head = HEAD): EventType {
  return createCatalog([
    { name: 'a.proto', text: `${head} message M { ${DECLARED} string s = 1; ${fields} }` },
  ]).get('m');
}

function problemsOf(...texts: string[]): readonly string[] {
  try {
    createCatalog(texts.map((text, i) => ({ name: `${'abc'[i] as string}.proto`, text })));
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

function written(type: EventType, data: unknown): Buffer {
  const arena = new PayloadArena();
  type.encodeTo(data, arena);
  return Buffer.from(arena.buffer.subarray(0, arena.end));
}

const orders = createCatalog(loadProtoFolder('proto'));
const order = orders.get('order.created');
const good = {
  orderId: 'o-1',
  userId: 'u-1',
  country: 'GB',
  items: [{ sku: '85123A', description: 'HEART', quantity: 6, unitPrice: 255 }],
  total: { amount: 1530, currency: 'GBP' },
};

t.test(
  'the types of the shop, with their subjects; a type nobody declared is named, with those that are',
  async (t) => {
    t.same([...orders.types.keys()].sort(), [
      'order.abandoned',
      'order.cancelled',
      'order.created',
      'payment.captured',
      'payment.failed',
      'payment.requested',
      'payment.timeout',
      'shipment.delayed',
      'shipment.dispatched',
      'shipment.requested',
      'shipment.timeout',
      'stock.rejected',
      'stock.reserved',
    ]);
    for (const type of orders.types.values()) t.equal(type.subjectField, 'orderId');
    t.equal(order.messageName, 'shop.v1.OrderCreated');
    t.equal(order.maxBytes, 262_144);
    t.equal(order.subjectOf(good), 'o-1');
    t.equal(order.subjectOf(null), undefined);
    t.throws(() => orders.get('order.creatd'), {
      code: 'UNKNOWN_EVENT_TYPE',
      type: 'order.creatd',
    });
  },
);

t.test('every problem of every file is told at once, with its file and line', async (t) => {
  t.match(problemsOf(`${HEAD}message M {\n  string s = ;\n}`, 'syntax = "proto3"; message {'), [
    /^a\.proto: illegal id ';' \(line 3\)$/,
    /^b\.proto: .*\(line 1\)$/,
  ]);
  t.match(
    problemsOf(
      `${HEAD}message M { ${DECLARED} string s = 1; Foo f = 2; Bar b = 3; }`,
      `${HEAD.replace('package a', 'package b')} message N { Baz z = 1; }`,
    ),
    [
      /a\.proto: message a\.M, field f: .*Foo/,
      /a\.proto: message a\.M, field b: .*Bar/,
      /b\.proto: message b\.N, field z: .*Baz/,
    ],
  );
});

t.test('wrong declarations', async (t) => {
  const declare = (
    option: string,
    rest = 'string s = 1; int32 n = 2; repeated string l = 3;',
  ): readonly string[] =>
    problemsOf(`${HEAD}message M { option (millrace.v1.event) = { ${option} }; ${rest} }`);
  t.match(declare('type: "m", subject: "nope"'), [
    /a\.proto: message a\.M: its subject "nope" is not a string field/,
  ]);
  t.match(declare('type: "m", subject: "n"'), [/"n" is not a string field/]);
  t.match(declare('type: "m", subject: "l"'), [/"l" is not a string field/]);
  for (const name of ['', 'Ordér', '{m}', 'a:b', 'a,b', '1a', '$a', 'a b', 'x'.repeat(201)])
    t.match(declare(`type: "${name}", subject: "s"`), [/must match/], name);
  t.match(declare('type: "m", subject: "s", maxbytes: 5'), [/has no maxbytes/]);
  t.match(declare('type: "m", subject: "s", max_bytes: -5'), [/max_bytes must be/]);
  t.match(declare('type: "m", subject: "s", max_bytes: "5"'), [/max_bytes must be/]);
  t.same(declare('type: "m", subject: "s", max_bytes: 5'), []);
  t.match(
    problemsOf(
      `${HEAD}message M { ${DECLARED} string s = 1; } message N { ${DECLARED} string s = 1; }`,
    ),
    [/message a\.N: event type "m" is declared by a\.M already/],
  );
  t.match(problemsOf('syntax = "proto3"; import "b/c.proto";'), [
    /a\.proto: imports b\/c\.proto, which is not in the proto folder/,
  ]);
});

t.test(
  'what payloads cannot be made of is refused when the catalog is made, not when an event gets lost',
  async (t) => {
    const two = (fields: string): readonly string[] =>
      problemsOf(
        `syntax = "proto2"; package a; enum E { ONE = 1; ZERO = 0; } message M { ${DECLARED} optional string s = 1; ${fields} }`,
      );
    t.same(two('optional int32 n = 2; repeated E e = 3;'), []);
    t.match(two('required int32 n = 2;'), [/field n of a\.M is required/]);
    t.match(two('optional int32 n = 2 [default = 5]; optional int64 w = 3 [default = 5];'), [
      /field n of a\.M has a default/,
      /field w of a\.M has a default/,
    ]);
    t.match(two('optional E e = 2;'), [/field e of a\.M has a default/]);
    t.match(two('optional group G = 2 { optional int32 n = 1; }'), [/is a group/]);
    t.match(
      problemsOf(
        `${HEAD}message Car { string constructor = 1; } message M { ${DECLARED} string s = 1; Car car = 2; }`,
      ),
      [/field constructor of a\.Car has the name/],
    );
  },
);

t.test('imports: well-known types, vendored or ours, and custom options', async (t) => {
  const use =
    'import "google/protobuf/timestamp.proto"; import "google/protobuf/any.proto"; message U%d { google.protobuf.Timestamp at = 1; }';
  t.same(
    problemsOf(
      `syntax = "proto3"; ${use.replace('%d', '1')}`,
      `syntax = "proto3"; ${use.replace('%d', '2')}`,
    ),
    [],
  );
  const vendored = {
    name: 'google/protobuf/timestamp.proto',
    text: 'syntax = "proto3"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }',
  };
  createCatalog([
    {
      name: 'a.proto',
      text: 'syntax = "proto3"; import "google/protobuf/timestamp.proto"; message A { google.protobuf.Timestamp at = 1; }',
    },
    vendored,
  ]);
  t.same(
    problemsOf(
      `${HEAD}import "google/protobuf/descriptor.proto"; extend google.protobuf.FieldOptions { string doc = 50001; } message M { ${DECLARED} string s = 1 [(doc) = "x"]; }`,
    ),
    [],
  );
});

t.test('subjects of any spelling are found', async (t) => {
  const type = createCatalog([
    {
      name: 'a.proto',
      text: `${HEAD}message M { option (millrace.v1.event) = { type: "m", subject: "order_1_id" }; string order_1_id = 1; }`,
    },
  ]).get('m');
  t.equal(type.subjectOf(type.decode(written(type, { [type.subjectField]: 'x' }))), 'x');
});

t.test(
  'a folder: sorted, below subfolders, without what comes with the package; one that is missing',
  async (t) => {
    const dir = t.testdir({});
    for (const name of [
      'z.proto',
      'b/a.proto',
      'millrace/v1/batch.proto',
      'millrace/own.proto',
      'note.txt',
    ]) {
      mkdirSync(join(dir, name, '..'), { recursive: true });
      writeFileSync(join(dir, name), '');
    }
    mkdirSync(join(dir, 'folder.proto'));
    t.same(
      loadProtoFolder(dir).map((s) => s.name),
      ['b/a.proto', 'millrace/own.proto', 'z.proto'],
    );
    t.throws(() => loadProtoFolder(join(dir, 'missing')), { code: 'CONFIG' });
  },
);

t.test(
  'what does not fit is refused with the path of the field, by check and by encodeTo alike',
  async (t) => {
    const refused: [unknown, string][] = [
      [null, ''],
      [undefined, ''],
      ['text', ''],
      [[], ''],
      [7, ''],
      [{ ...good, orderId: 7 }, 'orderId'],
      [{ ...good, ordreId: 'typo' }, 'ordreId'],
      [{ ...good, order_id: 'snake' }, 'order_id'],
      [{ ...good, items: {} }, 'items'],
      [{ ...good, items: [null] }, 'items.0'],
      [{ ...good, items: [good.items[0], { quantity: '6' }] }, 'items.1.quantity'],
      [{ ...good, items: [{ quantity: 1.5 }] }, 'items.0.quantity'],
      [{ ...good, items: [{ quantity: 2 ** 31 }] }, 'items.0.quantity'],
      [{ ...good, items: [{ quantity: NaN }] }, 'items.0.quantity'],
      [{ ...good, items: [{ unitPrice: 2 ** 53 }] }, 'items.0.unitPrice'],
      [{ ...good, items: [{ unitPrice: 5n }] }, 'items.0.unitPrice'],
      [{ ...good, items: [{ skuu: 'x' }] }, 'items.0.skuu'],
      [{ ...good, total: 5 }, 'total'],
      [{ ...good, total: { amount: -(2 ** 53) } }, 'total.amount'],
      [JSON.parse('{"orderId":"o","__proto__":"x"}'), '__proto__'],
    ];
    for (const [data, path] of refused) {
      t.throws(
        () => order.check(data),
        { code: 'INVALID_EVENT', type: 'order.created', path },
        `check ${path}`,
      );
      t.throws(
        () => written(order, data),
        { code: 'INVALID_EVENT', type: 'order.created', path },
        `encodeTo ${path}`,
      );
    }
    const others = typeOf(
      'enum E { ZERO = 0; TWO = 2; } E e = 2; bool b = 3; bytes y = 4; double d = 5; uint32 u = 6; map<string, int32> m = 7; oneof o { string p = 8; string q = 9; }',
    );
    for (const [data, path] of [
      [{ e: 1.5 }, 'e'],
      [{ e: 2 ** 31 }, 'e'],
      [{ e: 'TWO' }, 'e'],
      [{ b: 1 }, 'b'],
      [{ y: 'aGk=' }, 'y'],
      [{ d: '1' }, 'd'],
      [{ u: -1 }, 'u'],
      [{ m: [] }, 'm'],
      [{ m: { k: 'x' } }, 'm.k'],
      [{ p: '1', q: '2' }, 'o'],
    ] as const) {
      t.throws(() => others.check(data), { code: 'INVALID_EVENT', path }, path);
      t.throws(() => written(others, data), { code: 'INVALID_EVENT', path }, path);
    }
    const self = typeOf('M n = 2;');
    let deep: object = {};
    for (let i = 0; i < 1000; i++) deep = { n: deep };
    t.throws(() => written(self, deep), InvalidEventError);
    t.throws(() => self.check(deep), InvalidEventError);
  },
);

t.test('encoded bytes belong to the caller', async (t) => {
  const first = order.encode(good);
  const kept = Buffer.from(first);
  t.equal(first.buffer.byteLength, first.length, 'no memory beyond the bytes');
  // A getter may encode, too, in the midst of the outer encoding.
  let inner: Uint8Array | null = null;
  const outer = order.encode({
    ...good,
    get userId() {
      inner = order.encode({ ...good, orderId: 'o-2' });
      return 'u-1';
    },
  });
  t.equal((order.decode(outer) as { orderId: string }).orderId, 'o-1');
  t.equal((order.decode(inner ?? new Uint8Array()) as { orderId: string }).orderId, 'o-2');
  t.throws(() => order.encode({ ...good, total: 'much' }), InvalidEventError);
  t.same(Buffer.from(order.encode(good)), kept, 'the same after an error half-way');
  t.same(Buffer.from(first), kept, 'later encodings change nothing');
});

t.test('any order comes back as it was, by both encoders', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 30 });
  const whole = fc.maxSafeInteger();
  const any = fc.record({
    orderId: text,
    userId: text,
    country: text,
    items: fc.array(
      fc.record({ sku: text, description: text, quantity: fc.integer(), unitPrice: whole }),
      { maxLength: 5 },
    ),
    total: fc.record({ amount: whole, currency: text }),
  });
  const plain = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(plain)
      : typeof value === 'object' && value !== null
        ? { ...Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)])) }
        : value;
  const full = (decoded: unknown): unknown => {
    const d = decoded as {
      orderId: string;
      userId: string;
      country: string;
      items: Record<string, unknown>[];
      total: Record<string, unknown>;
    };
    return plain({
      orderId: d.orderId,
      userId: d.userId,
      country: d.country,
      items: d.items.map((i) => ({
        sku: i['sku'],
        description: i['description'],
        quantity: i['quantity'],
        unitPrice: i['unitPrice'],
      })),
      total: { amount: d.total['amount'], currency: d.total['currency'] },
    });
  };
  fc.assert(
    fc.property(any, (data) => {
      order.check(data);
      const wanted = JSON.stringify(data, (_, v: unknown) => (Object.is(v, -0) ? 0 : v));
      return (
        JSON.stringify(full(order.decode(order.encode(data)))) === wanted &&
        JSON.stringify(full(order.decode(written(order, data)))) === wanted
      );
    }),
  );
});

t.test('64-bit fields are numbers, in every encoding, and never rounded', async (t) => {
  const type = typeOf(
    'int64 i = 2; uint64 u = 3; sint64 z = 4; fixed64 f = 5; sfixed64 g = 6; repeated int64 l = 7; map<string, int64> m = 8; repeated sfixed64 k = 9;',
  );
  for (const n of [0, 1, 127, 128, 2 ** 31, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]) {
    const data = { i: -n, u: n, z: -n, f: n, g: -n, l: [n, -n], m: { n: -n }, k: [-n] };
    const read = type.decode(written(type, data)) as typeof data;
    for (const key of ['i', 'u', 'z', 'f', 'g'] as const)
      t.equal(read[key] + 0, data[key] + 0, `${key} ${n}`);
    t.same(
      [read.l.map((v) => v + 0), (read.m.n ?? NaN) + 0, read.k.map((v) => v + 0)],
      [[n, -n + 0], -n + 0, [-n + 0]],
      String(n),
    );
  }
  const beyond = Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]); // i = 2^53
  t.throws(() => type.decode(beyond), { code: 'CORRUPT_DATA', reason: 'decode' });
  t.throws(() => type.decode(Buffer.from([0x29, 0, 0, 0, 0, 0, 0, 0x20, 0])), {
    code: 'CORRUPT_DATA',
    reason: 'decode',
  }); // f = 2^53
});

t.test('what is unset reads as its zero, or as null where unset can be told', async (t) => {
  const type = typeOf(
    'int32 n = 2; int64 w = 3; optional int32 on = 4; optional int64 ow = 5; enum E { ZERO = 0; } optional E oe = 6; oneof o { string p = 7; int64 q = 8; }',
  );
  const read = type.decode(written(type, { s: 'x' })) as Record<string, unknown>;
  t.same(
    ['n', 'w', 'on', 'ow', 'oe', 'p', 'q'].map((key) => read[key]),
    [0, 0, null, null, null, null, null],
  );
  const zeros = type.decode(written(type, { on: 0, ow: 0, oe: 0, q: 0 })) as Record<
    string,
    unknown
  >;
  t.same(
    ['on', 'ow', 'oe', 'q'].map((key) => zeros[key]),
    [0, 0, 0, 0],
  );
  t.same(written(type, read), written(type, { s: 'x' }), 'what was read can be published again');
});

t.test('a map key __proto__ is a key', async (t) => {
  const type = typeOf('map<string, string> m = 2;');
  const read = type.decode(written(type, { m: JSON.parse('{"__proto__":"x","k":"v"}') })) as {
    m: Record<string, string>;
  };
  t.same(Object.keys(read.m).sort(), ['__proto__', 'k']);
  t.equal(({} as Record<string, unknown>)['x'], undefined);
});

t.test('bytes are a copy: a decoded event does not keep its batch alive', async (t) => {
  const type = typeOf('bytes y = 2;');
  const bytes = written(type, { y: Buffer.from('hello') });
  const { y } = type.decode(bytes) as { y: Uint8Array };
  bytes.fill(0);
  t.equal(Buffer.from(y).toString(), 'hello');
});

t.test('no bytes make decode throw anything but CorruptDataError', async () => {
  const type = typeOf(
    'M n = 2; repeated int64 l = 3; map<string, M> m = 4; bytes y = 5; double d = 6; optional sint64 z = 7;',
  );
  const bytes = written(order, good);
  const damaged = fc
    .tuple(fc.nat(bytes.length - 1), fc.nat(7), fc.nat(bytes.length))
    .map(([at, bit, cut]) => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] as number) ^ (1 << bit);
      return copy.subarray(0, cut);
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (input) => {
      for (const one of [order, type]) {
        try {
          one.decode(input);
        } catch (error) {
          if (!(error instanceof CorruptDataError)) throw error;
        }
      }
    }),
    { numRuns: 2000 },
  );
});

t.test('what would be written as something else is refused', async (t) => {
  const type = typeOf(
    'map<int32, string> i = 2; map<int64, string> w = 3; map<bool, string> b = 4; map<uint32, string> u = 5; map<string, string> m = 6; repeated string l = 7;',
  );
  for (const [data, path] of [
    [{ s: 'a\ud800b' }, 's'],
    [{ l: ['\udc00'] }, 'l.0'],
    [{ m: { '\ud800': 'x' } }, 'm'],
    [{ i: { abc: 'x' } }, 'i'],
    [{ i: { '2147483648': 'x' } }, 'i'],
    [{ w: { '1.5': 'x' } }, 'w'],
    [{ b: { yes: 'x' } }, 'b'],
    [{ u: { '-1': 'x' } }, 'u'],
    [{ s: () => 'x' }, 's'],
  ] as const) {
    t.throws(() => type.check(data), { code: 'INVALID_EVENT', path }, path);
    t.throws(() => written(type, data), { code: 'INVALID_EVENT', path }, path);
  }
  type.check({
    s: '\u{1F600}',
    i: { '-5': 'x' },
    w: { '9007199254740991': 'x' },
    b: { true: 'x' },
    u: { 7: 'x' },
  });
  const strings = typeOf('repeated string l = 2;');
  for (const [data, path] of [
    [{ s: 'a\ud800b' }, 's'],
    [{ l: ['\udc00'] }, 'l.0'],
  ] as const)
    t.throws(() => written(strings, data), { code: 'INVALID_EVENT', path }, path);
});
