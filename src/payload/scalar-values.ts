/** Single values of payloads: numbers exact, whatever their size. */
import { formatRfc3339 } from '../core/rfc3339.ts';
import type { EnumShape, FieldShape } from '../wire/message-shape.ts';
import { shownBytes, shownText, type Shown, type ValuePath } from './shown-payload.ts';
import { varintAt, type ByteRange } from './wire-values.ts';

/** Shows a scalar or an enum. The part holds a whole value of the field's wire type. */
export function shownScalar(
  field: Pick<FieldShape, 'kind' | 'enum'>,
  bytes: Buffer,
  part: ByteRange,
  mostBytes: number,
  path: ValuePath,
): Shown {
  const { kind } = field;
  if (kind === 'string') return shownText(bytes.subarray(part.start, part.end), mostBytes, path);
  if (kind === 'bytes') return shownBytes(bytes.subarray(part.start, part.end), mostBytes, path);
  if (kind === 'bool') return { kind: 'bool', value: varintAt(bytes, part) !== 0n };
  if (field.enum) return shownEnum(field.enum, Number(BigInt.asIntN(32, varintAt(bytes, part))));
  return { kind: 'number', type: kind, text: numberText(kind, bytes, part) };
}

/** Shows the value of a field that is not set, and is not null then. */
export function shownZero({ kind, enum: of }: Pick<FieldShape, 'kind' | 'enum'>): Shown {
  if (kind === 'string') return { kind: 'text', text: '' };
  if (kind === 'bytes') return { kind: 'bytes', base64: '', length: 0 };
  if (kind === 'bool') return { kind: 'bool', value: false };
  return of ? shownEnum(of, of.first) : { kind: 'number', type: kind, text: '0' };
}

function shownEnum({ names }: EnumShape, number: number): Shown {
  return { kind: 'enum', name: names.get(number) ?? null, number };
}

/** Returns the key of a map, for the comparison with other keys of the map. */
export function keyText(kind: string, bytes: Buffer, part: ByteRange | null): string {
  if (part === null) return kind === 'string' ? '' : kind === 'bool' ? 'false' : '0';
  if (kind === 'string') return bytes.toString('utf8', part.start, part.end);
  if (kind === 'bool') return String(varintAt(bytes, part) !== 0n);
  return numberText(kind, bytes, part);
}

function numberText(kind: string, bytes: Buffer, part: ByteRange): string {
  const at = part.start;
  switch (kind) {
    case 'double':
      return floatText(bytes.readDoubleLE(at));
    case 'float':
      return floatText(bytes.readFloatLE(at));
    case 'fixed32':
      return String(bytes.readUInt32LE(at));
    case 'sfixed32':
      return String(bytes.readInt32LE(at));
    case 'fixed64':
      return String(bytes.readBigUInt64LE(at));
    case 'sfixed64':
      return String(bytes.readBigInt64LE(at));
    case 'sint32':
      return String(zigZag(BigInt.asUintN(32, varintAt(bytes, part))));
    case 'sint64':
      return String(zigZag(varintAt(bytes, part)));
    case 'uint32':
      return String(BigInt.asUintN(32, varintAt(bytes, part)));
    case 'uint64':
      return String(varintAt(bytes, part));
    case 'int64':
      return String(BigInt.asIntN(64, varintAt(bytes, part)));
    default:
      return String(BigInt.asIntN(32, varintAt(bytes, part)));
  }
}

function floatText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

/** 0 -> 0, 1 -> -1, 2 -> 1, … */
function zigZag(value: bigint): bigint {
  return value % 2n === 0n ? value / 2n : -(value + 1n) / 2n;
}

/** 0001-01-01T00:00:00Z and the last second of the year 9999. */
const FIRST_SECOND = -62_135_596_800n;
const LAST_SECOND = 253_402_300_799n;
const NANOS = 1_000_000_000;

/** Shows a google.protobuf.Timestamp. Null: it is out of range. */
export function shownTime(seconds: bigint, nanos: number): Shown | null {
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND || nanos < 0 || nanos >= NANOS) return null;
  const ms = Number(seconds) * 1000 + Math.floor(nanos / 1_000_000);
  return { kind: 'time', text: formatRfc3339({ ms, nanos: nanos % 1_000_000 }) };
}

/** Shows a google.protobuf.Duration. Null: seconds and nanoseconds do not fit together. */
export function shownDuration(seconds: bigint, nanos: number): Shown | null {
  const mixed = (seconds < 0n && nanos > 0) || (seconds > 0n && nanos < 0);
  if (mixed || Math.abs(nanos) >= NANOS) return null;
  const sign = seconds < 0n || nanos < 0 ? '-' : '';
  const whole = seconds < 0n ? -seconds : seconds;
  const fraction =
    nanos === 0 ? '' : `.${String(Math.abs(nanos)).padStart(9, '0').replace(/0+$/, '')}`;
  return { kind: 'duration', text: `${sign}${whole}${fraction}s` };
}
