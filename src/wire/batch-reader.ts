/**
 * Reads the events of a stream entry's bytes. This is the hot path, written by hand against
 * proto/millrace/v1/batch.proto. Its tests compare it with the generated code. An event costs one
 * small object, and no copy of its payload. The inverse is batch-writer.ts.
 */
import { isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { asBuffer, Cursor, fail } from './cursor.ts';
import type { EventHeader, TextAttribute } from './event-header.ts';

const MAX_EVENTS = 65_536;

/**
 * Fields of one event. BatchCursor overwrites them with the next event's fields, so that reading
 * allocates only the texts.
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
  // The object has no prototype, so that a key named __proto__ is an ordinary key.
  const extensions = into ?? (Object.create(null) as Record<string, string>);
  extensions[key] = value;
  return extensions;
}

/** Reads the events of an EventBatch one by one. */
export class BatchCursor {
  readonly #cursor: Cursor;
  readonly #event = new EventFieldsRead();
  /** Source of the batch; null: not read yet. */
  #source: BatchSourceText | null = null;
  #index = 0;

  constructor(bytes: Uint8Array) {
    this.#cursor = new Cursor(asBuffer(bytes), 0, bytes.length);
  }

  /** Current event of advance(): the same object each time. */
  get event(): EventHeader {
    return this.#event;
  }

  /**
   * Moves to the next event.
   * @returns false at the end
   * @throws CorruptDataError('decode') on bytes that are no EventBatch
   */
  advance(): boolean {
    return this.#read(this.#event);
  }

  /**
   * Returns the next event; null: the end.
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
 * Returns the source of all events that name none. The source may stand behind the events, and the
 * last source counts: concatenated batches are one batch.
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
  /** Whether the source is invalid UTF-8. Events that name no source have no valid source then. */
  readonly invalid: boolean;
}

/**
 * Visits the events of an EventBatch in order.
 * @throws CorruptDataError('decode') on bytes that are no EventBatch; events visited before stay
 *   visited
 */
export function walkBatch(bytes: Uint8Array, visit: (header: EventHeader) => void): void {
  const cursor = new BatchCursor(bytes);
  for (let header = cursor.next(); header !== null; header = cursor.next()) visit(header);
}

/**
 * Visits the subjects of an EventBatch's events, in order, without reading other fields. Subjects
 * that are invalid UTF-8 are left out.
 * @throws CorruptDataError('decode') on bytes that are no EventBatch; subjects visited before stay
 *   visited
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
 * Checks the framing of a batch and of each of its events, without reading them.
 * @returns number of events in the batch
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
      // the time must fit a JavaScript number
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
 * An element of a history: an EventBatch of one event, with its type and the stream entry by which
 * it was published.
 */
export interface HistoryElement {
  readonly header: EventHeader;
  readonly type: string;
  readonly entryId: string;
}

const ENTRY_ID = /^\d+-\d+$/;

/**
 * Reads an element of a history.
 * @throws CorruptDataError('decode'); CorruptDataError('count'): not exactly one event
 */
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
 * Reads one Event message. Offsets are relative to its own bytes.
 * @param batchSource the batch's source, for an event that names none
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
 * Returns the source of an EventBatch, as a view of its bytes. Empty: the batch names none, or the
 * bytes are no EventBatch.
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
 * Checks an entry's checksum.
 * @param crc the entry's field `c`; null: it has none
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
