/**
 * Brings a dead letter back: its event goes to the end of its unit's parked list (to its head,
 * where it held the unit), with no attempts made and its history kept. The lane's owner finds it as
 * it finds any retry.
 */
import { counterFields } from '../../redis/counters.ts';
import { DEADLINE_MS } from '../../redis/retry.ts';
import { MillraceError } from '../../core/errors.ts';
import { withRetry } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS } from '../../redis/lua/shared.ts';
import { identityOfEvent } from '../../wire/event-identity.ts';
import { encodeParked } from '../../wire/parked.ts';
import type { DeadLetter, DeadLetterSource } from './dead-letters.ts';

const script = defineScript({
  url: new URL('./replay.lua', import.meta.url),
  with: COUNTS,
  keys: 7,
});

/** The letter holds a whole entry that could not be taken apart: there is no event to run. */
export class NotReplayableError extends MillraceError {
  readonly code = 'NOT_REPLAYABLE';
  readonly id: string;
  constructor(id: string, reason: string, entry: string) {
    super(
      `dead letter ${id} (${reason}) cannot be replayed: it holds what could not be read as a whole (entry ${entry}): there is no event to run. ` +
        'dlq show --payload prints its bytes; publish the events anew, then purge it',
    );
    this.id = id;
  }
}

/**
 * Safe to call again after any failure: a letter is moved once.
 * @returns 'gone' when somebody else replayed or purged it, or an earlier call of ours whose reply
 *   was lost had moved it
 * @throws NotReplayableError, UnknownOutcomeError, RedisReplyError
 */
export async function replayDeadLetter(
  source: DeadLetterSource,
  letter: DeadLetter,
): Promise<'replayed' | 'gone'> {
  if (letter.kind !== 'event')
    throw new NotReplayableError(letter.id, letter.reason, `${letter.partition}/${letter.entryId}`);
  const { connection, keys } = source;
  const { partition, function: fn, type } = letter;
  const ordering = await connection.command(
    'HGET',
    keys.counters(partition),
    counterFields.ordering(fn),
  );
  const unit = ordering === 'none' ? letter.eventId : letter.subject;
  const record = encodeParked({
    event: letter.bytes,
    type,
    entryId: letter.entryId,
    index: letter.index,
    position: letter.position,
    attempts: 0,
    firstFailedMs: letter.firstFailedMs,
    lastFailedMs: letter.lastFailedMs,
    waitingSinceMs: 0,
    history: letter.history,
    // What killed a thread before is run alone.
    isolate:
      letter.reason === 'thread-death' ||
      letter.reason === 'timeout' ||
      letter.reason === 'dispatcher-death',
    eventId: letter.eventId,
    subject: letter.subject,
    batchSource: letter.batchSource,
  });
  const identity = identityOfEvent(letter.bytes, letter.batchSource);
  let sent = 0;
  return withRetry(
    async () => {
      sent++;
      const [kind] = (await script.run(
        connection,
        [
          keys.dead(partition, fn),
          keys.parked(partition, fn, unit),
          keys.due(partition, fn),
          keys.counters(partition),
          keys.held(partition, fn),
          keys.settledIds(partition, fn, 0),
          keys.settledIds(partition, fn, 1),
        ],
        [letter.letterId, fn, type, unit, record, identity],
      )) as [string];
      // Gone at a repeated sending: most likely it was ours whose reply was lost.
      return kind === 'replayed' || sent > 1 ? 'replayed' : 'gone';
    },
    { deadlineMs: DEADLINE_MS },
  );
}
