/** An event as it comes from a caller → checked, and encoded once, into an arena. */
import { InvalidEventError, OversizeError } from '../core/errors.ts';
import { extensionProblem } from '../core/extensions.ts';
import { wallClockMs } from '../core/clock.ts';
import type { EventType } from './catalog.ts';
import { writeEnvelope } from './event-batch.ts';
import type { PayloadArena } from './payload-arena.ts';

/** Subjects and ids, in bytes of UTF-8. */
export const LIMITS = { subject: 1024, id: 256, source: 1024, extensions: 4096 } as const;

export interface EventAttributes {
  readonly data: unknown;
  /** When it happened, ms since 1970 or a Date. Default: now. */
  readonly time?: number | Date;
  /**
   * CloudEvents extension attributes. Names: lower case letters and digits, none of the event's own
   * attributes. Values: strings. At most 4,096 bytes as JSON.
   */
  readonly extensions?: Readonly<Record<string, string>>;
}

/**
 * Writes the Event message, without its position, behind what the arena holds. After an error the arena holds a part of it.
 * @param source empty: the batch's
 * @param schema id of the type's schema in the registry; 0: none
 * @returns where it starts in the arena; it ends where the arena does
 * @throws InvalidEventError naming the field, OversizeError naming the limit: nothing was sent
 */
export function encodeEvent(arena: PayloadArena, type: EventType, id: string, subject: string, source: string, schema: number, from: EventAttributes): number {
  if (source !== '') limit(type.name, 'source', source, LIMITS.source);
  const timeMs = from.time === undefined ? wallClockMs() : Number(from.time);
  if (!Number.isFinite(timeMs) || timeMs < 0 || timeMs > Number.MAX_SAFE_INTEGER) {
    throw new InvalidEventError(type.name, 'time', 'not a time in ms since 1970');
  }
  if (from.extensions !== undefined && from.extensions !== null) checkExtensions(type.name, from.extensions);
  const start = arena.end;
  const payload = arena.open(0x1a);
  type.encodeTo(from.data, arena);
  const length = arena.end - payload;
  if (length > type.maxBytes) {
    throw new OversizeError(`event "${type.name}"`, length, type.maxBytes, 'bytes of payload. Nothing was sent. Raise max_bytes in its (millrace.v1.event) option, or publish a reference to the data');
  }
  arena.close(payload);
  const unfit = writeEnvelope(arena, id, subject, Math.floor(timeMs), source, schema, from.extensions ?? null);
  if (unfit !== null) throw new InvalidEventError(type.name, unfit, 'an unpaired surrogate: no proper Unicode text');
  return start;
}

/** @throws InvalidEventError naming the extension, OversizeError */
function checkExtensions(type: string, extensions: unknown): void {
  const problem = extensionProblem(extensions);
  if (problem !== null) throw new InvalidEventError(type, problem.path, problem.what);
  limit(type, 'extensions', JSON.stringify(extensions), LIMITS.extensions);
}

/** @throws OversizeError */
export function limit(type: string, field: string, value: string, limitBytes: number): void {
  // Three bytes of UTF-8 a UTF-16 unit at most: short ones need no count.
  if (value.length * 3 <= limitBytes) return;
  const bytes = Buffer.byteLength(value);
  if (bytes > limitBytes) throw new OversizeError(`event "${type}": ${field}`, bytes, limitBytes, 'bytes of UTF-8. Nothing was sent');
}
