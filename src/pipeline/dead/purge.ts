/** Deletes dead letters for good. */
import { DEADLINE_MS, withRetry } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import { ARRIVALS, COUNTS, LETTER_GROUPS } from '../../redis/lua/shared.ts';
import type { DeadLetter, DeadLetterSource } from './dead-letters.ts';

const script = defineScript({
  url: new URL('./purge.lua', import.meta.url),
  with: [COUNTS, ARRIVALS, LETTER_GROUPS],
  keys: 'variable',
});

/** The fields of a letter that a purge needs. So a caller need not keep the letter's bytes. */
export type LetterPlace = Pick<
  DeadLetter,
  'function' | 'partition' | 'letterId' | 'type' | 'events' | 'subject' | 'fingerprint'
>;

/** Returns what a purge needs of a letter. The letter's bytes are not among it. */
export function letterPlaceOf(letter: LetterPlace): LetterPlace {
  const { function: fn, partition, letterId, type, events, subject, fingerprint } = letter;
  return { function: fn, partition, letterId, type, events, subject, fingerprint };
}

/**
 * Deletes letters, in one call to Redis per function and partition. Pass some hundred letters at
 * most.
 * @returns the number of letters deleted by this call. After a lost reply the letters of the first
 *   sending are not among them
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function purgeDeadLetters(
  source: DeadLetterSource,
  letters: readonly LetterPlace[],
): Promise<number> {
  const groups = new Map<string, LetterPlace[]>();
  for (const letter of letters) {
    const place = `${letter.partition}/${letter.function}`;
    const group = groups.get(place);
    if (group) group.push(letter);
    else groups.set(place, [letter]);
  }
  let purged = 0;
  for (const group of groups.values()) {
    const { function: fn, partition } = group[0] as LetterPlace;
    purged += (await withRetry(
      () =>
        script.run(
          source.connection,
          [
            source.keys.dead(partition, fn),
            source.keys.counters(partition),
            source.keys.due(partition, fn),
            source.keys.held(partition, fn),
            source.keys.arrived(partition, fn),
            source.keys.groups(partition, fn),
            ...group.map((letter) => source.keys.parked(partition, fn, letter.subject)),
          ],
          // The unit is the subject, because only subjects are held. With ordering 'none' no event
          // waits for another one.
          [
            fn,
            ...group.flatMap((letter) => [
              letter.letterId,
              letter.type,
              letter.events,
              letter.subject,
              letter.fingerprint,
            ]),
          ],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as number;
  }
  return purged;
}
