/** The state of a function in a word, and the way to its page. */
import type { RatedFunction } from '../../lag/rates.ts';
import type { Tone } from '../parts.tsx';

/** Returns the state of a function in one word. */
export function judged(fn: RatedFunction): readonly [Tone, string] {
  if (!fn.conserved) return ['bad', 'books are wrong'];
  if (fn.letters > 0) return ['warn', 'dead letters'];
  if (fn.parked > 0) return ['warn', 'retries'];
  if (fn.rate !== null && fn.rate.drainMs === null && fn.lag + fn.pending > 0)
    return ['warn', 'falls behind'];
  return fn.lag + fn.pending > 0 ? ['good', 'works'] : ['good', 'up to date'];
}

export const functionPath = (root: string, name: string): string =>
  `${root}console/functions/${encodeURIComponent(name)}`;
