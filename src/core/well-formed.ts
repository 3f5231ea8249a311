/**
 * Texts that come from user code or from outside, before they become bytes. A JavaScript string may
 * hold half of a surrogate pair ('🙂'.slice(0, 1)), which UTF-8 cannot: a record with such a text in
 * it could not be read again.
 */

import { InvalidTextError } from './errors.ts';

/** ECMAScript 2024, in every Node we run on; the compiler's library is older. */
const methods = String.prototype as unknown as {
  readonly isWellFormed: (this: string) => boolean;
  readonly toWellFormed: (this: string) => string;
};

/**
 * Whether UTF-8 can hold the text. Texts that name something (ids, subjects) are refused where it
 * cannot.
 */
export function isWellFormed(text: string): boolean {
  return methods.isWellFormed.call(text);
}

/**
 * Why what a caller gives can name nothing; null: it can. The one check of ids, subjects and names
 * that are looked for: half of a surrogate pair would become U+FFFD on its way, and find what
 * somebody else has named so.
 */
export function textProblem(value: unknown): string | null {
  if (typeof value !== 'string')
    return `must be a string, it is ${value === null ? 'null' : typeof value}`;
  return isWellFormed(value) ? null : 'holds half of a surrogate pair: no proper Unicode text';
}

/** @throws InvalidTextError */
export function checkText(what: string, value: unknown): void {
  const problem = textProblem(value);
  if (problem !== null) throw new InvalidTextError(what, problem);
}

/**
 * The text with U+FFFD in place of each half of a surrogate pair. For texts that people read; never
 * for those that name something, because two different names could become one.
 */
export function wellFormed(text: string): string {
  return methods.toWellFormed.call(text);
}

/**
 * The beginning of a text, well-formed. @param units most UTF-16 units; a pair at the cut is left
 * out whole
 */
export function cut(text: string, units: number): string {
  if (text.length <= units) return wellFormed(text);
  const last = text.charCodeAt(units - 1);
  const next = text.charCodeAt(units);
  const splits = (last & 0xfc00) === 0xd800 && (next & 0xfc00) === 0xdc00;
  return wellFormed(text.slice(0, splits ? units - 1 : units));
}
