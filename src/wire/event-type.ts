/** An event type's check, encoder and decoder, compiled from its message. */
import type protobuf from 'protobufjs';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { InvalidEventError } from '../core/errors/input-errors.ts';
import { compileReader, type MessageReader } from './message-reader.ts';
import { compileCheck, type Check } from './message-walkers.ts';
import { compileWriter, type MessageWriter } from './message-writer.ts';
import { PayloadArena } from './payload-arena.ts';
import { PayloadReader } from './payload-reader.ts';

export interface EventType {
  readonly name: string;
  /** Full name of the message, e.g. `shop.v1.OrderCreated`. */
  readonly messageName: string;
  /** Name of the subject's field in `data` (camelCase). */
  readonly subjectField: string;
  readonly maxBytes: number;
  /** Time within which a repeated id is dropped, ms; 0: ids are not compared. */
  readonly dedupeMs: number;
  /**
   * Checks data.
   * @throws InvalidEventError naming the field's path
   */
  check(data: unknown): void;
  subjectOf(data: unknown): string | undefined;
  /**
   * Checks the data and appends it, encoded, to the arena. After an error the arena may hold a part
   * of the data: truncate it.
   * @throws InvalidEventError naming the field's path
   */
  encodeTo(data: unknown, arena: PayloadArena): void;
  /**
   * Checks and encodes the data, into bytes of their own.
   * @throws InvalidEventError naming the field's path
   */
  encode(data: unknown): Uint8Array;
  /**
   * Decodes a payload into plain data, in the form of the generated types. Every field is an own
   * property, set or not. 64-bit fields are numbers.
   * @throws CorruptDataError('decode'), also for integers beyond 2^53
   */
  decode(bytes: Uint8Array): unknown;
  /** Like decode, for a part of a larger buffer. */
  decodeAt(bytes: Buffer, start: number, end: number): unknown;
}

export const DEFAULT_MAX_BYTES = 262_144;

/** Decoding is synchronous and never nested: one reader serves all types. */
const reader = new PayloadReader();
/** Arena of `encode` for all types; null: none yet, or an encoding is under way. */
let scratch: PayloadArena | null = null;

export function createType(
  name: string,
  message: protobuf.Type,
  subjectField: string,
  maxBytes: number,
  dedupeMs: number,
): EventType {
  // Codecs are compiled at first use: most processes use few of the declared types.
  let check: Check | null = null;
  let write: MessageWriter | null = null;
  let read: MessageReader | null = null;
  const decodeAt = (bytes: Buffer, start: number, end: number): unknown => {
    read ??= compileReader(message);
    try {
      return read(reader.over(bytes, start, end), end, null, 0, 0);
    } catch (error) {
      throw new CorruptDataError(
        'decode',
        `${end - start} bytes are no ${message.fullName.slice(1)}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  };
  const encodeTo = (data: unknown, arena: PayloadArena): void => {
    const problem = (write ??= compileWriter(message))(data, arena);
    if (problem) throw new InvalidEventError(name, problem.path, problem.what);
  };
  return {
    name,
    messageName: message.fullName.slice(1),
    subjectField,
    maxBytes,
    dedupeMs,
    check(data) {
      const problem = (check ??= compileCheck(message))(data, '');
      if (problem) throw new InvalidEventError(name, problem.path, problem.what);
    },
    subjectOf: (data) =>
      (data as Record<string, string | undefined> | null | undefined)?.[subjectField],
    encodeTo,
    encode(data) {
      // A getter of the data may encode, too: that call finds no arena and makes one.
      const arena = scratch ?? new PayloadArena();
      scratch = null;
      try {
        encodeTo(data, arena);
        // Not Buffer.from: its memory is a pool, shared with other buffers.
        const own = Buffer.allocUnsafeSlow(arena.end);
        arena.buffer.copy(own, 0, 0, arena.end);
        return own;
      } finally {
        arena.clear();
        scratch = arena;
      }
    },
    decode: (bytes) =>
      decodeAt(
        Buffer.isBuffer(bytes)
          ? bytes
          : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
        0,
        bytes.length,
      ),
    decodeAt,
  };
}
