/**
 * Places of a message's values in its bytes. The rules are protobuf's: the last value of a field
 * wins, messages merge, the last member of a oneof stays. Lists are packed or not. Values are not
 * copied or decoded here.
 */
import type { EnumShape, FieldShape, MessageShape } from '../wire/message-shape.ts';

/** Bytes that are no message. The text tells nothing of the data. */
export class NoMessage extends Error {}

/** A part of the bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export interface FoundValues {
  /**
   * Values by number of their field. A list has its first values, a map all its entries, and a
   * message all parts that are merged. Anything else has one value. No value: unset.
   */
  readonly parts: ReadonlyMap<number, readonly ByteRange[]>;
  /** Number of all values of a list, by number of its field. */
  readonly sizes: ReadonlyMap<number, number>;
  /** Number of values that the shape does not declare. */
  readonly unknown: number;
}

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const GROUP = 3;
const FIXED32 = 5;

const WIRE: Readonly<Record<string, number>> = {
  double: FIXED64,
  fixed64: FIXED64,
  sfixed64: FIXED64,
  float: FIXED32,
  fixed32: FIXED32,
  sfixed32: FIXED32,
  string: DELIMITED,
  bytes: DELIMITED,
  message: DELIMITED,
};

/** Most values of a list that are kept. A list may have a million of them in a mebibyte. */
const MOST_ITEMS = 100_000;
/** Most levels of groups, whose content is skipped. */
const MAX_DEPTH = 100;

/**
 * Finds the values of a message.
 * @param parts the parts of the message, which are merged
 * @throws NoMessage
 */
export function findValues(
  bytes: Buffer,
  parts: readonly ByteRange[],
  shape: MessageShape,
): FoundValues {
  const found = new Map<number, ByteRange[]>();
  const sizes = new Map<number, number>();
  let unknown = 0;
  for (const { start, end } of parts) {
    const cursor = new WireCursor(bytes, start, end);
    while (cursor.at < end) {
      const { number, wire, value } = cursor.next();
      const field = shape.fields.get(number);
      const values = field ? valuesOf(field, bytes, wire, value) : null;
      if (field === undefined || values === null) {
        unknown++;
        continue;
      }
      const before = found.get(number);
      if (field.repeated && field.mapKey === null) {
        const list = before ?? [];
        let size = sizes.get(number) ?? 0;
        for (const one of values) if (++size <= MOST_ITEMS) list.push(one);
        found.set(number, list);
        sizes.set(number, size);
        continue;
      }
      const gathers = field.mapKey !== null || field.kind === 'message';
      if (gathers && before) for (const one of values) before.push(one);
      else found.set(number, [...values]);
      for (const other of field.others) found.delete(other);
    }
  }
  return { parts: found, sizes, unknown };
}

/** Key and value of a map's entry. */
export interface FoundEntry {
  /** Null: unset, so zero. */
  readonly key: ByteRange | null;
  /** Parts of the value; none: unset. */
  readonly value: readonly ByteRange[];
}

/**
 * Finds the key and the value of a map's entry.
 * @throws NoMessage
 */
export function findEntry(
  bytes: Buffer,
  part: ByteRange,
  { mapKey, kind }: FieldShape,
): FoundEntry {
  const cursor = new WireCursor(bytes, part.start, part.end);
  let key: ByteRange | null = null;
  const value: ByteRange[] = [];
  while (cursor.at < part.end) {
    const { number, wire, value: at } = cursor.next();
    if (number === 1 && wire === wireOf(mapKey ?? '')) key = at;
    else if (number === 2 && wire === wireOf(kind)) {
      if (kind !== 'message') value.length = 0;
      value.push(at);
    }
  }
  return { key, value };
}

/** Null: the field has another wire type, or its enum is closed to the number. */
function valuesOf(
  field: FieldShape,
  bytes: Buffer,
  wire: number,
  value: ByteRange,
): Iterable<ByteRange> | null {
  if (field.mapKey !== null) return wire === DELIMITED ? [value] : null;
  const own = wireOf(field.kind);
  if (wire === own) return isClosedTo(field.enum, bytes, value) ? null : [value];
  return wire === DELIMITED && field.repeated ? packedValues(field, bytes, value) : null;
}

