/**
 * Returns a source of whole numbers from 0 to `below`, `below` excluded. The same seed gives the
 * same numbers.
 */
export function randomOf(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) % 2 ** 32;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
