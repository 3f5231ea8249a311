/**
 * Brings a dead letter back. Its event goes to the end of its unit's parked list, or to the head
 * where the letter held the unit. The event starts with no attempts, and keeps its history. The
 * lane's owner finds the event like any retry.
 */
import { counterFields } from '../../redis/counters.ts';
import { DEADLINE_MS, withRetry } from '../../redis/retry.ts';
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { defineScript } from '../../redis/script.ts';
import { ARRIVALS, COUNTS, LETTER_GROUPS } from '../../redis/lua/shared.ts';
import { identityOfEvent } from '../../wire/event-identity.ts';
import { encodeParked, type ParkedRecord } from '../../wire/parked.ts';
import type { DeadLetter, DeadLetterSource } from './dead-letters.ts';

const script = defineScript({
  url: new URL('./replay.lua', import.meta.url),
  with: [COUNTS, ARRIVALS, LETTER_GROUPS],
  keys: 9,
});

/** The letter holds an entry or a record that could not be decoded: there is no event to run. */
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

/** Returns the record of an event that is to run again. */
export function parkedRecordOf(letter: DeadLetter): ParkedRecord {
  return {
    event: letter.bytes,
    type: letter.type,
    entryId: letter.entryId,
    index: letter.index,
    position: letter.position,
    attempts: 0,
    firstFailedMs: letter.firstFailedMs,
    lastFailedMs: letter.lastFailedMs,
    waitingSinceMs: 0,
    history: letter.history,
    // An event that killed a thread, or its dispatcher, runs alone.
    isolate:
      letter.reason === 'thread-death' ||
      letter.reason === 'timeout' ||
      letter.reason === 'dispatcher-death',
    eventId: letter.eventId,
    subject: letter.subject,
    batchSource: letter.batchSource,
  };
}

/**
 * Moves a letter back. Safe to call again after any failure: a letter is moved once.
 * @returns 'gone' when somebody else has replayed or purged the letter, or when an earlier call
 *   whose reply was lost has moved it
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
  const record = encodeParked(parkedRecordOf(letter));
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
          keys.arrived(partition, fn),
          keys.groups(partition, fn),
        ],
        [letter.letterId, fn, type, unit, record, identity, letter.fingerprint],
      )) as [string];
      // A letter that is gone at a repeated sending was most likely moved by the first sending.
      return kind === 'replayed' || sent > 1 ? 'replayed' : 'gone';
    },
    { deadlineMs: DEADLINE_MS },
  );
}
