/** Repeatable random numbers (mulberry32): the same seed gives the same numbers. */
export interface Random {
  /** 0 ≤ x < 1 */
  next(): number;
  /** A whole number, both ends included. */
  whole(min: number, max: number): number;
  /** @throws RangeError for an empty list */
  pick<T>(from: readonly T[]): T;
  chance(probability: number): boolean;
}

export function seededRandom(seed: number | string): Random {
  let state = 0x811c9dc5;
  for (const char of String(seed))
    state = Math.imul(state ^ (char.codePointAt(0) as number), 0x01000193);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    whole: (min, max) => min + Math.floor(next() * (max - min + 1)),
    pick<T>(from: readonly T[]): T {
      if (from.length === 0) throw new RangeError('nothing to pick from');
      return from[Math.floor(next() * from.length)] as T;
    },
    chance: (probability) => next() < probability,
  };
}
