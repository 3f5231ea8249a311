/** The figures of one state of events, as people read them. */
import type { Bound, StateLag } from '../lag/lag.ts';
import { formatCount } from './options.ts';
import { duration } from './printable.ts';

const SIGN: Readonly<Record<Bound, string>> = { 'at-least': '≥', 'at-most': '≤' };

function signOf(bound: Bound | undefined): string {
  return bound === undefined ? '' : SIGN[bound];
}

export function shownAge({
  oldestMs,
  oldestBound,
}: Pick<StateLag, 'oldestMs' | 'oldestBound'>): string {
  return oldestMs === null ? '-' : signOf(oldestBound) + duration(oldestMs);
}

export function shownCount({ events, eventsBound }: StateLag): string {
  return signOf(eventsBound) + formatCount(events);
}
