/** Exact decoding: 64-bit integers beyond 2^53 are bigints, and all else is as handlers see it. */
import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { createCatalog } from '../../src/wire/catalog.ts';
import { exactType } from '../../src/wire/exact-type.ts';

const catalog = createCatalog([
  {
    name: 'a.proto',
    text: `syntax = "proto3"; package a; import "millrace/v1/options.proto";
    message M { option (millrace.v1.event) = { type: "m", subject: "s" };
      string s = 1; int64 i = 2; uint64 u = 3; sint64 z = 4; fixed64 f = 5; sfixed64 g = 6;
      repeated int64 list = 7; map<int64, uint64> pairs = 8; optional int64 maybe = 9; bytes raw = 10; }`,
  },
]);
const forms = {
  duration: (seconds: bigint, nanos: number) => ({ seconds, nanos }),
  unsigned: (value: bigint) => ({ unsigned: value }),
};
const exact = exactType(catalog, 'a.M', forms);

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}
function fixed(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}
const zigzag = (value: bigint): bigint => BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
const tagged = (field: number, wire: number, bytes: Buffer): Buffer =>
  Buffer.concat([varint(BigInt(field * 8 + wire)), bytes]);
const sized = (field: number, bytes: Buffer): Buffer =>
  tagged(field, 2, Buffer.concat([varint(BigInt(bytes.length)), bytes]));
const signed = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt(-300n, 300n),
);
const unsigned = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt(0n, 300n));
/** The form of an integer: a number as long as a number can hold it. */
const form = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;

t.test('every 64-bit integer is exact, in every encoding', async (t) => {
  fc.assert(
    fc.property(signed, unsigned, (i, u) => {
      const bytes = Buffer.concat([
        sized(1, Buffer.from('s')),
        tagged(2, 0, varint(i)),
        tagged(3, 0, varint(u)),
        tagged(4, 0, varint(zigzag(i))),
        tagged(5, 1, fixed(u)),
        tagged(6, 1, fixed(i)),
        sized(7, Buffer.concat([varint(i), varint(-i)])),
        sized(8, Buffer.concat([tagged(1, 0, varint(i)), tagged(2, 0, varint(u))])),
      ]);
      const data = exact.decodeAt(bytes, 0, bytes.length);
      deepStrictEqual(data, {
        s: 's',
        i: form(i),
        u: form(u),
        z: form(i),
        f: form(u),
        g: form(i),
        list: [form(i), form(BigInt.asIntN(64, -i))],
        pairs: { [String(i)]: form(u) },
        maybe: null,
        raw: Buffer.alloc(0),
      });
      const large = u > 2n ** 63n - 1n ? { unsigned: u } : u;
      const typed = exact.typed(data);
      deepStrictEqual(
        [typed.get('i'), typed.get('u'), typed.get('z'), typed.get('f'), typed.get('g')],
        [i, large, i, large, i],
      );
      deepStrictEqual(typed.get('pairs'), new Map([[i, large]]));
      deepStrictEqual(typed.has('maybe'), false);
    }),
  );
  t.pass('exact');
});

t.test('integers that a number can hold are decoded as handlers see them', async (t) => {
  const type = catalog.get('m');
  const bytes = Buffer.from(
    type.encode({ s: 's', i: -5, u: 7, z: -9, f: 1, g: -2, list: [1, 2], maybe: 0 }),
  );
  t.strictSame(exact.decodeAt(bytes, 0, bytes.length), type.decode(bytes));
});

t.test('damaged bytes are refused', async (t) => {
  for (const bytes of [
    tagged(2, 0, Buffer.alloc(11, 255)),
    tagged(2, 0, Buffer.from([255, 255])),
    tagged(5, 1, Buffer.alloc(5)),
  ])
    t.throws(() => exact.decodeAt(bytes, 0, bytes.length), {
      code: 'CORRUPT_DATA',
      reason: 'decode',
    });
  t.throws(() => exactType(catalog, 'a.None', forms), { code: 'CORRUPT_DATA', reason: 'missing' });
});
