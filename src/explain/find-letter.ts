import { entryIdTime } from '../core/position.ts';
import { lettersOf, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import type { RegisteredFunction } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import type { EventPlace } from './find-event.ts';
import type { Unseen } from './unseen.ts';

/** Most letters looked at. */
const MOST = 10_000;

/**
 * A dead letter that may be the event's. `identified` false: it holds an unreadable parked record,
 * which does not name its event.
 */
export interface FoundLetter extends DeadLetter {
  readonly identified: boolean;
}

/**
 * Finds the dead letter of the event for the function. Null: there is none among those looked at.
 */
export async function findLetter(
  source: RedisSource,
  fn: RegisteredFunction,
  place: EventPlace,
  unseen: Unseen,
): Promise<FoundLetter | null> {
  // A letter is not older than the entry, both by the server's clock. A foreign entry may bear any
  // id.
  const after = place.ordinal === null ? '0-0' : `${Math.max(0, entryIdTime(place.entryId) - 1)}-0`;
  let left: number = MOST;
  let maybe: DeadLetter | null = null;
  for await (const letter of lettersOf(source, fn.name, place.partition, after)) {
    if (--left < 0) {
      const counted = Number(
        await source.connection.command('XLEN', source.keys.dead(place.partition, fn.name)),
      );
      unseen.leave({ fn: fn.name, partition: place.partition }, MOST, counted, 'dead letters');
      break;
    }
    if (
      letter.kind === 'record' &&
      letter.entryId === '' &&
      (fn.ordering === 'key' ? letter.subject === place.subject : letter.eventId === place.id)
    ) {
      if (fn.ordering === 'none' || letter.bytes.includes(place.id))
        return { ...letter, identified: true };
      maybe ??= letter;
    }
    if (letter.type !== place.type || letter.entryId !== place.entryId) continue;
    if (letter.kind === 'entry' || letter.index === place.index)
      return { ...letter, identified: true };
  }
  return maybe && { ...maybe, identified: false };
}
