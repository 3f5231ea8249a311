/**
 * Bytes <-> events of one stream entry. The hot path: written by hand against
 * proto/millrace/v1/batch.proto, with the generated code as the oracle of its tests. An event costs
 * one small object here, and no copy of its payload.
 */
import { isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import protobuf from 'protobufjs';
import { CorruptDataError } from '../core/errors.ts';
import { MAX_DEPTH } from './fields.ts';
import { varint as writeVarint, varintSize, type PayloadArena } from './payload-arena.ts';

export const MAX_EVENTS = 65_536;

/** What an Event message says of itself. Offsets are relative to the bytes that were walked. */
export interface EventHeader {
  readonly index: number;
  /** The Event message. */
  readonly offset: number;
  readonly length: number;
  readonly id: string;
  readonly subject: string;
  readonly timeMs: number;
  /** Behind `timeMs`: 0 to 999,999. */
  readonly timeNanos: number;
  readonly source: string;
  readonly schema: number;
  readonly position: number;
  /** Empty unless the event names its type itself. */
  readonly type: string;
  readonly dataOffset: number;
  readonly dataLength: number;
  readonly extensions: Readonly<Record<string, string>> | null;
  /**
   * The first attribute whose text is no valid UTF-8 (it is '' then); null: all are. See
   * envelope-problem.ts.
   */
  readonly invalid: TextAttribute | null;
}

export type TextAttribute = 'id' | 'subject' | 'source' | 'type' | 'extensions';

export interface EventFields {
  readonly id: string;
  readonly subject: string;
  /** The payload: these bytes of `dataBuffer`. */
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

// ---------------------------------------------------------------- writing

/** Not looked up for every character: see payload-arena.ts. */
const { charCodeAt } = String.prototype as unknown as {
  readonly charCodeAt: (this: string, at: number) => number;
};

/** A length-delimited string field; short ASCII without a call into native code. */
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

/** Upper bound of an Event message's size. */
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

/** One Event message. */
export function encodeEvent(event: EventFields): Buffer {
  const buffer = Buffer.allocUnsafe(sizeBound(event));
  return buffer.subarray(0, writeEvent(buffer, 0, event, ''));
}

/** An Event message but its data and its position. */
export interface Envelope {
  readonly id: string;
  readonly subject: string;
  readonly timeMs: number;
  /** Behind `timeMs`: 0 to 999,999. */
  readonly timeNanos?: number;
  /** Empty: the batch's source holds. */
  readonly source: string;
  /** Id of the type's schema in the registry; 0: none. */
  readonly schema: number;
  readonly extensions: Readonly<Record<string, string>> | null;
}

/**
 * Writes the envelope behind a payload that was written before.
 * @returns the attribute that is no proper Unicode text, then the arena's content is undefined;
 *   null if all is well
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

/** Builds one EventBatch event by event, straight into its bytes. */
export class BatchBuilder {
  #buffer: Buffer;
  #at = 0;
  #count = 0;
  readonly #source: string;

  /**
   * @param source of all events that have the same one: written once
   * @param buffer to write into, its content is lost; replaced by a larger one where it is too
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
    // Written behind a gap for the length, then moved up if the length took less: most events stay
    // below 128 or 16,384.
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
   * An Event message written elsewhere (writeEnvelope), with its position put behind it.
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

  /** An Event message as it is, unknown fields included. */
  addRaw(event: Uint8Array): void {
    this.#reserve(event.length + 6);
    this.#buffer[this.#at++] = 0x1a;
    this.#at = writeVarint(this.#buffer, this.#at, event.length);
    this.#buffer.set(event, this.#at);
    this.#at += event.length;
    this.#count++;
  }

  /**
   * What it wrote into: may be given to another builder once nobody reads the finished bytes any
   * more.
   */
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

// ---------------------------------------------------------------- reading

const { readStrict } = protobuf.util.utf8;

/** A place in the bytes; one per walk, so that reading allocates nothing. */
export class Cursor {
  readonly bytes: Buffer;
  at: number;
  end: number;
  /** The first attribute that was no valid UTF-8, since it was last set to null. */
  invalid: TextAttribute | null = null;
  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Unsigned varint up to 2^53 - 1. */
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

  /** Of five bytes at most, as protobuf has it; never of field number 0. */
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

  /** A uint32: of a longer number the low 32 bits, as protobuf has it. */
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

  /** Length of a length-delimited field that lies within the bounds. */
  length(): number {
    const length = this.varint();
    return length > this.end - this.at ? fail('a length beyond the end') : length;
  }

  /**
   * Text that names something. Where it is no valid UTF-8: '', and noted. Never U+FFFD, which would
   * make two names one.
   */
  string(attribute: TextAttribute): string {
    const length = this.length();
    const from = this.at;
    this.at += length;
    try {
      // protobufjs decodes short strings in JavaScript, which beats the call into native code
      return readStrict(this.bytes, from, from + length);
    } catch {
      this.invalid ??= attribute;
      return '';
    }
  }

  /** As string(), but a record with such a text is no record. */
  text(): string {
    const length = this.length();
    this.at += length;
    try {
      return readStrict(this.bytes, this.at - length, this.at);
    } catch {
      return fail('a text that is not UTF-8');
    }
  }

  /** Text for people: what is no valid UTF-8 in it becomes U+FFFD. */
  prose(): string {
    return this.view().toString('utf8');
  }

  /** A view of a length-delimited field. */
  view(): Buffer {
    const length = this.length();
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /**
   * Passes over the value behind a tag.
   * @param depth of groups within groups
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
      // the same field number with wire type 4
      if (tag === start + 1) return;
      this.skip(tag, depth);
    }
  }

  /** Any varint of ten bytes, also beyond 2^53: it is not looked at. */
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

function fail(what: string): never {
  throw new CorruptDataError('decode', `not an EventBatch: ${what}`);
}

/**
 * What is read of an event, field by field: overwritten by the next, so that reading allocates
 * nothing but the texts.
 */
class EventFieldsRead implements EventHeader {
  index = 0;
  offset = 0;
  length = 0;
  id = '';
  subject = '';
  timeMs = 0;
  timeNanos = 0;
  source = '';
  schema = 0;
  position = 0;
  type = '';
  dataOffset = 0;
  dataLength = 0;
  extensions: Readonly<Record<string, string>> | null = null;
  invalid: TextAttribute | null = null;

  read(cursor: Cursor, index: number, length: number, defaultSource: string): void {
    const offset = cursor.at;
    const outer = cursor.end;
    cursor.end = offset + length;
    cursor.invalid = null;
    this.index = index;
    this.offset = offset;
    this.length = length;
    this.id = '';
    this.subject = '';
    this.timeMs = 0;
    this.timeNanos = 0;
    this.source = defaultSource;
    this.schema = 0;
    this.position = 0;
    this.type = '';
    this.dataOffset = offset;
    this.dataLength = 0;
    this.extensions = null;
    let extensions: Record<string, string> | null = null;
    while (cursor.at < cursor.end) {
      const tag = cursor.tag();
      switch (tag) {
        case 0x0a:
          this.id = cursor.string('id');
          break;
        case 0x12:
          this.subject = cursor.string('subject');
          break;
        case 0x1a: {
          const dataLength = cursor.length();
          this.dataLength = dataLength;
          this.dataOffset = cursor.at;
          cursor.at += dataLength;
          break;
        }
        case 0x20:
          this.timeMs = cursor.varint();
          break;
        case 0x2a:
          this.source = cursor.string('source') || defaultSource;
          break;
        case 0x30:
          this.schema = cursor.uint32();
          break;
        case 0x38:
          this.position = cursor.uint32();
          break;
        case 0x42:
          this.type = cursor.string('type');
          break;
        case 0x4a:
          this.extensions = extensions = readExtension(cursor, extensions);
          break;
        default:
          if (tag === 0x80) this.timeNanos = cursor.uint32();
          else cursor.skip(tag);
      }
    }
    this.invalid = cursor.invalid;
    cursor.end = outer;
  }
}

function readHeader(
  cursor: Cursor,
  index: number,
  length: number,
  defaultSource: string,
): EventHeader {
  const event = new EventFieldsRead();
  event.read(cursor, index, length, defaultSource);
  return event;
}

function readExtension(
  cursor: Cursor,
  into: Record<string, string> | null,
): Record<string, string> {
  const length = cursor.length();
  const outer = cursor.end;
  cursor.end = cursor.at + length;
  let key = '';
  let value = '';
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    if (tag === 0x0a) key = cursor.string('extensions');
    else if (tag === 0x12) value = cursor.string('extensions');
    else cursor.skip(tag);
  }
  cursor.end = outer;
  // Without a prototype: a key named __proto__ is a key like any other.
  const extensions = into ?? (Object.create(null) as Record<string, string>);
  extensions[key] = value;
  return extensions;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads the events of an EventBatch one after the other. */
export class BatchCursor {
  readonly #cursor: Cursor;
  readonly #event = new EventFieldsRead();
  /** Null: not read yet. */
  #source: BatchSourceText | null = null;
  #index = 0;

  constructor(bytes: Uint8Array) {
    this.#cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  }

  /** The event that advance() has come to; the same object each time. */
  get event(): EventHeader {
    return this.#event;
  }

  /**
   * To the next event.
   * @returns false at the end
   * @throws CorruptDataError('decode') on bytes that are no EventBatch
   */
  advance(): boolean {
    return this.#read(this.#event);
  }

  /**
   * The next event, null at the end.
   * @throws CorruptDataError('decode') on bytes that are no EventBatch
   */
  next(): EventHeader | null {
    const event = new EventFieldsRead();
    return this.#read(event) ? event : null;
  }

  #read(into: EventFieldsRead): boolean {
    const cursor = this.#cursor;
    while (cursor.at < cursor.end) {
      const tag = cursor.tag();
      if (tag === 0x1a) {
        const length = cursor.length();
        if (this.#index >= MAX_EVENTS) fail(`more than ${MAX_EVENTS} events`);
        const source = (this.#source ??= sourceOf(cursor.bytes));
        into.read(cursor, this.#index++, length, source.text);
        if (source.invalid && into.source === '') into.invalid ??= 'source';
        return true;
      }
      cursor.skip(tag);
    }
    return false;
  }
}

/**
 * The source of all events that name none. It may stand behind them, and the last one counts:
 * batches that were written one behind the other are one batch.
 * @throws CorruptDataError('decode')
 */
function sourceOf(bytes: Buffer): BatchSourceText {
  const cursor = new Cursor(bytes, 0, bytes.length);
  let source = '';
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    if (tag === 0x12) {
      cursor.invalid = null;
      source = cursor.string('source');
    } else cursor.skip(tag);
  }
  return { text: source, invalid: cursor.invalid !== null };
}

interface BatchSourceText {
  readonly text: string;
  /** It is no valid UTF-8: nor is that of any event that names none. */
  readonly invalid: boolean;
}

/**
 * Visits the events of an EventBatch in order.
 * @throws CorruptDataError('decode') on bytes that are none; events visited before stay visited
 */
export function walkBatch(bytes: Uint8Array, visit: (header: EventHeader) => void): void {
  const cursor = new BatchCursor(bytes);
  for (let header = cursor.next(); header !== null; header = cursor.next()) visit(header);
}

/**
 * Visits the subjects of an EventBatch's events, in order, reading nothing else; those that are no
 * valid UTF-8 are left out.
 * @throws CorruptDataError('decode') on bytes that are none; what was visited before stays visited
 */
export function walkSubjects(bytes: Uint8Array, visit: (subject: string) => void): void {
  const cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    if (tag !== 0x1a) {
      cursor.skip(tag);
      continue;
    }
    const outer = cursor.end;
    const length = cursor.length();
    cursor.end = cursor.at + length;
    let subject = '';
    cursor.invalid = null;
    while (cursor.at < cursor.end) {
      const inner = cursor.tag();
      if (inner === 0x12) subject = cursor.string('subject');
      else cursor.skip(inner);
    }
    cursor.end = outer;
    if (cursor.invalid === null) visit(subject);
  }
}

/**
 * Whether all of it can be read, without reading it: the framing of the batch and of each event.
 * @returns how many events it holds
 * @throws CorruptDataError('decode')
 */
export function scanBatch(bytes: Uint8Array): number {
  const cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  let count = 0;
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    if (tag !== 0x1a) {
      cursor.skip(tag);
      continue;
    }
    if (count++ >= MAX_EVENTS) fail(`more than ${MAX_EVENTS} events`);
    const outer = cursor.end;
    const length = cursor.length();
    cursor.end = cursor.at + length;
    while (cursor.at < cursor.end) {
      const inner = cursor.tag();
      // the time must be a number that JavaScript can hold
      if (inner === 0x20) cursor.varint();
      else if (inner === 0x4a) scanExtension(cursor);
      else cursor.skip(inner);
    }
    cursor.end = outer;
  }
  return count;
}

function scanExtension(cursor: Cursor): void {
  const length = cursor.length();
  const outer = cursor.end;
  cursor.end = cursor.at + length;
  while (cursor.at < cursor.end) cursor.skip(cursor.tag());
  cursor.end = outer;
}

/**
 * One element of a history: an EventBatch of one event that says its type and the entry by which it
 * was published.
 */
export interface HistoryElement {
  readonly header: EventHeader;
  readonly type: string;
  readonly entryId: string;
}

const ENTRY_ID = /^\d+-\d+$/;

/** @throws CorruptDataError('decode'), CorruptDataError('count') when it does not hold one event */
export function readHistoryElement(bytes: Buffer): HistoryElement {
  const cursor = new Cursor(bytes, 0, bytes.length);
  let type = '';
  const { text: source, invalid } = sourceOf(bytes);
  if (invalid) fail('its source is not valid UTF-8');
  let entryId = '';
  let header: EventHeader | null = null;
  let events = 0;
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    switch (tag) {
      case 0x0a:
        type = cursor.text();
        break;
      case 0x1a:
        header = readHeader(cursor, events++, cursor.length(), source);
        if (header.invalid !== null) fail(`the ${header.invalid} of its event is not valid UTF-8`);
        break;
      case 0x22:
        entryId = cursor.text();
        break;
      default:
        cursor.skip(tag);
    }
  }
  if (header === null || events > 1)
    throw new CorruptDataError(
      'count',
      `an element of a history must hold one event, this one holds ${events}`,
    );
  if (type === '') fail('it names no event type');
  if (!ENTRY_ID.test(entryId)) fail('it names no stream entry');
  return { header, type, entryId };
}

/**
 * One Event message; offsets are relative to its own bytes.
 * @param batchSource of the batch that it came with: its source, where it names none
 */
export function readEvent(bytes: Uint8Array, batchSource: Uint8Array = NO_SOURCE): EventHeader {
  const event = new EventFieldsRead();
  const cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  if (batchSource.length === 0) {
    event.read(cursor, 0, bytes.length, '');
    return event;
  }
  const source = asBuffer(batchSource);
  const valid = isUtf8(source);
  event.read(cursor, 0, bytes.length, valid ? source.toString('utf8') : '');
  if (!valid && event.source === '') event.invalid ??= 'source';
  return event;
}

const NO_SOURCE = new Uint8Array(0);

/**
 * The source of an EventBatch as it stands there, a view of its bytes; empty: it names none, or
 * cannot be taken apart.
 */
export function batchSourceOf(bytes: Uint8Array): Uint8Array {
  const cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  let source: Uint8Array = NO_SOURCE;
  try {
    while (cursor.at < cursor.end) {
      const tag = cursor.tag();
      if (tag === 0x12) source = cursor.view();
      else cursor.skip(tag);
    }
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return NO_SOURCE;
  }
  return source;
}

/** @throws CorruptDataError('decode') */
export function countEvents(bytes: Uint8Array): number {
  const cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  let count = 0;
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    if (tag === 0x1a) count++;
    cursor.skip(tag);
  }
  return count;
}

/**
 * @param crc the entry's field `c`, null where it has none
 * @throws CorruptDataError('checksum')
 */
export function checkBatch(bytes: Uint8Array, crc: number | null): void {
  if (crc !== null && crc32(bytes) !== crc) {
    throw new CorruptDataError(
      'checksum',
      `the CRC-32 of its ${bytes.length} bytes is ${crc32(bytes)}, its field "c" says ${crc}`,
    );
  }
}
