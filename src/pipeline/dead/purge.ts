/** Deletes dead letters for good. */
import { DEADLINE_MS } from '../../redis/retry.ts';
import { withRetry } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS } from '../../redis/lua/shared.ts';
import type { DeadLetter, DeadLetterSource } from './dead-letters.ts';

const script = defineScript({
  url: new URL('./purge.lua', import.meta.url),
  with: COUNTS,
  keys: 'variable',
});

/** What purging needs of a letter; so a caller need not keep its bytes. */
export type LetterPlace = Pick<
  DeadLetter,
  'function' | 'partition' | 'letterId' | 'type' | 'events' | 'subject'
>;

/**
 * One call per function and partition among the letters; keep it to some hundred letters.
 * @returns how many were deleted by this call; after a lost reply those of the first sending are
 *   not among them
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
            ...group.map((letter) => source.keys.parked(partition, fn, letter.subject)),
          ],
          // Only a subject is ever held: with ordering 'none' nothing waits for anything.
          [
            fn,
            ...group.flatMap((letter) => [
              letter.letterId,
              letter.type,
              letter.events,
              letter.subject,
            ]),
          ],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as number;
  }
  return purged;
}
