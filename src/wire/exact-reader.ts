/**
 * Reader of payloads whose 64-bit integers are exact: a number within 2^53, a bigint beyond it.
 * Handlers never see a bigint. This reader is for people who look at stored events.
 */
import { PayloadReader } from './payload-reader.ts';

export class ExactReader extends PayloadReader {
  override int64(): never {
    const start = this.pos;
    try {
      return super.int64();
    } catch {
      return this.#again(start, () => BigInt.asIntN(64, this.#varint()));
    }
  }

  override uint64(): never {
    const start = this.pos;
    try {
      return super.uint64();
    } catch {
      return this.#again(start, () => BigInt.asUintN(64, this.#varint()));
    }
  }

  override sint64(): never {
    const start = this.pos;
    try {
      return super.sint64();
    } catch {
      return this.#again(start, () => {
        const bits = BigInt.asUintN(64, this.#varint());
        // zig-zag: 0 -> 0, 1 -> -1, 2 -> 1, ...
        return (bits >> 1n) ^ -(bits & 1n);
      });
    }
  }

  override fixed64(): never {
    const start = this.pos;
    try {
      return super.fixed64();
    } catch {
      return this.#again(start, () => this.#eightBytes());
    }
  }

  override sfixed64(): never {
    const start = this.pos;
    try {
      return super.sfixed64();
    } catch {
      return this.#again(start, () => BigInt.asIntN(64, this.#eightBytes()));
    }
  }

  /**
   * Reads a value a second time, because a number cannot hold it.
   * @throws RangeError where the bytes hold no such value
   */
  #again(start: number, read: () => bigint): never {
    this.pos = start;
    const value = read();
    const number = Number(value);
    return (Number.isSafeInteger(number) ? number : value) as never;
  }

  #eightBytes(): bigint {
    const low = BigInt(this.fixed32());
    return (BigInt(this.fixed32()) << 32n) | low;
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.pos >= this.len) throw new RangeError('a truncated integer');
      const byte = this.buf[this.pos++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('an integer of more than ten bytes');
  }
}
