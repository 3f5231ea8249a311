/** Parked records: millrace.v1.ParkedEvent. */
import { CorruptDataError } from '../core/errors.ts';
import { asBuffer } from './event-batch.ts';
import { millrace } from './generated/millrace.js';
import { PayloadReader } from './payload-reader.ts';

export interface ParkedAttempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** What the error was caused by; absent or empty: nothing is known. */
  readonly cause?: string;
}

/** Times are server time in ms since 1970, 0 where nothing has failed yet. */
export interface ParkedRecord {
  /** The Event message's original bytes. */
  readonly event: Uint8Array;
  readonly type: string;
  readonly entryId: string;
  readonly index: number;
  readonly position: number;
  readonly attempts: number;
  readonly firstFailedMs: number;
  readonly lastFailedMs: number;
  /** Since when it is parked without an attempt, 0 once one was made: how long it has waited for its schema. */
  readonly waitingSinceMs: number;
  readonly history: readonly ParkedAttempt[];
  readonly isolate: boolean;
  readonly eventId: string;
  readonly subject: string;
}

const { ParkedEvent } = millrace.v1;

/** The reader that payloads are read with: a second class in a thread would make protobufjs' methods slower for all payloads from then on. */
const reader = new PayloadReader();

export function encodeParked(record: ParkedRecord): Buffer {
  const bytes = ParkedEvent.encode(ParkedEvent.fromObject(record)).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * `event` is a view of `bytes`, not a copy.
 * @throws CorruptDataError('decode')
 */
export function decodeParked(bytes: Uint8Array): ParkedRecord {
  try {
    const message = ParkedEvent.decode(reader.over(asBuffer(bytes), 0, bytes.length, true));
    return ParkedEvent.toObject(message, { longs: Number, defaults: true, arrays: true }) as unknown as ParkedRecord;
  } catch (error) {
    throw new CorruptDataError('decode', `a parked record of ${bytes.length} bytes cannot be decoded`, { cause: error });
  }
}
