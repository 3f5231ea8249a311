/** An event as it comes from a caller → checked, and encoded once, into an arena. */
import { InvalidEventError, OversizeError } from '../core/errors.ts';
import { extensionProblem } from '../core/extensions.ts';
import { wallClockMs } from '../core/clock.ts';
import { END_OF_TIME_MS, parseRfc3339, type Moment } from '../core/rfc3339.ts';
import type { EventType } from './catalog.ts';
import { writeEnvelope } from './event-batch.ts';
import type { PayloadArena } from './payload-arena.ts';
import { describe } from './plain-value.ts';

/** Subjects and ids, in bytes of UTF-8. */
export const LIMITS = { subject: 1024, id: 256, source: 1024, extensions: 4096 } as const;

export interface EventAttributes {
  readonly data: unknown;
  /**
   * When it happened, up to the year 9999: ms since 1970 or a Date, of which whole ms are kept, or
   * an RFC 3339 text, whose nanoseconds are kept. Default: now.
   */
  readonly time?: number | Date | string;
  /**
   * CloudEvents extension attributes. Names: lower case letters and digits, none of the event's own
   * attributes. Values: strings. At most 4,096 bytes as JSON.
   */
  readonly extensions?: Readonly<Record<string, string>>;
}

/**
 * Writes the Event message, without its position, behind what the arena holds. After an error the
 * arena holds a part of it.
 * @param source empty: the batch's
 * @param schema id of the type's schema in the registry; 0: none
 * @param nowMs the time of an event that names none, in ms since 1970; given for many events at
 *   once, since the clock is a call into the system. Default: the clock
 * @returns where it starts in the arena; it ends where the arena does
 * @throws InvalidEventError naming the field, OversizeError naming the limit: nothing was sent
 */
export function encodeEvent(
  arena: PayloadArena,
  type: EventType,
  id: string,
  subject: string,
  source: string,
  schema: number,
  from: EventAttributes,
  nowMs?: number,
): number {
  if (source !== '') limit(type.name, 'source', source, LIMITS.source);
  const time = typeof from.time === 'string' ? momentOf(type.name, from.time) : null;
  const timeMs =
    time?.ms ?? (from.time === undefined ? (nowMs ?? wallClockMs()) : timeOf(type.name, from.time));
  if (from.extensions !== undefined && from.extensions !== null)
    checkExtensions(type.name, from.extensions);
  const start = arena.end;
  const payload = arena.open(0x1a);
  type.encodeTo(from.data, arena);
  const length = arena.end - payload;
  if (length > type.maxBytes) {
    throw new OversizeError(
      `event "${type.name}"`,
      length,
      type.maxBytes,
      'bytes of payload. Nothing was sent. Raise max_bytes in its (millrace.v1.event) option, or publish a reference to the data',
    );
  }
  arena.close(payload);
  const unfit = writeEnvelope(
    arena,
    id,
    subject,
    timeMs,
    source,
    schema,
    from.extensions ?? null,
    time?.nanos,
  );
  if (unfit !== null)
    throw new InvalidEventError(type.name, unfit, 'an unpaired surrogate: no proper Unicode text');
  return start;
}

/**
 * The subject of an event as callers of publish and emit give it: named by them, or the data's own.
 * What is no data of the type (a Promise whose await was forgotten, a list) is refused as that, and
 * not as data without a subject.
 * @throws InvalidEventError naming the field, OversizeError
 */
export function subjectFor(type: EventType, data: unknown, given: string | undefined): string {
  const subject: unknown = given ?? subjectOf(type, data);
  if (typeof subject !== 'string' || subject === '') {
    text(type.name, 'subject', given);
    type.check(data);
    throw new InvalidEventError(
      type.name,
      given === undefined ? type.subjectField : 'subject',
      'the subject is missing or empty',
    );
  }
  limit(type.name, 'subject', subject, LIMITS.subject);
  return subject;
}

/**
 * What the data has in its subject's field, of whatever kind.
 * @throws InvalidEventError where the data is none of the type
 */
export function subjectOf(type: EventType, data: unknown): unknown {
  try {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) type.check(data);
    return type.subjectOf(data);
  } catch (error) {
    // a revoked Proxy, or a getter: the check says where
    type.check(data);
    throw error;
  }
}

/** An id that a caller gives. @throws InvalidEventError, OversizeError */
export function checkId(type: string, id: unknown): void {
  if (id === undefined) return;
  text(type, 'id', id);
  if (id === '') throw new InvalidEventError(type, 'id', 'the event id is empty');
  limit(type, 'id', id as string, LIMITS.id);
}

/** @throws InvalidEventError where it is given and is no text */
export function text(type: string, field: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string')
    throw new InvalidEventError(type, field, `a string was expected, got ${describe(value)}`);
}

/** @throws InvalidEventError */
function momentOf(type: string, text: string): Moment {
  const moment = parseRfc3339(text);
  if (moment === null || moment.ms < 0) {
    throw new InvalidEventError(
      type,
      'time',
      `an RFC 3339 time from 1970 on, such as 2026-03-01T12:00:00Z, was expected, got ${describe(text)}`,
    );
  }
  return moment;
}

/**
 * Whole ms since 1970. A Date can hold no more than the year 275760, and RFC 3339 ends with the
 * year 9999.
 */
function timeOf(type: string, time: unknown): number {
  const ms = time instanceof Date ? time.getTime() : time;
  if (typeof ms !== 'number' || !(ms >= 0 && ms < END_OF_TIME_MS)) {
    throw new InvalidEventError(
      type,
      'time',
      `a Date, ms since 1970 up to the year 9999, or an RFC 3339 text was expected, got ${describe(time)}`,
    );
  }
  return Math.floor(ms);
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
  if (bytes > limitBytes)
    throw new OversizeError(
      `event "${type}": ${field}`,
      bytes,
      limitBytes,
      'bytes of UTF-8. Nothing was sent',
    );
}
