/**
 * The age of the events that retention must keep, although a limit of their type is passed. Pure.
 * Metrics and alerts take their figure from here.
 */
import type { TypeLag } from '../lag/lag.ts';
import { partOf } from '../lag/rates.ts';
import type { TypeLimits } from './type-limits.ts';

/**
 * Returns the age of the oldest event that stays above a limit because the function has not settled
 * it, ms. 0: there is none. Parked events hold no entry.
 * @param row events of the function, of a type with these limits, in a partition
 * @param partitions partitions of the deployment
 */
export function retentionHeldMs(
  { lag, pending, states }: Pick<TypeLag, 'lag' | 'pending' | 'states'>,
  { maxAgeMs, maxEvents: max }: TypeLimits,
  partitions: number,
): number {
  const oldestMs = Math.max(states.lag.oldestMs ?? 0, states.pending.oldestMs ?? 0);
  const isOld = maxAgeMs !== undefined && oldestMs > maxAgeMs;
  const isMuch = max !== undefined && lag + pending > partOf({ max, partitions });
  return isOld || isMuch ? oldestMs : 0;
}
