/** Reads protobuf's wire format field by field, for the readers written by hand. */
import protobuf from 'protobufjs';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { TextAttribute } from './event-header.ts';
import { MAX_DEPTH } from './fields.ts';

const { readStrict } = protobuf.util.utf8;

/** A place in the bytes. Each walk has one cursor, so that reading allocates nothing. */
export class Cursor {
  readonly bytes: Buffer;
  at: number;
  end: number;
  /** First attribute with invalid UTF-8, since the field was last set to null. */
  invalid: TextAttribute | null = null;
  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Reads an unsigned varint up to 2^53 - 1. */
  varint(): number {
    const { bytes, end } = this;
    let byte = this.at < end ? (bytes[this.at++] as number) : fail('truncated varint');
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let factor = 128;
    for (let i = 1; i < 10; i++) {
      byte = this.at < end ? (bytes[this.at++] as number) : fail('truncated varint');
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value > Number.MAX_SAFE_INTEGER ? fail('number beyond 2^53') : value;
      factor *= 128;
    }
    return fail('varint of more than 10 bytes');
  }

  /** Reads a field's tag: five bytes at most, as protobuf requires, and never field number 0. */
  tag(): number {
    const first = this.at < this.end ? (this.bytes[this.at] as number) : 0;
    if (first > 7 && first < 0x80) {
      this.at++;
      return first;
    }
    const start = this.at;
    const tag = this.varint();
    if (tag > 0xffff_ffff || this.at - start > 5) fail('a tag of more than 32 bits');
    return tag > 7 ? tag : fail('field number 0');
  }

  /** Reads a uint32. Protobuf takes the low 32 bits of a longer number. */
  uint32(): number {
    const { bytes, end } = this;
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.at < end ? (bytes[this.at++] as number) : fail('truncated varint');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    for (let i = 4; i < 10; i++) {
      const byte = this.at < end ? (bytes[this.at++] as number) : fail('truncated varint');
      if (i === 4) value = (value | ((byte & 0x0f) << 28)) >>> 0;
      if (byte < 0x80) return value;
    }
    return fail('varint of more than 10 bytes');
  }

  /** Reads the length of a length-delimited field, which must end within the bounds. */
  length(): number {
    const length = this.varint();
    return length > this.end - this.at ? fail('a length beyond the end') : length;
  }

  /**
   * Reads a text that names something. Invalid UTF-8 gives '' and is noted in `invalid`: U+FFFD
   * could make two names equal.
   */
  string(attribute: TextAttribute): string {
    const length = this.length();
    const from = this.at;
    this.at += length;
    try {
      // protobufjs decodes short strings in JavaScript, which is faster than the call into native
      // code
      return readStrict(this.bytes, from, from + length);
    } catch {
      this.invalid ??= attribute;
      return '';
    }
  }

  /** Like string(), but invalid UTF-8 makes the whole record unreadable. */
  text(): string {
    const length = this.length();
    this.at += length;
    try {
      return readStrict(this.bytes, this.at - length, this.at);
    } catch {
      return fail('a text that is not UTF-8');
    }
  }

  /** Reads a text for people: invalid UTF-8 becomes U+FFFD. */
  prose(): string {
    return this.view().toString('utf8');
  }

  /** Returns a view of a length-delimited field. */
  view(): Buffer {
    const length = this.length();
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /**
   * Skips the value behind a tag.
   * @param depth number of enclosing groups
   */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case 0:
        return this.skipVarint();
      case 1:
        return this.forward(8);
      case 2:
        return this.forward(this.length());
      case 3:
        return this.#skipGroup(tag, depth + 1);
      case 5:
        return this.forward(4);
      default:
        fail(`wire type ${tag & 7}`);
    }
  }

  #skipGroup(start: number, depth: number): void {
    if (depth > MAX_DEPTH) fail(`groups nested deeper than ${MAX_DEPTH}`);
    for (;;) {
      const tag = this.tag();
      // wire type 4 with the same field number ends the group
      if (tag === start + 1) return;
      this.skip(tag, depth);
    }
  }

  /** Skips a varint of at most ten bytes, also beyond 2^53. */
  skipVarint(): void {
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) fail('truncated varint');
      if ((this.bytes[this.at++] as number) < 0x80) return;
    }
    fail('varint of more than 10 bytes');
  }

  forward(bytes: number): void {
    if (bytes > this.end - this.at) fail('truncated');
    this.at += bytes;
  }
}

export function fail(what: string): never {
  throw new CorruptDataError('decode', `not an EventBatch: ${what}`);
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
