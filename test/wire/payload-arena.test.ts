import fc from 'fast-check';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import { writeEnvelope } from '../../src/wire/batch-writer.ts';
import { PayloadArena } from '../../src/wire/payload-arena.ts';

const type = createCatalog([
  {
    name: 'a.proto',
    text: `syntax = "proto3"; package a; import "millrace/v1/options.proto";
    enum Kind { NONE = 0; SMALL = 1; BELOW = -7; LARGE = 2147483647; }
    message Inner { string text = 1; sint64 zig = 2; Inner more = 3; repeated string list = 16; }
    message M {
      option (millrace.v1.event) = { type: "m", subject: "s" };
      string s = 1; bool flag = 2; int32 i32 = 3; uint32 u32 = 4; int64 i64 = 5; uint64 u64 = 6; sint32 s32 = 7; sint64 s64 = 8;
      double d = 9; bytes raw = 10; Kind kind = 11; Inner inner = 12; repeated Inner inners = 13; repeated string texts = 14;
      optional string maybe = 2000; optional int32 maybe_number = 2001;
    }`,
  },
]).get('m');

const text = fc.oneof(
  fc.string({ maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
);
const edge = (min: number, max: number): fc.Arbitrary<number> =>
  fc.oneof(
    fc.integer({ min, max }),
    fc.constantFrom(
      ...[
        0,
        1,
        -1,
        127,
        128,
        -128,
        2 ** 30,
        2 ** 30 - 1,
        -(2 ** 30),
        -(2 ** 30) - 1,
        2 ** 31 - 1,
        -(2 ** 31),
        2 ** 32,
        min,
        max,
      ].filter((n) => n >= min && n <= max),
    ),
  );
const SAFE = Number.MAX_SAFE_INTEGER;
const inner: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  inner: fc.record({
    text,
    zig: edge(-SAFE, SAFE),
    more: fc.option(tie('inner'), { nil: undefined, maxDepth: 4 }),
    list: fc.array(text, { maxLength: 5 }),
  }),
})).inner;
const message = fc.record(
  {
    s: text,
    flag: fc.boolean(),
    i32: edge(-(2 ** 31), 2 ** 31 - 1),
    u32: edge(0, 2 ** 32 - 1),
    i64: edge(-SAFE, SAFE),
    u64: edge(0, SAFE),
    s32: edge(-(2 ** 31), 2 ** 31 - 1),
    s64: edge(-SAFE, SAFE),
    d: fc.double(),
    raw: fc.uint8Array({ maxLength: 300 }),
    kind: fc.constantFrom(0, 1, -7, 2147483647),
    inner,
    inners: fc.array(inner, { maxLength: 4 }),
    texts: fc.array(text, { maxLength: 4 }),
    maybe: text,
    maybeNumber: edge(-5, 5),
  },
  { requiredKeys: [] },
);

t.test(
  'what the arena holds reads as what protobufjs writes, whatever came before it',
  async (t) => {
    const arena = new PayloadArena();
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), (messages) => {
        const places = messages.map((data) => {
          const start = arena.open(0x1a);
          type.encodeTo(data, arena);
          const length = arena.end - start;
          arena.close(start);
          // close() may have moved the payload to make room for its length
          return { start: arena.end - length, end: arena.end };
        });
        messages.forEach((data, i) => {
          const { start, end } = places[i] as { start: number; end: number };
          const oracle = type.encode(data);
          t.same(
            type.decodeAt(arena.buffer, start, end),
            type.decodeAt(oracle as Buffer, 0, oracle.length),
          );
        });
        if (arena.end > 2_000_000) arena.clear();
      }),
      { numRuns: 300 },
    );
  },
);

t.test('an attribute with an unpaired surrogate is named', async (t) => {
  const write = (
    id: string,
    subject: string,
    source: string,
    extensions: Record<string, string>,
  ): string | null =>
    writeEnvelope(new PayloadArena(), { id, subject, timeMs: 1, source, schema: 0, extensions });
  t.equal(write('\ud800', 's', '', {}), 'id');
  t.equal(write('i', '\udc00x', '', {}), 'subject');
  t.equal(write('i', 's', 'a\ud800', {}), 'source');
  t.equal(write('i', 's', '', { a: '\ud800' }), 'extensions');
  t.equal(write('i', '😀', 'ü', { '\u{10ffff}': 'é' }), null);
});
