/**
 * Texts that come from user code or from outside, before they become bytes. A JavaScript string may hold half of a
 * surrogate pair ('🙂'.slice(0, 1)), which UTF-8 cannot: a record with such a text in it could not be read again.
 */

/** ECMAScript 2024, in every Node we run on; the compiler's library is older. */
const methods = String.prototype as unknown as {
  readonly isWellFormed: (this: string) => boolean;
  readonly toWellFormed: (this: string) => string;
};

/** Whether UTF-8 can hold the text. Texts that name something (ids, subjects) are refused where it cannot. */
export function isWellFormed(text: string): boolean {
  return methods.isWellFormed.call(text);
}

/**
 * The text with U+FFFD in place of each half of a surrogate pair. For texts that people read; never for those that name
 * something, because two different names could become one.
 */
export function wellFormed(text: string): string {
  return methods.toWellFormed.call(text);
}

/** The beginning of a text, well-formed. @param units most UTF-16 units; a pair at the cut is left out whole */
export function cut(text: string, units: number): string {
  if (text.length <= units) return wellFormed(text);
  const last = text.charCodeAt(units - 1);
  const next = text.charCodeAt(units);
  const splits = (last & 0xfc00) === 0xd800 && (next & 0xfc00) === 0xdc00;
  return wellFormed(text.slice(0, splits ? units - 1 : units));
}
