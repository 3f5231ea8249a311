/**
 * Buffer in which a publisher writes payloads and their envelopes, one behind the other, before
 * they go to their partitions' batches.
 *
 * The writer is our own and not protobufjs', because publishing consists mostly of this work. Most
 * strings are short ASCII: they are written in one loop without a call into native code. A
 * message's length is put in front of the message in place.
 *
 * Tags are those of protobuf (`tagOf`). Tag 0 writes no tag: an element of a packed field.
 */

/** Bytes that one call may write without asking for room: a tag and any fixed-size value. */
const SLACK = 32;
const LARGE = 1_048_576;
const START = 65_536;
/**
 * isWellFormed is ECMAScript 2024. Every Node we run on has it; the compiler's library is older.
 */
const { isWellFormed, charCodeAt } = String.prototype as unknown as {
  readonly isWellFormed: (this: string) => boolean;
  /**
   * V8 has more kinds of strings (flat, concatenated, sliced, internalised, ...) than a property
   * access remembers. Where all of them occur, `text.charCodeAt` is looked up anew for every
   * character. So the method must be a constant of this module.
   */
  readonly charCodeAt: (this: string, at: number) => number;
};

export class PayloadArena {
  #buffer: Buffer = Buffer.allocUnsafeSlow(START);
  #view = viewOf(this.#buffer);
  #end = 0;

  /**
   * Buffer of the arena. Read it after the last write, because a larger one may have replaced it.
   */
  get buffer(): Buffer {
    return this.#buffer;
  }
  get end(): number {
    return this.#end;
  }
  /** Drops the bytes behind this offset (a payload that failed half-way). */
  truncate(to: number): void {
    this.#end = to;
  }
  /** Empties the arena. A buffer that has grown large is given up. */
  clear(): void {
    this.#end = 0;
    if (this.#buffer.length > LARGE) this.#replace(Buffer.allocUnsafeSlow(START));
  }

  /** Writes a tag, then a non-negative safe integer. */
  uint(tag: number, value: number): void {
    this.#reserve(SLACK);
    this.#end = varint(this.#buffer, this.#tag(tag), value);
  }

  /**
   * Writes a tag, then any safe integer as int32, int64 or enum. Negative integers take ten bytes.
   */
  int(tag: number, value: number): void {
    if (value >= 0) return this.uint(tag, value);
    this.#reserve(SLACK);
    let at = this.#tag(tag);
    // two's complement, 64 bits
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest >= 0x80n; rest >>= 7n) this.#buffer[at++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[at++] = Number(rest);
    this.#end = at;
  }

  /** Writes a tag, then a safe integer in zig-zag: 0, -1, 1, -2 … */
  sint(tag: number, value: number): void {
    if (value <= 0x3fff_ffff && value >= -0x4000_0000)
      return this.uint(tag, ((value << 1) ^ (value >> 31)) >>> 0);
    this.#reserve(SLACK);
    let at = this.#tag(tag);
    let rest = value >= 0 ? BigInt(value) * 2n : BigInt(value) * -2n - 1n;
    for (; rest >= 0x80n; rest >>= 7n) this.#buffer[at++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[at++] = Number(rest);
    this.#end = at;
  }

  double(tag: number, value: number): void {
    this.#reserve(SLACK);
    const at = this.#tag(tag);
    this.#view.setFloat64(at, value, true);
    this.#end = at + 8;
  }

  /** Writes a tag, then a number rounded to 32 bits. */
  float(tag: number, value: number): void {
    this.#reserve(SLACK);
    const at = this.#tag(tag);
    this.#view.setFloat32(at, value, true);
    this.#end = at + 4;
  }

  /** Writes a tag, then an integer as fixed32 or sfixed32. */
  fixed32(tag: number, value: number): void {
    this.#reserve(SLACK);
    const at = this.#tag(tag);
    this.#view.setInt32(at, value | 0, true);
    this.#end = at + 4;
  }

  /** Writes a tag, then a safe integer as fixed64 or sfixed64. */
  fixed64(tag: number, value: number): void {
    this.#reserve(SLACK);
    const at = this.#tag(tag);
    this.#view.setInt32(at, value | 0, true);
    this.#view.setInt32(at + 4, Math.floor(value / 4294967296), true);
    this.#end = at + 8;
  }

  /** Writes a tag alone: the ends of a group. */
  tag(tag: number): void {
    this.#reserve(SLACK);
    this.#end = varint(this.#buffer, this.#end, tag);
  }

  bytes(tag: number, value: Uint8Array): void {
    this.#reserve(SLACK + value.length);
    const at = varint(this.#buffer, varint(this.#buffer, this.#end, tag), value.length);
    this.#buffer.set(value, at);
    this.#end = at + value.length;
  }

  /**
   * Writes a text.
   * @returns false for a text with an unpaired surrogate, which UTF-8 cannot hold; nothing is
   *   written then
   */
  string(tag: number, text: string): boolean {
    const { length } = text;
    this.#reserve(SLACK + length * 3);
    const buffer = this.#buffer;
    const head = varint(buffer, this.#end, tag);
    if (length < 64) {
      let at = head + 1;
      for (let i = 0; i < length; i++) {
        const c = charCodeAt.call(text, i);
        if (c > 127) {
          at = -1;
          break;
        }
        buffer[at++] = c;
      }
      if (at >= 0) {
        buffer[head] = length;
        this.#end = at;
        return true;
      }
    }
    if (!isWellFormed.call(text)) return false;
    const bytes = Buffer.byteLength(text);
    const at = varint(buffer, head, bytes);
    buffer.write(text, at, bytes, 'utf8');
    this.#end = at + bytes;
    return true;
  }

  /**
   * Starts a message.
   * @returns start of its content, for close()
   */
  open(tag: number): number {
    this.#reserve(SLACK);
    // One byte is reserved for the length, which is enough for most messages. close() makes room
    // for a longer one.
    this.#end = varint(this.#buffer, this.#end, tag) + 1;
    return this.#end;
  }

  /** Ends the message whose content starts at this offset. */
  close(start: number): void {
    const length = this.#end - start;
    if (length < 0x80) {
      this.#buffer[start - 1] = length;
      return;
    }
    this.#reserve(SLACK);
    const more = varintSize(length) - 1;
    this.#buffer.copyWithin(start + more, start, this.#end);
    varint(this.#buffer, start - 1, length);
    this.#end += more;
  }

  /**
   * Writes a text without reserving room.
   * @returns the offset behind it
   */
  #tag(tag: number): number {
    return tag === 0 ? this.#end : varint(this.#buffer, this.#end, tag);
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, needed));
    this.#buffer.copy(grown, 0, 0, this.#end);
    this.#replace(grown);
  }

  #replace(buffer: Buffer): void {
    this.#buffer = buffer;
    this.#view = viewOf(buffer);
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}

/**
 * Writes a non-negative safe integer.
 * @returns the offset behind it
 */
export function varint(buffer: Buffer, at: number, value: number): number {
  if (value < 0x80) {
    buffer[at++] = value;
    return at;
  }
  // Beyond 32 bits division is needed; the rest is done with shifts.
  while (value > 0x7fff_ffff) {
    buffer[at++] = (value % 128) | 0x80;
    value = Math.floor(value / 128);
  }
  while (value >= 0x80) {
    buffer[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  buffer[at++] = value;
  return at;
}

export function varintSize(value: number): number {
  let size = 1;
  while (value >= 0x80) {
    value = Math.floor(value / 128);
    size++;
  }
  return size;
}
