/** The difference of two plain JSON values as a list of places: `lines[2].price`. */
import { differenceOf } from '../payload/difference.ts';

export interface FieldDifference {
  /** Place of the value: `lines[2].price`; '' for the whole. */
  readonly path: string;
  /** Absent: the value was not there. */
  readonly before?: unknown;
  /** Absent: the value is not there any more. */
  readonly after?: unknown;
}

export interface Differences {
  readonly list: readonly FieldDifference[];
  /** Whether there are further differences, or parts that were not compared. */
  readonly more: boolean;
}

/**
 * Returns the values that differ, each with its place. See differenceOf().
 * @param before undefined: there is no value
 */
export function differencesOf(before: unknown, after: unknown): Differences {
  const { changes, more } = differenceOf(before, after);
  return {
    list: changes.map(({ path, kind: _kind, ...values }) => ({ path: placeOf(path), ...values })),
    more,
  };
}

function placeOf(path: readonly (string | number)[]): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '');
}
