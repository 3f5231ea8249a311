/** The dead letters of a commit: one of an event, or of an entry that cannot be taken apart. */
import { groupKeyOf, type LetterGroupKey } from '../../core/letter-fingerprint.ts';
import type { DeadEntry, Failure } from '../../core/thread-protocol.ts';
import { letterFields } from '../../wire/letter-fields.ts';
import { schemaOfEvent } from '../../wire/schema-of-event.ts';
import type { ParkedRecord } from '../../wire/parked.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { Arg, CommitContext } from './commit-plan.ts';

export interface PlannedLetter {
  readonly group: LetterGroupKey;
  readonly fields: readonly Arg[];
}

export function letterOfEvent(
  record: ParkedRecord,
  { reason, error }: Failure,
  { spec, partition, dispatcher, version }: CommitContext,
): PlannedLetter {
  const group = groupKeyOf({
    fn: spec.name,
    type: record.type,
    schema: schemaOfEvent(record.event),
    error,
  });
  const fields = letterFields({
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
    fingerprint: group.fingerprint,
  });
  return { group, fields };
}

export function letterOfEntry(
  entry: StreamEntry,
  type: string,
  { reason, message }: DeadEntry,
  { spec, partition, nowMs, dispatcher, version }: CommitContext,
): PlannedLetter {
  const error = { name: 'CorruptDataError', message, stack: '' };
  const group = groupKeyOf({ fn: spec.name, type, schema: 0, error });
  const fields = letterFields({
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
    ...error,
    attempts: 1,
    first: nowMs,
    last: nowMs,
    dispatcher,
    version,
    events: entry.count,
    history: '[]',
    fingerprint: group.fingerprint,
  });
  return { group, fields };
}
