/** Errors of the event store. In each case nothing was appended. */
import { MillraceError } from '../core/errors/millrace-error.ts';
import type { ExpectedRevision } from './expected-revision.ts';

/** An argument is not valid: a category, id, revision, range or list of events. */
export class StoreInputError extends MillraceError {
  readonly code = 'STORE_INPUT';
  readonly what: string;
  constructor(what: string, problem: string) {
    super(`${what} ${problem}. Nothing was appended`);
    this.what = what;
  }
}

/**
 * The history is not at the revision that the append expected: another append came first. Load and
 * decide again.
 */
export class ConflictError extends MillraceError {
  readonly code = 'REVISION_CONFLICT';
  readonly category: string;
  readonly id: string;
  readonly expected: ExpectedRevision;
  /** Number of events in the history; 0: there is no history. */
  readonly actual: number;
  constructor(category: string, id: string, expected: ExpectedRevision, actual: number) {
    super(
      `history ${category} ${id} is at revision ${actual}${actual === 0 ? ' (there is none)' : ''}, the append expected ` +
        `${typeof expected === 'number' ? `revision ${expected}` : `"${expected}"`}. Nothing was appended. Load the history again and decide again`,
    );
    this.category = category;
    this.id = id;
    this.expected = expected;
    this.actual = actual;
  }
}

/** The history holds as many events as it may. */
export class HistoryFullError extends MillraceError {
  readonly code = 'HISTORY_FULL';
  readonly category: string;
  readonly id: string;
  readonly actual: number;
  readonly limit: number;
  constructor(category: string, id: string, actual: number, limit: number) {
    super(
      `history ${category} ${id} holds ${actual} events, the limit is ${limit} (maxEvents). Nothing was appended. Histories are never trimmed. Close ` +
        `this one and go on under a new id (such as "${id.slice(0, 40)}/2"), whose first event carries over the state that still matters. Or raise maxEvents and take snapshots`,
    );
    this.category = category;
    this.id = id;
    this.actual = actual;
    this.limit = limit;
  }
}

/** The first event's id was appended to this history before, together with other events. */
export class EventIdReusedError extends MillraceError {
  readonly code = 'EVENT_ID_REUSED';
  readonly category: string;
  readonly id: string;
  readonly eventId: string;
  /** Revision of the event that has this id. */
  readonly revision: number;
  constructor(category: string, id: string, eventId: string, revision: number) {
    super(
      `event ${eventId} is in history ${category} ${id} already, at revision ${revision}, and was not appended together with these events. Nothing was ` +
        'appended. Give a new append new ids. An append made again must have all the ids of the first time, in their order',
    );
    this.category = category;
    this.id = id;
    this.eventId = eventId;
    this.revision = revision;
  }
}
