/** Whether the measured states of a function's events add up. Pure. */
import type { LagCounts } from './lag-counts.ts';

/** The states of a function, type and partition, each measured by itself. */
export interface Measures {
  appended: number;
  done: number;
  dead: number;
  purged: number;
  parked: number;
  pending: number;
  lag: number;
  even: boolean;
  pendingExact: boolean;
  lagExact: boolean;
}

/**
 * Balances the measured states. Where one was too much to be added up, the rest stands in for it,
 * and only its sign is checked.
 */
export function balance(
  m: Measures,
): Omit<LagCounts, 'oldestMs' | 'oldestBound' | 'states' | 'skipped'> & { conserved: boolean } {
  const settled = m.done + m.dead + m.purged + m.parked;
  const rest = m.appended - settled - m.pending - m.lag;
  let conserved = m.done >= 0 && m.dead >= 0 && m.purged >= 0 && m.parked >= 0 && m.appended >= 0;
  let { pending, lag, appended } = m;
  if (!m.even) {
    // Foreign events that nobody has counted are in the other states already, but not in
    // `appended`.
    conserved &&= rest <= 0;
    appended -= Math.min(0, rest);
  } else if (!m.lagExact) {
    conserved &&= rest >= 0;
    lag += Math.max(0, rest);
  } else if (!m.pendingExact) {
    conserved &&= rest >= 0;
    pending += Math.max(0, rest);
  } else conserved &&= rest === 0;
  return {
    appended,
    done: m.done,
    dead: m.dead + m.purged,
    purged: m.purged,
    parked: m.parked,
    pending,
    lag,
    conserved,
  };
}
