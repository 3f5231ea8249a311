import fc from 'fast-check';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import { createJsonReader, plainJson } from '../../src/wire/payload-json.ts';

const catalog = createCatalog([
  {
    name: 'all.proto',
    text: `syntax = "proto3";
    import "millrace/v1/options.proto";
    import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
    import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/field_mask.proto";
    enum Colour { NONE = 0; RED = 1; }
    message Part { bytes raw = 1; double d = 2; Part inner = 3; }
    message All {
      option (millrace.v1.event) = { type: "all", subject: "the_id" };
      string the_id = 1; double d = 2; float f = 3; int64 wide = 4; uint32 narrow = 5; bool flag = 6; bytes raw = 7;
      Colour colour = 8; repeated double ds = 9; repeated bytes raws = 10; map<string, bytes> by_name = 11; map<int32, Part> parts = 12;
      Part part = 13; oneof one { string a = 14; double b = 15; } optional double maybe = 16; repeated Colour colours = 17;
      google.protobuf.Timestamp at = 18; google.protobuf.Duration took = 19; google.protobuf.Int64Value count = 20;
      google.protobuf.Struct free = 21; google.protobuf.FieldMask mask = 22; google.protobuf.BytesValue boxed = 23; sint64 zig = 24;
    }`,
  },
]);
const type = catalog.get('all');
const read = createJsonReader(catalog);
const encoded = (data: unknown): string => {
  type.check(data);
  return Buffer.from(type.encode(data)).toString('hex');
};

const double = fc.double();
const bytes = fc.uint8Array({ maxLength: 20 }).map((value): Buffer => Buffer.from(value));
const safe = fc.maxSafeInteger();
const part: fc.Arbitrary<unknown> = fc.record({
  raw: bytes,
  d: double,
  inner: fc.option(fc.record({ raw: bytes, d: double })),
});
const all = fc.record({
  theId: fc.string({ unit: 'grapheme' }),
  d: double,
  f: double.map(Math.fround),
  wide: safe,
  narrow: fc.nat(),
  flag: fc.boolean(),
  raw: bytes,
  colour: fc.constantFrom(0, 1),
  ds: fc.array(double),
  raws: fc.array(bytes),
  byName: fc.dictionary(fc.string({ unit: 'grapheme' }), bytes),
  parts: fc.dictionary(fc.integer({ min: -9, max: 9 }).map(String), part),
  part: fc.option(part),
  b: fc.option(double),
  maybe: fc.option(double),
  colours: fc.array(fc.constantFrom(0, 1)),
  zig: safe,
  boxed: fc.option(fc.record({ value: bytes })),
  at: fc.option(
    fc.record({ seconds: fc.integer({ min: 0, max: 4e9 }), nanos: fc.nat({ max: 999_999_999 }) }),
  ),
});

void t.test('JSON and back is the identity, to the bit', async () => {
  fc.assert(
    fc.property(all, (data) => {
      const before = encoded(data);
      const json = JSON.stringify(plainJson(type.decode(type.encode(data))));
      return encoded(read('all', JSON.parse(json))) === before;
    }),
    { numRuns: 300 },
  );
});

