/** The dead letters of a commit: one of an event, or of an entry that cannot be taken apart. */
import type { DeadEntry, Failure } from '../../core/thread-protocol.ts';
import { letterFields } from '../../wire/letter-fields.ts';
import type { ParkedRecord } from '../../wire/parked.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { Arg, CommitContext } from './commit-plan.ts';

export function letterOfEvent(
  record: ParkedRecord,
  { reason, error }: Failure,
  { partition, dispatcher, version }: CommitContext,
): readonly Arg[] {
  return letterFields({
    event: Buffer.from(record.event),
    kind: 'event',
    type: record.type,
    partition,
    entry: record.entryId,
    index: record.index,
    position: record.position,
    id: record.eventId,
    subject: record.subject,
    reason,
    name: error.name,
    message: error.message,
    stack: error.stack,
    cause: error.cause || undefined,
    attempts: record.attempts,
    first: record.firstFailedMs,
    last: record.lastFailedMs,
    source: record.batchSource?.length ? Buffer.from(record.batchSource) : undefined,
    dispatcher,
    version,
    events: 1,
    history: JSON.stringify(
      record.history.map((h) => ({
        at: h.atMs,
        attempt: h.attempt,
        name: h.name,
        message: h.message,
        ...(h.cause ? { cause: h.cause } : {}),
      })),
    ),
  });
}

export function letterOfEntry(
  entry: StreamEntry,
  type: string,
  { reason, message }: DeadEntry,
  { partition, nowMs, dispatcher, version }: CommitContext,
): readonly Arg[] {
  return letterFields({
    event: entry.bytes,
    kind: 'entry',
    type,
    partition,
    entry: entry.id,
    index: 0,
    position: 0,
    id: '',
    subject: '',
    reason,
    name: 'CorruptDataError',
    message,
    stack: '',
    attempts: 1,
    first: nowMs,
    last: nowMs,
    dispatcher,
    version,
    events: entry.count,
    history: '[]',
  });
}
