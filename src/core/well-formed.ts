/**
 * Checks of texts that come from user code or from outside, before they become bytes. A JavaScript
 * string may hold half of a surrogate pair ('🙂'.slice(0, 1)), but UTF-8 cannot. A record with
 * such a text could not be read again.
 */

import { InvalidTextError } from './errors/input-errors.ts';

/** ECMAScript 2024. Every Node we run on has these methods; the compiler's library is older. */
const methods = String.prototype as unknown as {
  readonly isWellFormed: (this: string) => boolean;
  readonly toWellFormed: (this: string) => string;
};

/**
 * Whether UTF-8 can hold the text. Callers refuse other texts that name something (ids, subjects).
 */
export function isWellFormed(text: string): boolean {
  return methods.isWellFormed.call(text);
}

/**
 * Returns the reason for which a value cannot name anything; null: it can. Ids, subjects and names
 * to look up are checked only here. Half of a surrogate pair would become U+FFFD on its way, and
 * find a thing with that other name.
 */
export function textProblem(value: unknown): string | null {
  if (typeof value !== 'string')
    return `must be a string, it is ${value === null ? 'null' : typeof value}`;
  return isWellFormed(value) ? null : 'holds half of a surrogate pair: no proper Unicode text';
}

/**
 * Checks a text that names something.
 * @throws InvalidTextError
 */
export function checkText(what: string, value: unknown): void {
  const problem = textProblem(value);
  if (problem !== null) throw new InvalidTextError(what, problem);
}

/**
 * Returns the text with U+FFFD in place of each half of a surrogate pair. For texts that people
 * read. Never for texts that name something, because two different names could become one.
 */
export function wellFormed(text: string): string {
  return methods.toWellFormed.call(text);
}

/**
 * Returns the beginning of a text, well-formed.
 * @param units most UTF-16 units; a pair at the cut is left out whole
 */
export function cut(text: string, units: number): string {
  if (text.length <= units) return wellFormed(text);
  const last = text.charCodeAt(units - 1);
  const next = text.charCodeAt(units);
  const splits = (last & 0xfc00) === 0xd800 && (next & 0xfc00) === 0xdc00;
  return wellFormed(text.slice(0, splits ? units - 1 : units));
}
