/** Unchecked options of defineFunction, defineView, defineAggregate and defineDecider. */
import { didYouMean } from '../core/suggest.ts';

export type RawOptions = Readonly<Record<string, unknown>>;

/** Whether a value is an object of options: not an array, a Map or a Promise. */
export function isOptions(value: unknown): value is RawOptions {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    prototype === Object.prototype ||
    Object.getPrototypeOf(prototype) === null
  );
}

/** Returns the value as written in code; the name of its class, where it has no such form. */
export function shownValue(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'object' && value !== null && !isOptions(value) && !Array.isArray(value))
    return `a ${value.constructor?.name ?? 'object'}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/**
 * Notes every unknown option, with the known name nearest to it.
 * @param path prefix of the names: `retry.`
 */
export function noteUnknown(
  raw: RawOptions,
  known: readonly string[],
  at: { readonly label: string; readonly path?: string },
  problems: string[],
): void {
  for (const key of Object.keys(raw)) {
    if (!known.includes(key))
      problems.push(
        `${at.label}: unknown option "${at.path ?? ''}${key}"${didYouMean(key, known)}`,
      );
  }
}

/**
 * Returns the options below `key`: empty where there are none. Another value than an object is a
 * problem, and counts as empty.
 */
export function optionsBelow(
  raw: RawOptions,
  key: string,
  at: { readonly label: string; readonly names: readonly string[] },
  problems: string[],
): RawOptions {
  const value = raw[key];
  if (value === undefined) return {};
  if (!isOptions(value)) {
    problems.push(
      `${at.label}: ${key} must be { ${at.names.join(', ')} }, got ${shownValue(value)}`,
    );
    return {};
  }
  noteUnknown(value, at.names, { label: at.label, path: `${key}.` }, problems);
  return value;
}
