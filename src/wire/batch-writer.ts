/**
 * Writes events as the bytes of a stream entry, by hand against proto/millrace/v1/batch.proto. Its
 * tests compare it with the generated code. The inverse is batch-reader.ts.
 */
import { crc32 } from 'node:zlib';
import { varint as writeVarint, varintSize, type PayloadArena } from './payload-arena.ts';

export interface EventFields {
  readonly id: string;
  readonly subject: string;
  /** Place of the payload in `dataBuffer`. */
  readonly dataBuffer: Uint8Array;
  readonly dataStart: number;
  readonly dataEnd: number;
  readonly timeMs: number;
  readonly timeNanos?: number;
  readonly source: string;
  readonly schema: number;
  readonly position: number;
  readonly extensions: Readonly<Record<string, string>> | null;
}

/** The method is looked up once, not for every character: see payload-arena.ts. */
const { charCodeAt } = String.prototype as unknown as {
  readonly charCodeAt: (this: string, at: number) => number;
};

/** Writes a length-delimited string field. Short ASCII needs no call into native code. */
function writeString(buffer: Buffer, at: number, tag: number, text: string): number {
  if (text.length === 0) return at;
  buffer[at++] = tag;
  if (text.length < 64) {
    const start = at + 1;
    let end = start;
    for (let i = 0; i < text.length; i++) {
      const c = charCodeAt.call(text, i);
      if (c > 127) {
        end = -1;
        break;
      }
      buffer[end++] = c;
    }
    if (end >= 0) {
      buffer[at] = end - start;
      return end;
    }
  }
  const bytes = Buffer.byteLength(text);
  at = writeVarint(buffer, at, bytes);
  buffer.write(text, at, bytes, 'utf8');
  return at + bytes;
}

/** Returns an upper bound of an Event message's size. */
function sizeBound(event: EventFields): number {
  let size =
    64 +
    (event.dataEnd - event.dataStart) +
    3 * (event.id.length + event.subject.length + event.source.length);
  if (event.extensions)
    for (const [key, value] of Object.entries(event.extensions))
      size += 32 + 3 * (key.length + value.length);
  return size;
}

function writeEvent(buffer: Buffer, at: number, event: EventFields, knownSource: string): number {
  at = writeString(buffer, at, 0x0a, event.id);
  at = writeString(buffer, at, 0x12, event.subject);
  const length = event.dataEnd - event.dataStart;
  if (length > 0) {
    buffer[at++] = 0x1a;
    at = writeVarint(buffer, at, length);
    buffer.set(event.dataBuffer.subarray(event.dataStart, event.dataEnd), at);
    at += length;
  }
  if (event.timeMs > 0) {
    buffer[at++] = 0x20;
    at = writeVarint(buffer, at, event.timeMs);
  }
  if (event.source !== knownSource) at = writeString(buffer, at, 0x2a, event.source);
  if (event.schema > 0) {
    buffer[at++] = 0x30;
    at = writeVarint(buffer, at, event.schema);
  }
  if (event.position > 0) {
    buffer[at++] = 0x38;
    at = writeVarint(buffer, at, event.position);
  }
  if (event.extensions) {
    for (const [key, value] of Object.entries(event.extensions)) {
      const keyBytes = Buffer.byteLength(key);
      const valueBytes = Buffer.byteLength(value);
      const size = 1 + varintSize(keyBytes) + keyBytes + 1 + varintSize(valueBytes) + valueBytes;
      buffer[at++] = 0x4a;
      at = writeVarint(buffer, at, size);
      buffer[at++] = 0x0a;
      at = writeVarint(buffer, at, keyBytes);
      at += buffer.write(key, at);
      buffer[at++] = 0x12;
      at = writeVarint(buffer, at, valueBytes);
      at += buffer.write(value, at);
    }
  }
  if (event.timeNanos) {
    buffer[at++] = 0x80;
    buffer[at++] = 0x01;
    at = writeVarint(buffer, at, event.timeNanos);
  }
  return at;
}

/** Encodes one Event message. */
export function encodeEvent(event: EventFields): Buffer {
  const buffer = Buffer.allocUnsafe(sizeBound(event));
  return buffer.subarray(0, writeEvent(buffer, 0, event, ''));
}

/** Fields of an Event message, without its data and its position. */
export interface Envelope {
  readonly id: string;
  readonly subject: string;
  readonly timeMs: number;
  /** Nanoseconds behind `timeMs`: 0 to 999,999. */
  readonly timeNanos?: number;
  /** Source of the event; empty: the batch's source. */
  readonly source: string;
  /** Id of the type's schema in the registry; 0: none. */
  readonly schema: number;
  readonly extensions: Readonly<Record<string, string>> | null;
}

