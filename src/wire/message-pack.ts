/**
 * A list of texts, bytes and whole numbers as one block of MessagePack. A pool thread and a Lua
 * script (cmsgpack) exchange such blocks. The dispatcher passes them on without looking inside.
 * Only the needed part of the format is implemented.
 */
import { isUtf8 } from 'node:buffer';

const writeUtf8 = (buffer: Buffer, at: number, value: string, _: null): number =>
  at + buffer.write(value, at);

/** Writes one flat list item by item. */
export class PackWriter {
  #buffer: Buffer;
  /** Place behind the list's header; the list's length is known only at the end. */
  #at = 5;
  #items = 0;

  constructor(size = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(64, size));
  }

  get items(): number {
    return this.#items;
  }
  get bytes(): number {
    return this.#at;
  }

  /**
   * Adds a whole number.
   * @param value 0 … 2^32 - 1
   */
  uint(value: number): void {
    this.#reserve(5);
    if (value < 128) this.#buffer[this.#at++] = value;
    else {
      this.#buffer[this.#at] = 0xce;
      this.#at = this.#buffer.writeUInt32BE(value, this.#at + 1);
    }
    this.#items++;
  }

  text(value: string): void {
    const most = value.length * 3;
    if (most > 65_535 || value.length < 11) {
      const length = Buffer.byteLength(value);
      this.#head(length);
      this.#at += this.#buffer.write(value, this.#at, length);
      return;
    }
    // The length of the text is known only after writing it.
    this.built(most, writeUtf8, value, null);
  }

  raw(value: Uint8Array): void {
    this.#head(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /**
   * Adds bytes that `write` puts into a buffer, at most `most`. `write` returns the offset of their
   * end.
   */
  built<A, B>(
    most: number,
    write: (buffer: Buffer, at: number, a: A, b: B) => number,
    a: A,
    b: B,
  ): void {
    this.#reserve(most + 5);
    const start = this.#at + (most < 65_536 ? 3 : 5);
    const end = write(this.#buffer, start, a, b);
    if (most < 65_536) {
      this.#buffer[this.#at] = 0xda;
      this.#buffer.writeUInt16BE(end - start, this.#at + 1);
    } else {
      this.#buffer[this.#at] = 0xdb;
      this.#buffer.writeUInt32BE(end - start, this.#at + 1);
    }
    this.#at = end;
    this.#items++;
  }

  /** Returns the block, in memory of its own. */
  finish(): Uint8Array {
    this.#buffer[0] = 0xdd;
    this.#buffer.writeUInt32BE(this.#items, 1);
    return Uint8Array.prototype.slice.call(this.#buffer, 0, this.#at);
  }

  #head(length: number): void {
    this.#reserve(length + 5);
    if (length < 32) this.#buffer[this.#at++] = 0xa0 | length;
    else if (length < 65_536) {
      this.#buffer[this.#at] = 0xda;
      this.#at = this.#buffer.writeUInt16BE(length, this.#at + 1);
    } else {
      this.#buffer[this.#at] = 0xdb;
      this.#at = this.#buffer.writeUInt32BE(length, this.#at + 1);
    }
    this.#items++;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }
}

/** Reads a flat list item by item. */
export class PackReader {
  readonly #bytes: Buffer;
  #at = 0;
  /** Offset of the last text. */
  #from = 0;
  #left = 1;

  /**
   * Opens a block.
   * @throws RangeError for bytes that are no list
   */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const head = this.#item();
    if (head >= 0x90 && head <= 0x9f) this.#left = head & 0x0f;
    else if (head === 0xdc) this.#left = this.#number(2);
    else if (head === 0xdd) this.#left = this.#number(4);
    else throw new RangeError(`not a packed list: it begins with ${head}`);
  }

  /** Number of items still to be read. */
  get left(): number {
    return this.#left;
  }

  text(): string {
    const length = this.#length();
    this.#from = this.#at;
    this.#at += length;
    return this.#bytes.toString('utf8', this.#from, this.#at);
  }

  /** Reads a text; null: it is not valid UTF-8. */
  strictText(): string | null {
    const text = this.text();
    if (!text.includes('\ufffd')) return text;
    // The length of a damaged text, in bytes, cannot be derived from the text.
    return isUtf8(this.#bytes.subarray(this.#from, this.#at)) ? text : null;
  }

  /** Reads bytes, as a view of the block's memory. */
  raw(): Buffer {
    const length = this.#length();
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint(): number {
    const head = this.#item();
    if (head < 0x80) return head;
    if (head === 0xcc) return this.#number(1);
    if (head === 0xcd) return this.#number(2);
    if (head === 0xce) return this.#number(4);
    throw new RangeError(`not a whole number: it begins with ${head}`);
  }

  #length(): number {
    const head = this.#item();
    const length =
      head >= 0xa0 && head <= 0xbf
        ? head & 0x1f
        : head === 0xd9
          ? this.#number(1)
          : head === 0xda
            ? this.#number(2)
            : head === 0xdb
              ? this.#number(4)
              : -1;
    if (length < 0) throw new RangeError(`not a text: it begins with ${head}`);
    if (this.#at + length > this.#bytes.length) throw new RangeError('a text beyond the end');
    return length;
  }

  #number(bytes: number): number {
    if (this.#at + bytes > this.#bytes.length) throw new RangeError('a number beyond the end');
    this.#at += bytes;
    return this.#bytes.readUIntBE(this.#at - bytes, bytes);
  }

  #item(): number {
    if (this.#left === 0 || this.#at >= this.#bytes.length)
      throw new RangeError('a list beyond its end');
    this.#left--;
    return this.#bytes[this.#at++] as number;
  }
}
