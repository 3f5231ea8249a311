/** Limits and checks of an event's attributes, as its caller gives them. */
import { InvalidEventError, OversizeError } from '../core/errors/input-errors.ts';
import { extensionProblem } from '../core/extensions.ts';
import { END_OF_TIME_MS, parseRfc3339, type Moment } from '../core/rfc3339.ts';
import type { EventType } from './event-type.ts';
import { describe } from './plain-value.ts';

/** Most bytes of UTF-8 of each attribute; of the extensions, as JSON. */
export const LIMITS = { subject: 1024, id: 256, source: 1024, extensions: 4096 } as const;

/**
 * Returns the subject that the caller names, else the data's own: the rule of publish and emit.
 * Data of a wrong kind (a Promise whose await was forgotten, a list) is refused as such, not as
 * data without a subject.
 * @throws InvalidEventError naming the field, OversizeError
 */
export function subjectFor(type: EventType, data: unknown, given: string | undefined): string {
  const subject: unknown = given ?? subjectOf(type, data);
  if (typeof subject !== 'string' || subject === '') {
    checkTextField(type.name, 'subject', given);
    type.check(data);
    throw new InvalidEventError(
      type.name,
      given === undefined ? type.subjectField : 'subject',
      'the subject is missing or empty',
    );
  }
  checkBytes(type.name, 'subject', subject, LIMITS.subject);
  return subject;
}

/**
 * Checks the rule of histories: the data's own subject is the history's id.
 * @throws InvalidEventError naming the field
 */
export function checkHistorySubject(type: EventType, data: unknown, history: string): void {
  const subject = subjectOf(type, data);
  if (subject === history) return;
  type.check(data);
  throw new InvalidEventError(
    type.name,
    type.subjectField,
    `the subject of a history's events is the history's id, ${JSON.stringify(history)}; it is ${JSON.stringify(subject)}`,
  );
}

/**
 * Returns the value of the subject's field, of any kind.
 * @throws InvalidEventError where the data does not fit the type
 */
export function subjectOf(type: EventType, data: unknown): unknown {
  try {
    if (typeof data !== 'object' || data === null || Array.isArray(data)) type.check(data);
    return type.subjectOf(data);
  } catch (error) {
    // A revoked Proxy or a getter has thrown: the check names the field.
    type.check(data);
    throw error;
  }
}

/**
 * Checks the id that a caller gives; undefined: none.
 * @throws InvalidEventError, OversizeError
 */
export function checkId(type: string, id: unknown): void {
  if (id === undefined) return;
  checkTextField(type, 'id', id);
  if (id === '') throw new InvalidEventError(type, 'id', 'the event id is empty');
  checkBytes(type, 'id', id as string, LIMITS.id);
}

/**
 * Checks that a given value is a text.
 * @throws InvalidEventError
 */
export function checkTextField(type: string, field: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string')
    throw new InvalidEventError(type, field, `a string was expected, got ${describe(value)}`);
}

/**
 * Parses a time given as an RFC 3339 text.
 * @throws InvalidEventError
 */
export function momentOf(type: string, text: string): Moment {
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
 * Returns a time given as a Date or a number, in whole ms since 1970. RFC 3339 ends with the year
 * 9999, but a Date may be later.
 * @throws InvalidEventError
 */
export function timeOf(type: string, time: unknown): number {
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

/**
 * Checks the extensions.
 * @throws InvalidEventError naming the extension, OversizeError
 */
export function checkExtensions(type: string, extensions: unknown): void {
  const problem = extensionProblem(extensions);
  if (problem !== null) throw new InvalidEventError(type, problem.path, problem.what);
  checkBytes(type, 'extensions', JSON.stringify(extensions), LIMITS.extensions);
}

/**
 * Checks the length of an attribute.
 * @throws OversizeError
 */
export function checkBytes(type: string, field: string, value: string, limitBytes: number): void {
  // A UTF-16 unit takes at most three bytes of UTF-8, so short texts need no count.
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
