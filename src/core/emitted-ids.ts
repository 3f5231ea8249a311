/** Ids of emitted events. They follow from the cause, and must never change. */
import { createHash } from 'node:crypto';

/**
 * Returns the common beginning of the ids of the events that a function emits for a cause. It is
 * the same whenever the cause runs. So a consumer that gets an emitted event twice (after a replay
 * or a rewind) can recognise it.
 */
export function emittedIdPrefix(causeId: string, fn: string): string {
  const hash = createHash('sha256').update(causeId).update('\0').update(fn);
  return hash.digest('hex').slice(0, 32);
}

/** Returns the id of an emitted event whose function gave none. @param index from 0 */
export function emittedEventId(prefix: string, index: number): string {
  return `${prefix}-${index.toString(36)}`;
}
