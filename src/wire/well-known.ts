/**
 * google.protobuf.Timestamp and Duration: the values that are accepted besides messages. Both are
 * read as `{ seconds, nanos }`, which holds every nanosecond; a Date would not.
 */
import type protobuf from 'protobufjs';
import { parseRfc3339 } from '../core/rfc3339.ts';

/** A message type that accepts values other than messages. */
export interface WellKnown {
  /** Accepted values, for error messages. */
  readonly takes: string;
  /**
   * Returns the message that a value stands for; objects and the like are returned unchanged.
   * @returns null where the value stands for none
   */
  readonly convert: (value: unknown) => unknown;
  /**
   * Checks the ranges of a message.
   * @param message its fields have the right types already
   * @returns reason for which the values are out of range; null: they are not
   */
  readonly outside: (message: Readonly<Record<string, unknown>>) => string | null;
}

/** Whole seconds, and additional nanoseconds; both have the same sign. */
interface Span {
  readonly seconds: number;
  readonly nanos: number;
}

/** 0001-01-01T00:00:00Z and the last second of the year 9999. */
const TIMESTAMP = { first: -62_135_596_800, last: 253_402_300_799 } as const;
/** About 10,000 years. */
const DURATION_SECONDS = 315_576_000_000;
const NANOS = 1_000_000_000;

const timestamp: WellKnown = {
  takes: 'a Date, a time of RFC 3339 with its zone, or { seconds, nanos }',
  convert(value) {
    if (value instanceof Date)
      return Number.isNaN(value.getTime()) ? null : spanOfMoment(value.getTime(), 0);
    if (typeof value !== 'string') return typeof value === 'object' ? value : null;
    const moment = parseRfc3339(value);
    return moment === null ? null : spanOfMoment(moment.ms, moment.nanos);
  },
  outside({ seconds, nanos }) {
    const [s, n] = [(seconds ?? 0) as number, (nanos ?? 0) as number];
    if (s < TIMESTAMP.first || s > TIMESTAMP.last)
      return 'a time from the year 1 to the year 9999 was expected';
    return n < 0 || n >= NANOS ? `its nanos must be 0 to ${NANOS - 1}` : null;
  },
};

const DURATION = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

const duration: WellKnown = {
  takes: 'milliseconds, a text such as "1.5s", or { seconds, nanos }',
  convert(value) {
    if (typeof value === 'number') return spanOfMilliseconds(value);
    if (typeof value !== 'string') return typeof value === 'object' ? value : null;
    const found = DURATION.exec(value);
    if (!found) return null;
    const sign = found[1] === '-' ? -1 : 1;
    return {
      seconds: sign * Number(found[2]) + 0,
      nanos: sign * Number((found[3] ?? '').padEnd(9, '0')) + 0,
    };
  },
  outside({ seconds, nanos }) {
    const [s, n] = [(seconds ?? 0) as number, (nanos ?? 0) as number];
    if (Math.abs(s) > DURATION_SECONDS) return `at most ${DURATION_SECONDS} seconds were expected`;
    if (Math.abs(n) >= NANOS) return `its nanos must be less than ${NANOS}`;
    return (s < 0 && n > 0) || (s > 0 && n < 0)
      ? 'its seconds and nanos must have the same sign'
      : null;
  },
};

/** Returns the rules of a message type; null: it accepts only messages. */
export function wellKnown(message: protobuf.Type): WellKnown | null {
  const found =
    message.fullName === '.google.protobuf.Timestamp'
      ? timestamp
      : message.fullName === '.google.protobuf.Duration'
        ? duration
        : null;
  const { seconds, nanos } = message.fields;
  return found !== null && seconds?.type === 'int64' && nanos?.type === 'int32' ? found : null;
}

/** Returns the span of a moment, also before 1970: nanos count forwards. */
function spanOfMoment(ms: number, nanosBehind: number): Span {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: (ms - seconds * 1000) * 1_000_000 + nanosBehind };
}

/** Returns the span of a duration, to the nearest nanosecond. */
function spanOfMilliseconds(ms: number): Span | null {
  if (!Number.isFinite(ms)) return null;
  const seconds = Math.trunc(ms / 1000);
  const nanos = Math.round((ms - seconds * 1000) * 1_000_000);
  // The nanoseconds were rounded up to a whole second.
  if (Math.abs(nanos) === NANOS) return { seconds: seconds + Math.sign(nanos), nanos: 0 };
  return { seconds: seconds + 0, nanos: nanos + 0 };
}