void t.test('what the mapping allows is read as the same data', async (t) => {
  const table: readonly (readonly [json: string, data: object])[] = [
    ['{"the_id":"x"}', { theId: 'x' }],
    [
      '{"d":"NaN","ds":["Infinity","-Infinity","-0","1.5e3"]}',
      { d: Number.NaN, ds: [Infinity, -Infinity, -0, 1500] },
    ],
    [
      '{"wide":"-9007199254740991","narrow":"12","zig":"1e3"}',
      { wide: -Number.MAX_SAFE_INTEGER, narrow: 12, zig: 1000 },
    ],
    ['{"colour":"RED","colours":["NONE","RED",0]}', { colour: 1, colours: [0, 1, 0] }],
    [
      '{"raw":"-_-_","raws":["AA==","AA"],"by_name":{"a":"AQ"}}',
      {
        raw: Buffer.from('fbffbf', 'hex'),
        raws: [Buffer.of(0), Buffer.of(0)],
        byName: { a: Buffer.of(1) },
      },
    ],
    ['{"at":"1970-01-01T00:00:01.000000001Z"}', { at: { seconds: 1, nanos: 1 } }],
    ['{"at":"1969-12-31T23:59:59.5Z"}', { at: { seconds: -1, nanos: 500_000_000 } }],
    ['{"at":{"seconds":"7","nanos":0}}', { at: { seconds: 7, nanos: 0 } }],
    ['{"took":"-1.5s"}', { took: { seconds: -1, nanos: -500_000_000 } }],
    ['{"count":"5"}', { count: { value: 5 } }],
    ['{"boxed":"AA"}', { boxed: { value: Buffer.of(0) } }],
    ['{"mask":"a,b.c"}', { mask: { paths: ['a', 'b.c'] } }],
    [
      '{"free":{"a":[1,null,{"b":"c"}]}}',
      {
        free: {
          fields: {
            a: {
              listValue: {
                values: [
                  { numberValue: 1 },
                  { nullValue: 0 },
                  { structValue: { fields: { b: { stringValue: 'c' } } } },
                ],
              },
            },
          },
        },
      },
    ],
    [
      '{"free":{"fields":{"a":{"numberValue":1}}}}',
      { free: { fields: { a: { numberValue: 1 } } } },
    ],
    [
      '{"free":{"fields":{"a":7}}}',
      { free: { fields: { fields: { structValue: { fields: { a: { numberValue: 7 } } } } } } },
    ],
    ['{"part":null,"d":null}', {}],
  ];
  for (const [json, data] of table)
    t.equal(encoded(read('all', JSON.parse(json))), encoded(data), json);
});

void t.test('what it does not is refused, naming the field', async (t) => {
  const table: readonly (readonly [json: string, path: string])[] = [
    ...[
      '"AAA=A"',
      '"A"',
      '"AA="',
      '"AB=="',
      '"AA==="',
      '"====" ',
      '"é"',
      '"AA ="',
      '" AA=="',
      '"AA==\\n"',
    ].map((text) => [`{"raw":${text}}`, 'raw'] as const),
    ['{"raws":["AA==","*"]}', 'raws.1'],
    ['{"byName":{"k":"*"}}', 'byName.k'],
    ['{"part":{"inner":{"raw":"*"}}}', 'part.inner.raw'],
    ...[
      '"nan"',
      '"inf"',
      '""',
      '" 1"',
      '"0x10"',
      '"1_000"',
      '"01"',
      '1e999',
      '"1e999"',
      '"+1"',
    ].map((text) => [`{"d":${text}}`, 'd'] as const),
    ...[
      '"1.5"',
      '"9007199254740993"',
      '"NaN"',
      '""',
      '"1n"',
      '9007199254740993',
      '1e300',
      '0.1',
    ].map((text) => [`{"wide":${text}}`, 'wide'] as const),
    ['{"colour":"BLUE"}', 'colour'],
    ['{"colour":"constructor"}', 'colour'],
    ...['"2026-02-30T00:00:00Z"', '"12"', '"2026-01-01T00:00:00"', '"0"'].map(
      (text) => [`{"at":${text}}`, 'at'] as const,
    ),
    ...['"1.5"', '"1.5 s"', '"999999999999s"', '".5s"'].map(
      (text) => [`{"took":${text}}`, 'took'] as const,
    ),
    ['{"the_id":"x","theId":"y"}', 'the_id'],
    ['{"nosuch":1}', 'nosuch'],
  ];
  for (const [json, path] of table)
    t.throws(() => encoded(read('all', JSON.parse(json))), { code: 'INVALID_EVENT', path }, json);
});

void t.test('a payload nested without an end is left to the writer', async (t) => {
  const deep = `${'{"part":{"inner":'.slice(0, 8)}${'{"inner":'.repeat(20_000)}{}${'}'.repeat(20_000)}}`;
  t.throws(() => encoded(read('all', JSON.parse(deep))), { code: 'INVALID_EVENT' });
});
