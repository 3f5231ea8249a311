/**
 * Reader of single values, for the compiled readers of payloads (message-reader.ts). It extends
 * protobufjs' reader.
 *
 * - 64-bit integers become numbers at once. A Long object per field costs more than the rest of the
 *   event. A value beyond 2^53 is an error, never a rounded number.
 * - One reader serves all payloads of a thread, moved from slice to slice. protobufjs' globals stay
 *   as they are: a user's own protobufjs in the same thread keeps its Longs.
 */
import protobuf from 'protobufjs';
import { MAX_DEPTH } from './fields.ts';

function tooLarge(): never {
  throw new RangeError('a 64-bit integer beyond what a JavaScript number can hold (2^53)');
}

const NOTHING = Buffer.alloc(0);

/** Reads payloads out of one larger buffer. */
export class PayloadReader extends protobuf.Reader {
  constructor() {
    super(NOTHING);
  }

  #views = false;

  /**
   * Moves to the next message, between these offsets.
   * @param views whether `bytes` fields are views of the buffer instead of copies
   */
  over(bytes: Buffer, start: number, end: number, views = false): this {
    this.#views = views;
    this.buf = bytes;
    this.pos = start;
    this.len = end;
    (this as unknown as { view: null }).view = null;
    return this;
  }

  /**
   * Skips the value behind an unknown tag.
   * @param depth number of enclosing messages: groups nest as messages do
   * @throws Error, RangeError where there is no such value
   */
  skipField(tag: number, depth: number): void {
    if (tag >>> 3 === 0) throw new Error('field number 0');
    switch (tag & 7) {
      case 0:
        return this.#skipVarint();
      case 1:
        return this.#forward(8);
      case 2:
        return this.#forward(this.size());
      case 3:
        return this.#skipGroup(tag, depth + 1);
      case 5:
        return this.#forward(4);
      default:
        throw new Error(`wire type ${tag & 7}`);
    }
  }

  #skipGroup(start: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new RangeError(`nested deeper than ${MAX_DEPTH}`);
    for (;;) {
      const tag = this.tag();
      // wire type 4 with the same field number ends the group
      if (tag === start + 1) return;
      this.skipField(tag, depth);
    }
  }

  #skipVarint(): void {
    for (let i = 0; i < 10; i++) {
      if (this.pos >= this.len) throw new RangeError('a truncated integer');
      if ((this.buf[this.pos++] as number) < 0x80) return;
    }
    throw new RangeError('an integer of more than ten bytes');
  }

  #forward(bytes: number): void {
    if (bytes > this.len - this.pos) this.beyond();
    this.pos += bytes;
  }

  beyond(): never {
    throw new RangeError('a length beyond the end of the message');
  }

  /** Reads bytes, copied unless `views` is set: a view would keep the whole batch alive. */
  override bytes(): Uint8Array {
    if (this.#views) return super.bytes();
    return Uint8Array.prototype.slice.call(super.bytes());
  }

  override int64(): never {
    return this.#varint64(true) as never;
  }
  override uint64(): never {
    return this.#varint64(false) as never;
  }
  override sint64(): never {
    // zig-zag: 0 -> 0, 1 -> -1, 2 -> 1, ...
    const low = this.#varintParts();
    const high = this.#high;
    const negative = low & 1;
    const value = (high >>> 1) * 4294967296 + (((low >>> 1) | (high << 31)) >>> 0);
    if (value > Number.MAX_SAFE_INTEGER) tooLarge();
    return (negative ? -value - 1 : value) as never;
  }
  override fixed64(): never {
    return this.#fixed(false) as never;
  }
  override sfixed64(): never {
    return this.#fixed(true) as never;
  }

  #high = 0;

  /**
   * Reads a varint of ten bytes at most. Returns the low 32 bits; the high 32 bits are in #high.
   */
  #varintParts(): number {
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.pos >= this.len) throw new RangeError('a truncated integer');
      const byte = this.buf[this.pos++] as number;
      if (i < 4) low |= (byte & 0x7f) << (i * 7);
      else if (i === 4) {
        low |= (byte & 0x7f) << 28;
        high = (byte & 0x7f) >> 4;
      } else high |= (byte & 0x7f) << (i * 7 - 32);
      if (byte < 0x80) {
        this.#high = high >>> 0;
        return low >>> 0;
      }
    }
    throw new RangeError('an integer of more than ten bytes');
  }

  #varint64(signed: boolean): number {
    const first = this.pos < this.len ? (this.buf[this.pos] as number) : 0x80;
    if (first < 0x80) {
      this.pos++;
      return first;
    }
    // A varint of up to seven bytes, such as a time in ms, is exact in a number and never negative.
    const { buf, len } = this;
    let at = this.pos;
    let value = 0;
    let factor = 1;
    for (const end = Math.min(len, at + 7); at < end; factor *= 128) {
      const byte = buf[at++] as number;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        this.pos = at;
        return value;
      }
    }
    const low = this.#varintParts();
    return combine(low, this.#high, signed);
  }

  #fixed(signed: boolean): number {
    const low = this.fixed32();
    return combine(low, this.fixed32(), signed);
  }
}

function combine(low: number, high: number, signed: boolean): number {
  const value = (signed ? high | 0 : high) * 4294967296 + low;
  if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) tooLarge();
  return value;
}
