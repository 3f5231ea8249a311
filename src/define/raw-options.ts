/** Unchecked options of defineFunction, defineView, defineAggregate and defineDecider. */
import { isOptions, shownValue } from '../core/shown.ts';
import { didYouMean } from '../core/suggest.ts';

export type RawOptions = Readonly<Record<string, unknown>>;

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
