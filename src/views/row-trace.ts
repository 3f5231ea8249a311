/**
 * A row of a view with the events that made it, and the row after each of them. The row says how
 * many events it was folded from. So the trace knows whether it has found all of them; retention
 * may have taken some.
 */
import { isDeepStrictEqual } from 'node:util';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { partitionOf } from '../core/partition.ts';
import { compareEntryIds } from '../core/position.ts';
import { checkText } from '../core/well-formed.ts';
import type { ViewFold } from '../core/view-fold.ts';
import { errorTextOf, type ErrorText } from '../payload/show-error.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import type { RedisSource } from '../redis/source.ts';
import { decodeStoredRow, readStoredRow, type StoredRow } from '../wire/view-row.ts';
import type { Generation } from './generations.ts';
import { findSubjectEvents, type SubjectEvent, type SubjectSearch } from './subject-events.ts';

export interface RowTrace {
  readonly view: string;
  readonly version: number;
  readonly id: string;
  readonly partition: number;
  /** Null: there is no such row, or it cannot be read. */
  readonly row: {
    /** Plain JSON. */
    readonly value: unknown;
    /** Number of events folded into it since it was made. */
    readonly revision: number;
    /** Position of the last event folded into it. */
    readonly position: string;
  } | null;
  /** Damage of a row that cannot be read. Null: none. */
  readonly damaged: string | null;
  /** Events found, in the order in which they were appended. */
  readonly events: readonly RowEvent[];
  /**
   * Least number of events that made the row and were not found: retention took them, or the search
   * ended before them. 0 may mean more where the row was deleted and made again.
   */
  readonly missing: number;
  readonly searched: Omit<SubjectSearch, 'events'>;
  /** Result of a fold of the found events. Null: there was none. */
  readonly folded: {
    /** Whether the fold ends with the stored row. */
    readonly same: boolean;
    /** Error of the view's code. Null: none. */
    readonly problem: { readonly position: string; readonly error: ErrorText } | null;
  } | null;
}

export interface RowEvent extends SubjectEvent {
  /** Whether it is behind the row's position: it is not folded yet, or waits. */
  readonly later: boolean;
  /** The row after it, as plain JSON; null: there was no row. Undefined: not folded. */
  readonly after: unknown;
}

export interface RowTraceOptions {
  /** Folds the events, to show the row after each. Null: they are not folded. */
  readonly fold: ViewFold | null;
  /** Categories of histories. Default: those that the types' names begin with. */
  readonly categories?: readonly string[];
  /** Most events to look at in the streams. Default: 5,000. */
  readonly scan?: number;
}

/** Most events that are folded one by one. */
const FOLDED = 500;

/**
 * @param generation of the row, e.g. from liveGeneration()
 * @throws InvalidTextError, UnknownOutcomeError, RedisReplyError; CorruptDataError for a damaged
 *   history
 */
export async function traceRow(
  source: RedisSource,
  generation: Generation,
  id: string,
  { fold, categories, scan = 5000 }: RowTraceOptions,
): Promise<RowTrace> {
  checkText('the id of the row', id);
  const partition = partitionOf(id, source.partitions);
  const { stored, damaged } = await readRowOf(source, generation, partition, id);
  const place = stored === null ? null : placeOf(stored);
  const isLater = (event: SubjectEvent): boolean =>
    place === null ||
    (compareEntryIds(event.entryId, place.entryId) || event.place - place.place) > 0;
  const folded = (events: readonly SubjectEvent[]): number =>
    events.filter((event) => !isLater(event)).length;
  const { events, ...searched } = await findSubjectEvents(source, {
    partition,
    subject: id,
    types: generation.types,
    categories,
    scan,
    // Without a row, the events tell why: there are none, or none was folded, or one deleted it.
    enough: (found) => stored !== null && stored.rev > 0 && folded(found) >= stored.rev,
  });
  const missing = Math.max(0, (stored?.rev ?? 0) - folded(events));
  const isWhole = missing === 0 && events.length > 0 && searched.tooLong.length === 0;
  const steps =
    fold !== null && isWhole ? await foldEach(fold, partition, id, events.slice(0, FOLDED)) : null;
  const last = events.findLastIndex((event) => !isLater(event));
  return {
    view: generation.view,
    version: generation.version,
    id,
    partition,
    row: stored && {
      value: stored.row,
      revision: stored.rev,
      position: `${partition}/${stored.at}`,
    },
    damaged,
    events: events.map((event, i) => ({
      ...event,
      later: isLater(event),
      after: steps?.rows[i],
    })),
    missing,
    searched,
    folded: steps && {
      same:
        last >= 0 &&
        last < steps.rows.length &&
        isDeepStrictEqual(steps.rows[last], stored?.row ?? null),
      problem: steps.problem,
    },
  };
}

async function readRowOf(
  { connection, keys }: RedisSource,
  { name }: Generation,
  partition: number,
  id: string,
): Promise<{ readonly stored: StoredRow | null; readonly damaged: string | null }> {
  // MGET takes a key of another type as absent.
  const [bytes = null] = (await withRetry(
    () => connection.commandBuffer('MGET', keys.viewRow(partition, name, id)),
    { deadlineMs: DEADLINE_MS },
  )) as (Buffer | null)[];
  if (bytes === null) return { stored: null, damaged: null };
  try {
    return { stored: decodeStoredRow(bytes), damaged: null };
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return { stored: null, damaged: error.message };
  }
}

function placeOf({ at }: StoredRow): { readonly entryId: string; readonly place: number } {
  const slash = at.indexOf('/');
  return { entryId: at.slice(0, slash), place: Number(at.slice(slash + 1)) };
}

/** Folds the events one by one, onto no row. */
async function foldEach(
  fold: ViewFold,
  partition: number,
  id: string,
  events: readonly SubjectEvent[],
): Promise<{
  readonly rows: readonly unknown[];
  readonly problem: NonNullable<RowTrace['folded']>['problem'];
}> {
  const rows: unknown[] = [];
  let stored: ReadonlyMap<string, string> = new Map();
  for (const { type, entryId, bytes, position } of events) {
    const failed = (error: ErrorText) => ({ rows, problem: { position, error } });
    try {
      const event = { entryId, type: fold.spec.on.indexOf(type), bytes };
      const result = event.type < 0 ? null : await fold.fold(partition, [event], stored);
      if (result?.kind === 'stopped')
        return failed({ name: 'Error', message: 'the threads that fold are being stopped' });
      if (result?.kind === 'failed') return failed({ name: result.name, message: result.message });
      if (result) stored = result.rows();
      const text = stored.get(id);
      rows.push(text === undefined ? null : readStoredRow(text).row);
    } catch (error) {
      return failed(errorTextOf(error));
    }
  }
  return { rows, problem: null };
}
