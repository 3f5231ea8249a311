/**
 * Times of RFC 3339, parsed strictly. `Date.parse` takes "12", 30 February and times without a
 * zone. Each of these would be stored as some other moment.
 */

/** A moment, exact to the nanosecond. */
export interface Moment {
  /** Whole milliseconds since 1970-01-01T00:00:00Z; negative before. */
  readonly ms: number;
  /** Nanoseconds behind `ms`, 0 to 999,999. */
  readonly nanos: number;
}

/** First moment of the year 10000, ms since 1970: RFC 3339 ends before it. */
export const END_OF_TIME_MS = 253_402_300_800_000;

const FORM =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d\d):(\d\d))$/;

/**
 * Parses a `date-time` of RFC 3339, section 5.6. The zone is required. Leap seconds (`:60`) are
 * refused: neither JavaScript nor Redis can hold them.
 * @returns null where the text is no such time, or lies outside the years 0000 to 9999
 */
export function parseRfc3339(text: string): Moment | null {
  const found = FORM.exec(text);
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as number[];
  if (!isDate(year as number, month as number, day as number)) return null;
  if ((hour as number) > 23 || (minute as number) > 59 || (second as number) > 59) return null;
  const [offsetHour, offsetMinute] = [Number(found[10] ?? 0), Number(found[11] ?? 0)];
  if (offsetHour > 23 || offsetMinute > 59) return null;
  const offsetMs = (found[9] === '-' ? -1 : 1) * (offsetHour * 60 + offsetMinute) * 60_000;
  const fraction = (found[7] ?? '').padEnd(9, '0');
  // Date.UTC would take the years 0 to 99 for 1900 to 1999.
  const local = new Date(0);
  local.setUTCFullYear(year as number, (month as number) - 1, day);
  local.setUTCHours(hour as number, minute, second, Number(fraction.slice(0, 3)));
  const ms = local.getTime() - offsetMs;
  if (ms < FIRST_MS || ms >= END_OF_TIME_MS) return null;
  return { ms, nanos: Number(fraction.slice(3)) };
}

/** 0000-01-01T00:00:00Z. */
const FIRST_MS = -62_167_219_200_000;

/** Whether the calendar has this day; months count from 1. */
function isDate(year: number, month: number, day: number): boolean {
  if (month < 1 || month > 12 || day < 1) return false;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return day <= (days[month - 1] as number);
}

/**
 * Returns the moment in UTC: milliseconds always, microseconds and nanoseconds where they are not
 * 0.
 * @throws RangeError outside the years 0000 to 9999
 */
export function formatRfc3339({ ms, nanos }: Moment): string {
  if (!(ms >= FIRST_MS && ms < END_OF_TIME_MS)) {
    throw new RangeError(`RFC 3339 writes the years 0000 to 9999, ${ms} ms since 1970 is outside`);
  }
  const text = new Date(ms).toISOString();
  if (nanos === 0) return text;
  const digits = String(nanos).padStart(6, '0').replace(/000$/, '');
  return `${text.slice(0, -1)}${digits}Z`;
}

/**
 * Parses a time that a person gives on a command line: RFC 3339, or a day alone for its first
 * moment in UTC.
 * @returns null where the text is neither
 */
export function parseTimeArgument(text: string): Moment | null {
  return parseRfc3339(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
}

/** Returns the ISO 8601 time. Null: the number is no date; time stamps come from stored data. */
export function isoTime(ms: number): string | null {
  return ms > 0 && ms <= 8.64e15 ? new Date(ms).toISOString() : null;
}
