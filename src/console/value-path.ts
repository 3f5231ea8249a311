/** The path of a cut value in a page's address. */
import type { ValuePath } from '../payload/shown-payload.ts';

/** Longest path, in UTF-16 units. */
const MOST_LETTERS = 4000;

/** Null: there is no path, or none that can be read. */
export function readValuePath(json: string | undefined): ValuePath | null {
  if (json === undefined || json.length > MOST_LETTERS) return null;
  try {
    const path = JSON.parse(json) as unknown;
    return Array.isArray(path) &&
      path.every((step) => typeof step === 'string' || Number.isSafeInteger(step))
      ? (path as ValuePath)
      : null;
  } catch {
    return null;
  }
}
