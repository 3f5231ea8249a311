import { closestMatch } from 'leven';

/**
 * Suggests the known name nearest to the given one, as the end of a sentence.
 * @returns ` (did you mean "x"?)`, or '' where no name is near
 */
export function didYouMean(given: string, known: Iterable<string>): string {
  const names = [...known];
  const folded = names.find((name) => name.toLowerCase() === given.toLowerCase());
  const maxDistance = Math.min(8, Math.max(2, Math.floor(given.length / 3)));
  const closest = folded ?? closestMatch(given.slice(0, 200), names, { maxDistance });
  return closest === undefined ? '' : ` (did you mean "${closest}"?)`;
}
