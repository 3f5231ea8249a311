/** Random data and bytes: valid ones of every shape, and damaged ones. */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { SCALAR_NAMES, type Data } from './oracle.ts';

/** A source of whole numbers from 0 to `below`, `below` excluded. */
export type Random = (below: number) => number;

const SAFE = Number.MAX_SAFE_INTEGER;
const NUMBERS: Readonly<Record<string, readonly number[]>> = {
  signed32: [
    0,
    1,
    -1,
    127,
    128,
    -128,
    16_383,
    16_384,
    2 ** 30 - 1,
    2 ** 30,
    -(2 ** 30),
    -(2 ** 30) - 1,
    2 ** 31 - 1,
    -(2 ** 31),
  ],
  unsigned32: [0, 1, 127, 128, 16_384, 2 ** 21, 2 ** 28, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
  signed64: [
    0,
    1,
    -1,
    128,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    -(2 ** 32) - 1,
    2 ** 35,
    -(2 ** 42),
    SAFE,
    -SAFE,
  ],
  unsigned64: [0, 1, 128, 2 ** 31, 2 ** 32, 2 ** 49, SAFE],
  double: [0, -0, 1.5, -1e300, 1e-300, 5e-324, NaN, Infinity, -Infinity],
  float: [0, -0, 1.5, -3.4028234663852886e38, 1.401298464324817e-45, NaN, Infinity, -Infinity],
};
const TEXTS = [
  '',
  'a',
  'ä€😀',
  '\u0000',
  '__proto__',
  'constructor',
  '\ufeffx',
  'x'.repeat(64),
  'ü'.repeat(70),
  'y'.repeat(200),
];
const KINDS = [0, 1, -7, 2_147_483_647];

function pick<T>(random: Random, of: readonly T[]): T {
  return of[random(of.length)] as T;
}

function numberOf(random: Random, type: string): number {
  if (type === 'double' || type === 'float') {
    const value =
      random(3) === 0
        ? (random(2 ** 31) - 2 ** 30) / 1000
        : pick(random, NUMBERS[type] as readonly number[]);
    return type === 'float' ? Math.fround(value) : value;
  }
  const signed = !type.startsWith('u') && !type.startsWith('fixed');
  const edges = NUMBERS[`${signed ? 'signed' : 'unsigned'}${type.slice(-2)}`] as readonly number[];
  return random(3) === 0 ? random(1000) : pick(random, edges);
}

function scalarOf(random: Random, type: string): unknown {
  if (type === 'string') return pick(random, TEXTS);
  if (type === 'bytes')
    return Uint8Array.from({ length: pick(random, [0, 1, 3, 130]) }, () => random(256));
  return type === 'bool' ? random(2) === 1 : numberOf(random, type);
}

function valueOf(random: Random, field: DescField, depth: number): unknown {
  if (field.message) return dataOf(random, field.message, depth + 1);
  if (field.enum)
    return field.enum.open && random(3) === 0 ? numberOf(random, 'int32') : pick(random, KINDS);
  return scalarOf(random, SCALAR_NAMES[field.scalar as number] as string);
}

/**
 * Returns data of a message in the callers' form: some fields, and at most one field of each oneof.
 */
export function dataOf(random: Random, desc: DescMessage, depth = 0): Data {
  const out: Record<string, unknown> = {};
  const chosen = new Map(desc.oneofs.map((oneof) => [oneof, pick(random, oneof.fields)]));
  for (const field of desc.fields) {
    if (random(depth === 0 ? 4 : 2) !== 0 || (field.message && depth > 3)) continue;
    if (field.oneof && chosen.get(field.oneof) !== field) continue;
    const one = (): unknown => valueOf(random, field, depth);
    if (field.fieldKind === 'list') out[field.localName] = Array.from({ length: random(4) }, one);
    else if (field.fieldKind === 'map') {
      const keys = Array.from({ length: random(3) }, () =>
        String(scalarOf(random, SCALAR_NAMES[field.mapKey] as string)),
      );
      out[field.localName] = Object.fromEntries(keys.map((key) => [key, one()]));
    } else out[field.localName] = one();
  }
  return out;
}

// ---------------------------------------------------------------- bytes

export function varintOf(value: number | bigint): Buffer {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
  return Buffer.from(out);
}

const tag = (id: number, wireType: number): Buffer =>
  varintOf((BigInt(id) << 3n) | BigInt(wireType));
const delimited = (id: number, body: Uint8Array): Buffer =>
  Buffer.concat([tag(id, 2), varintOf(body.length), body]);

const WIRE: Readonly<Record<string, number>> = {
  double: 1,
  fixed64: 1,
  sfixed64: 1,
  float: 5,
  fixed32: 5,
  sfixed32: 5,
  string: 2,
  bytes: 2,
};

export function wireTypeOf(type: string): number {
  return WIRE[type] ?? 0;
}

/** Returns a value of a type without its tag. Varints of 64 bits exceed 2^53 now and then. */
function rawScalar(random: Random, type: string): Buffer {
  if (type === 'string' || type === 'bytes') {
    const body = Buffer.from(scalarOf(random, type) as string);
    return Buffer.concat([varintOf(body.length), body]);
  }
  const wireType = wireTypeOf(type);
  if (wireType !== 0)
    return Buffer.from(
      Array.from({ length: wireType === 1 ? 8 : 4 }, (_, i) =>
        type !== 'double' && i > 5 ? 0 : random(256),
      ),
    );
  if (type === 'bool') return varintOf(pick(random, [0, 1, 1, 2, 2 ** 40]));
  return varintOf(
    random(20) === 0
      ? BigInt(random(2 ** 32)) * BigInt(random(2 ** 32))
      : pick(
          random,
          [...(NUMBERS['signed32'] as number[]), ...(NUMBERS['unsigned64'] as number[])].filter(
            (n) => type !== 'uint64' || n >= 0,
          ),
        ),
  );
}

function rawValue(random: Random, field: DescField, depth: number): Buffer {
  if (field.message) {
    const body = rawMessage(random, field.message, depth + 1);
    return Buffer.concat([varintOf(body.length), body]);
  }
  if (field.enum)
    return varintOf(field.enum.open && random(3) === 0 ? random(1000) : pick(random, KINDS));
  return rawScalar(random, SCALAR_NAMES[field.scalar as number] as string);
}

function typeOf(field: DescField): string {
  return field.message
    ? 'bytes'
    : field.enum
      ? 'int32'
      : (SCALAR_NAMES[field.scalar as number] as string);
}

function rawEntry(
  random: Random,
  field: DescField & { readonly fieldKind: 'map' },
  depth: number,
): Buffer {
  const key = SCALAR_NAMES[field.mapKey] as string;
  const parts: Buffer[] = [];
  if (random(5) > 0) parts.push(tag(1, wireTypeOf(key)), rawScalar(random, key));
  if (random(5) > 0) parts.push(tag(2, wireTypeOf(typeOf(field))), rawValue(random, field, depth));
  if (random(9) === 0) parts.push(rawUnknown(random, 3, 0));
  return delimited(field.number, Buffer.concat(parts));
}

/** Returns an unknown field of any wire type, with groups within groups too. */
export function rawUnknown(random: Random, id: number, depth: number): Buffer {
  switch (depth > 3 ? random(4) : random(5)) {
    case 0:
      return Buffer.concat([
        tag(id, 0),
        varintOf(BigInt(random(2 ** 32)) * BigInt(random(2 ** 32))),
      ]);
    case 1:
      return Buffer.concat([tag(id, 1), Buffer.alloc(8, random(256))]);
    case 2:
      return delimited(id, Buffer.alloc(random(200), random(256)));
    case 3:
      return Buffer.concat([tag(id, 5), Buffer.alloc(4, random(256))]);
    default:
      return Buffer.concat([
        tag(id, 3),
        ...Array.from({ length: random(3) }, () => rawUnknown(random, 1 + random(50), depth + 1)),
        tag(id, 4),
      ]);
  }
}

/** Returns fields in any order, repeated, lists packed and not, with unknown fields between. */
export function rawMessage(random: Random, desc: DescMessage, depth = 0): Buffer {
  const parts: Buffer[] = [];
  for (let left = random(depth === 0 ? 14 : 5); left > 0; left--) {
    if (random(8) === 0) {
      parts.push(rawUnknown(random, pick(random, [60_000, 2 ** 28 + 77, 2 ** 29 - 77]), 0));
      continue;
    }
    const field = pick(random, desc.fields);
    if (field.message && depth > 3) continue;
    if (field.fieldKind === 'map') parts.push(rawEntry(random, field, depth));
    else if (field.fieldKind === 'list' && wireTypeOf(typeOf(field)) !== 2 && random(2) === 0) {
      parts.push(
        delimited(
          field.number,
          Buffer.concat(Array.from({ length: random(5) }, () => rawValue(random, field, depth))),
        ),
      );
    } else parts.push(tag(field.number, wireTypeOf(typeOf(field))), rawValue(random, field, depth));
  }
  return Buffer.concat(parts);
}

/** Returns damaged bytes: cut off, a bit turned, bytes overwritten, taken out or put in. */
export function damaged(random: Random, bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return Buffer.from([random(256)]);
  const at = random(copy.length);
  switch (random(5)) {
    case 0:
      return copy.subarray(0, at);
    case 1:
      copy[at] = (copy[at] as number) ^ (1 << random(8));
      return copy;
    case 2:
      copy[at] = random(256);
      return copy;
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1 + random(3))]);
    default:
      return Buffer.concat([copy.subarray(0, at), Buffer.from([random(256)]), copy.subarray(at)]);
  }
}