/**
 * Writes the envelope behind a payload that was written before.
 * @returns null; or the attribute that is no valid Unicode text. The arena's content is undefined
 *   then
 */
export function writeEnvelope(
  arena: PayloadArena,
  envelope: Envelope,
): 'id' | 'subject' | 'source' | 'extensions' | null {
  const { timeMs, timeNanos, source, schema, extensions } = envelope;
  if (!arena.string(0x0a, envelope.id)) return 'id';
  if (!arena.string(0x12, envelope.subject)) return 'subject';
  if (timeMs > 0) arena.uint(0x20, timeMs);
  if (source !== '' && !arena.string(0x2a, source)) return 'source';
  if (schema > 0) arena.uint(0x30, schema);
  if (extensions) {
    for (const [key, value] of Object.entries(extensions)) {
      const extension = arena.open(0x4a);
      if (!arena.string(0x0a, key) || !arena.string(0x12, value)) return 'extensions';
      arena.close(extension);
    }
  }
  if (timeNanos) arena.uint(0x80, timeNanos);
  return null;
}

/** Builds one EventBatch event by event, directly into its bytes. */
export class BatchBuilder {
  #buffer: Buffer;
  #at = 0;
  #count = 0;
  readonly #source: string;

  /**
   * @param source written once, for all events that have this source
   * @param buffer target buffer, whose content is lost. A larger buffer replaces one that is too
   *   small
   */
  constructor(source = '', buffer: Buffer = Buffer.allocUnsafeSlow(1024)) {
    this.#source = source;
    this.#buffer = buffer;
    const bytes = Buffer.byteLength(source);
    if (bytes === 0) return;
    this.#reserve(bytes + 6);
    this.#buffer[0] = 0x12;
    this.#at = writeVarint(this.#buffer, 1, bytes);
    this.#at += this.#buffer.write(source, this.#at);
  }

  get count(): number {
    return this.#count;
  }
  get bytes(): number {
    return this.#at;
  }

  add(event: EventFields): void {
    const bound = sizeBound(event);
    this.#reserve(bound + 6);
    const buffer = this.#buffer;
    // The message is written behind a gap for its length, and moved up if the length took less.
    // Most events stay below 128 or 16,384 bytes.
    const gap = varintSize(bound);
    const start = this.#at + 1 + gap;
    const end = writeEvent(buffer, start, event, this.#source);
    const length = end - start;
    const used = varintSize(length);
    buffer[this.#at] = 0x1a;
    writeVarint(buffer, this.#at + 1, length);
    if (used !== gap) buffer.copyWithin(this.#at + 1 + used, start, end);
    this.#at += 1 + used + length;
    this.#count++;
  }

  /**
   * Adds an Event message written elsewhere (writeEnvelope), with its position behind it.
   * @returns its length with the position
   */
  addWritten(from: Buffer, start: number, end: number, position: number): number {
    const length = end - start + (position > 0 ? 1 + varintSize(position) : 0);
    this.#reserve(length + 6);
    const buffer = this.#buffer;
    buffer[this.#at++] = 0x1a;
    let at = writeVarint(buffer, this.#at, length);
    at += from.copy(buffer, at, start, end);
    if (position > 0) {
      buffer[at++] = 0x38;
      at = writeVarint(buffer, at, position);
    }
    this.#at = at;
    this.#count++;
    return length;
  }

  /** Adds an Event message as it is, unknown fields included. */
  addRaw(event: Uint8Array): void {
    this.#reserve(event.length + 6);
    this.#buffer[this.#at++] = 0x1a;
    this.#at = writeVarint(this.#buffer, this.#at, event.length);
    this.#buffer.set(event, this.#at);
    this.#at += event.length;
    this.#count++;
  }

  /** Buffer of the batch. Give it to another builder once nobody reads the finished bytes. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  finish(): { bytes: Buffer; count: number; crc: number } {
    const bytes = this.#buffer.subarray(0, this.#at);
    return { bytes, count: this.#count, crc: crc32(bytes) };
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }
}

/** Returns an EventBatch of one event of a batch, with the batch's source. */
export function batchOfOne(
  bytes: Buffer,
  {
    offset,
    length,
    source,
  }: { readonly offset: number; readonly length: number; readonly source: string },
): Buffer {
  const bound = 24 + 3 * source.length + length;
  const out = Buffer.allocUnsafe(bound);
  let at = writeString(out, 0, 0x12, source);
  out[at++] = 0x1a;
  at = writeVarint(out, at, length);
  at += bytes.copy(out, at, offset, offset + length);
  return out.subarray(0, at);
}
