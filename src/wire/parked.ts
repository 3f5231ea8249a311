/**
 * Parked records: millrace.v1.ParkedEvent. They are read and written by hand, like all data in a
 * lane's turn.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { wellFormed } from '../core/well-formed.ts';
import { readEvent } from './batch-reader.ts';
import { asBuffer, Cursor } from './cursor.ts';
import { millrace } from './generated/millrace.js';

export interface ParkedAttempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** Cause of the error. Absent or empty: nothing is known. */
  readonly cause?: string;
}

/** Fields of a parked record. Times are server time, ms since 1970; 0: nothing has failed yet. */
export interface ParkedRecord {
  /** Original bytes of the Event message. */
  readonly event: Uint8Array;
  readonly type: string;
  readonly entryId: string;
  readonly index: number;
  readonly position: number;
  readonly attempts: number;
  readonly firstFailedMs: number;
  readonly lastFailedMs: number;
  /**
   * Time since which the event is parked without an attempt, waiting for its schema; 0: an attempt
   * was made.
   */
  readonly waitingSinceMs: number;
  readonly history: readonly ParkedAttempt[];
  readonly isolate: boolean;
  readonly eventId: string;
  readonly subject: string;
  /**
   * Source of the event's original batch, unchanged: it is the source of an event that names none
   * itself.
   */
  readonly batchSource?: Uint8Array;
}

const { ParkedEvent } = millrace.v1;

/**
 * Encodes a record. Every text is made well-formed first, because protobufjs writes short texts
 * unchecked. So the record can always be read again.
 */
export function encodeParked(record: ParkedRecord): Buffer {
  const bytes = ParkedEvent.encode(
    ParkedEvent.fromObject({
      ...record,
      type: wellFormed(record.type),
      entryId: wellFormed(record.entryId),
      eventId: wellFormed(record.eventId),
      subject: wellFormed(record.subject),
      history: record.history.map((one) => ({
        ...one,
        name: wellFormed(one.name),
        message: wellFormed(one.message),
        cause: wellFormed(one.cause ?? ''),
      })),
    }),
  ).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Decodes a record. `event` is a view of `bytes`, not a copy.
 * @throws CorruptDataError('decode'), also where the record names no event, or holds no readable
 *   event
 */
export function decodeParked(bytes: Uint8Array): ParkedRecord {
  try {
    const buffer = asBuffer(bytes);
    const read = readFields(new Cursor(buffer, 0, buffer.length));
    if (read.type === '') throw new CorruptDataError('decode', 'it names no event type');
    if (!/^\d+-\d+$/.test(read.entryId))
      throw new CorruptDataError('decode', 'it names no stream entry');
    readEvent(read.event);
    return read;
  } catch (error) {
    const why = error instanceof CorruptDataError ? error.message : String(error);
    throw new CorruptDataError(
      'decode',
      `a parked record of ${bytes.length} bytes cannot be decoded: ${why}`,
      { cause: error },
    );
  }
}

/**
 * Returns the readable fields of a record that decodeParked refuses: the fields in front of the
 * damage, each only where its value is possible.
 */
export function salvageParked(bytes: Uint8Array): {
  readonly type: string;
  readonly entryId: string;
  readonly index: number;
  readonly eventId: string;
} {
  const record = newRecord();
  const buffer = asBuffer(bytes);
  const cursor = new Cursor(buffer, 0, buffer.length);
  try {
    while (cursor.at < cursor.end) readField(cursor, record);
  } catch {
    // the fields before the damage are enough
  }
  let { eventId } = record;
  try {
    if (eventId === '' && record.event.length > 0) eventId = readEvent(record.event).id;
  } catch {
    // the record has no readable id then
  }
  const entryId = /^\d+-\d+$/.test(record.entryId) ? record.entryId : '';
  return { type: record.type, entryId, index: record.index, eventId };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface OpenRecord extends Writable<Omit<ParkedRecord, 'history'>> {
  readonly history: ParkedAttempt[];
}

const NO_BYTES = new Uint8Array(0);

function newRecord(): OpenRecord {
  return {
    event: NO_BYTES,
    type: '',
    entryId: '',
    index: 0,
    position: 0,
    attempts: 0,
    firstFailedMs: 0,
    lastFailedMs: 0,
    waitingSinceMs: 0,
    history: [],
    isolate: false,
    eventId: '',
    subject: '',
  };
}

function readFields(cursor: Cursor): OpenRecord {
  const record = newRecord();
  while (cursor.at < cursor.end) readField(cursor, record);
  return record;
}

function readField(cursor: Cursor, into: OpenRecord): void {
  const tag = cursor.tag();
  switch (tag) {
    case 0x0a:
      into.event = cursor.view();
      break;
    case 0x12:
      into.type = cursor.text();
      break;
    case 0x1a:
      into.entryId = cursor.text();
      break;
    case 0x20:
      into.index = cursor.varint();
      break;
    case 0x28:
      into.position = cursor.varint();
      break;
    case 0x30:
      into.attempts = cursor.varint();
      break;
    case 0x38:
      into.firstFailedMs = cursor.varint();
      break;
    case 0x40:
      into.lastFailedMs = cursor.varint();
      break;
    case 0x4a:
      into.history.push(readAttempt(cursor));
      break;
    case 0x50:
      into.isolate = cursor.varint() !== 0;
      break;
    case 0x5a:
      into.eventId = cursor.text();
      break;
    case 0x62:
      into.subject = cursor.text();
      break;
    case 0x68:
      into.waitingSinceMs = cursor.varint();
      break;
    case 0x72:
      into.batchSource = cursor.view();
      break;
    default:
      cursor.skip(tag);
  }
}

function readAttempt(cursor: Cursor): ParkedAttempt {
  const length = cursor.length();
  const outer = cursor.end;
  cursor.end = cursor.at + length;
  const attempt: Writable<ParkedAttempt> = { atMs: 0, attempt: 0, name: '', message: '' };
  while (cursor.at < cursor.end) {
    const tag = cursor.tag();
    switch (tag) {
      case 0x08:
        attempt.atMs = cursor.varint();
        break;
      case 0x10:
        attempt.attempt = cursor.varint();
        break;
      case 0x1a:
        attempt.name = cursor.prose();
        break;
      case 0x22:
        attempt.message = cursor.prose();
        break;
      case 0x2a:
        attempt.cause = cursor.prose();
        break;
      default:
        cursor.skip(tag);
    }
  }
  cursor.end = outer;
  return attempt;
}
