/** The parked record of an event after a failure, and the time to its next attempt. */
import type { Failure } from '../../core/thread-protocol.ts';
import { nextDelayMs } from '../../core/retry-policy.ts';
import { cut } from '../../core/well-formed.ts';
import type { ParkedRecord } from '../../wire/parked.ts';
import type { CommitContext, FailedAttempt } from './commit-plan.ts';

/** Most attempts kept in a parked record's history. */
const HISTORY = 10;
/**
 * Bounds of the pause between two looks for an event's schema, ms. Between them it is a quarter of
 * the time waited so far.
 */
const SCHEMA_LOOK_MS = { min: 500, max: 30_000 };

/** Time to the next attempt, ms; `wait:<ms>` where no attempt was made; null: never. */
export type Delay = number | string | null;

/** Returns an event's record after a failure, and the time to its next attempt. */
export function afterFailure(
  record: ParkedRecord,
  failure: Failure,
  context: CommitContext,
): { readonly record: ParkedRecord; readonly delay: Delay } {
  if (failure.waits) return afterWait(record, context);
  const failed = failedOnce(record, failure, context.nowMs);
  return {
    record: failed,
    delay: failure.retryable ? nextDelayMs(context.spec.retry, failed.attempts) : null,
  };
}

/** The registry does not know the event's schema: the event waits, up to a bound. */
function afterWait(
  record: ParkedRecord,
  { nowMs, schemaWaitMs }: CommitContext,
): { readonly record: ParkedRecord; readonly delay: Delay } {
  const waitingSinceMs = record.waitingSinceMs || nowMs;
  const waitedMs = nowMs - waitingSinceMs;
  if (waitedMs >= schemaWaitMs) {
    const firstFailedMs = record.firstFailedMs || waitingSinceMs;
    return { record: { ...record, firstFailedMs, lastFailedMs: nowMs }, delay: null };
  }
  // Looks become rarer. The last one is made when the bound is reached.
  const delay = Math.min(
    Math.max(SCHEMA_LOOK_MS.min, Math.min(SCHEMA_LOOK_MS.max, waitedMs / 4)),
    schemaWaitMs - waitedMs,
  );
  return { record: { ...record, waitingSinceMs }, delay: waitOf(delay) };
}

/** Writes a delay that follows no attempt. */
export const waitOf = (ms: number): string => `wait:${Math.ceil(ms)}`;

function failedOnce(record: ParkedRecord, failure: Failure, nowMs: number): ParkedRecord {
  const attempts = record.attempts + 1;
  return {
    ...record,
    attempts,
    firstFailedMs: record.firstFailedMs || nowMs,
    lastFailedMs: nowMs,
    waitingSinceMs: 0,
    isolate: failure.isolate === true,
    history: [
      ...record.history,
      {
        atMs: nowMs,
        attempt: attempts,
        name: failure.error.name,
        message: cut(failure.error.message, 500),
        cause: cut(failure.error.cause ?? '', 500),
      },
    ].slice(-HISTORY),
  };
}

/** Describes an attempt for the log. @param nextMs time to the next one; null: the event is dead */
export function attemptOf(
  record: ParkedRecord,
  failure: Failure,
  nextMs: number | null,
): FailedAttempt {
  return {
    eventId: record.eventId,
    type: record.type,
    subject: record.subject,
    entry: record.entryId,
    index: record.index,
    attempt: record.attempts,
    nextMs,
    reason: failure.reason,
    error: failure.error,
  };
}
