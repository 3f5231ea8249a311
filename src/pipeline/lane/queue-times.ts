/** The times that the events of a batch were in their stream. */
import { entryIdTime } from '../../core/position.ts';
import type { StreamEntry } from '../batch/batch.ts';

/** Most entries looked at, so that a batch of many small entries costs no more than others. */
const LOOKS = 16;

/**
 * Returns pairs of time in the stream, ms, and number of events. With more entries than LOOKS, each
 * entry that is looked at stands for its neighbours too.
 * @param takenMs time at which the entries were taken, by the server's clock, ms since 1970
 */
export function queueTimes(
  entries: readonly Pick<StreamEntry, 'id' | 'count'>[],
  takenMs: number,
): number[] {
  const times: number[] = [];
  const step = Math.max(1, Math.ceil(entries.length / LOOKS));
  for (let first = 0; first < entries.length; first += step) {
    const size = Math.min(step, entries.length - first);
    const { id, count } = entries[first + (size >> 1)] as Pick<StreamEntry, 'id' | 'count'>;
    times.push(Math.max(0, takenMs - entryIdTime(id)), count * size);
  }
  return times;
}