function* packedValues(field: FieldShape, bytes: Buffer, value: ByteRange): Generator<ByteRange> {
  const own = wireOf(field.kind);
  const cursor = new WireCursor(bytes, value.start, value.end);
  while (cursor.at < value.end) {
    const one = cursor.value(own, field.number);
    if (!isClosedTo(field.enum, bytes, one)) yield one;
  }
}

/** Whether an enum is closed to a number: readers take such a value as not written. */
export function isClosedTo(of: EnumShape | null, bytes: Buffer, value: ByteRange): boolean {
  return (
    of !== null && of.closed && !of.names.has(Number(BigInt.asIntN(32, varintAt(bytes, value))))
  );
}

function wireOf(kind: string): number {
  return WIRE[kind] ?? VARINT;
}

/** Returns the value of a varint, modulo 2^64. */
export function varintAt(bytes: Buffer, { start, end }: ByteRange): bigint {
  let value = 0n;
  for (let at = start; at < end; at++)
    value |= BigInt((bytes[at] as number) & 0x7f) << BigInt(7 * (at - start));
  return BigInt.asUintN(64, value);
}

/** Bytes of a varint that a number holds exactly: 7 bits of each, 53 in all. */
const EXACT_BYTES = 7;

class WireCursor {
  readonly #bytes: Buffer;
  readonly #end: number;
  at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
  }

  /** Reads a tag and finds its value. */
  next(): { readonly number: number; readonly wire: number; readonly value: ByteRange } {
    const tag = this.#number(5);
    const number = Math.floor(tag / 8);
    if (number === 0 || tag > 0xffffffff) throw new NoMessage('a field without a number');
    const wire = tag % 8;
    return { number, wire, value: this.value(wire, number, 0) };
  }

  /** Finds a value of a wire type, and goes behind it. */
  value(wire: number, number: number, depth = 0): ByteRange {
    const start = this.at;
    switch (wire) {
      case VARINT:
        return this.#varint(10);
      case FIXED64:
        return this.#forward(8);
      case FIXED32:
        return this.#forward(4);
      case DELIMITED: {
        const length = this.#number(10);
        if (length > this.#end - this.at)
          throw new NoMessage('a length beyond the end of the message');
        return this.#forward(length);
      }
      case GROUP:
        this.#skipGroup(number, depth + 1);
        return { start, end: this.at };
      default:
        throw new NoMessage(`wire type ${wire}`);
    }
  }

  #skipGroup(number: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new NoMessage(`groups nested deeper than ${MAX_DEPTH}`);
    for (;;) {
      const tag = this.#number(5);
      if (tag === number * 8 + 4) return;
      if (Math.floor(tag / 8) === 0) throw new NoMessage('a field without a number');
      this.value(tag % 8, Math.floor(tag / 8), depth);
    }
  }

  /** Reads a varint, modulo 2^64. A bigint for each tag would cost more than all else. */
  #number(most: number): number {
    const part = this.#varint(most);
    if (part.end - part.start > EXACT_BYTES) return Number(varintAt(this.#bytes, part));
    let value = 0;
    for (let at = part.end - 1; at >= part.start; at--)
      value = value * 128 + ((this.#bytes[at] as number) & 0x7f);
    return value;
  }

  #varint(most: number): ByteRange {
    const start = this.at;
    for (let i = 0; i < most; i++) {
      if (this.at >= this.#end) throw new NoMessage('a truncated integer');
      if ((this.#bytes[this.at++] as number) < 0x80) return { start, end: this.at };
    }
    throw new NoMessage(`an integer of more than ${most} bytes`);
  }

  #forward(length: number): ByteRange {
    const start = this.at;
    if (length > this.#end - start) throw new NoMessage('a value beyond the end of the message');
    this.at += length;
    return { start, end: this.at };
  }
}
