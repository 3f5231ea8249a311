/**
 * Plans the events of a batch's entries that are not done. Heads of units, and the events behind
 * them, are parked in stream order. The others are dead-lettered.
 */
import type { EventRef, Failure } from '../../core/thread-protocol.ts';
import { ParkedLimitError } from '../../core/errors/handler-errors.ts';
import { batchSourceOf } from '../../wire/batch-reader.ts';
import { encodeParked, type ParkedRecord } from '../../wire/parked.ts';
import type { StreamEntry } from '../batch/batch.ts';
import type { CommitDraft } from './commit-draft.ts';
import { waitOf } from './failed-attempt.ts';
import { letterOfEntry } from './letters.ts';

export function planHeld(draft: CommitDraft): void {
  const held = heldInOrder(draft);
  if (held.length === 0) return;
  const records = new FirstRecords(draft);
  const running = new Set<string>();
  for (const { ref } of draft.allUnsettled()) running.add(draft.unitOf(ref));
  for (const ref of held) {
    const record = records.of(ref);
    const unsettled = draft.unsettledOf(ref.index);
    const failure = draft.failureOf(ref.index);
    if (unsettled) {
      const bytes = encodeParked({ ...record, isolate: unsettled.isolate });
      draft.unsettled.set(ref.index, bytes);
      draft.park(draft.unitOf(ref), ref.entry, waitOf(unsettled.delayMs), bytes);
    } else if (failure) parkFailed(draft, ref, record, failure);
    else parkBehind(draft, ref, record, running);
  }
}

/** Plans the entries that cannot be taken apart: each is dead as a whole. */
export function planDeadEntries(draft: CommitDraft): void {
  const { batch, context } = draft;
  for (const gone of draft.result.deadEntries) {
    const entry = batch.entries[gone.entry] as StreamEntry;
    const type = batch.types[entry.type] as string;
    const letter = letterOfEntry(entry, type, gone, context);
    draft.bury({ entry: gone.entry, type }, entry.count, 0, letter);
    draft.failed.push({
      eventId: '',
      type,
      subject: '',
      entry: entry.id,
      index: 0,
      attempt: 0,
      nextMs: null,
      reason: gone.reason,
      error: { name: 'CorruptDataError', message: gone.message, stack: '' },
    });
  }
}

/** Returns the failed, unsettled and blocked events of the entries, in the order of parking. */
function heldInOrder(draft: CommitDraft): EventRef[] {
  const { batch, result } = draft;
  const held: EventRef[] = [];
  for (const { ref } of result.failures) if (ref.entry >= 0) held.push(ref);
  for (const { ref } of draft.allUnsettled()) if (ref.entry >= 0) held.push(ref);
  held.push(...result.blocked);
  const flushOf = ({ entry }: EventRef): string => (batch.entries[entry] as StreamEntry).id;
  // Within one flush, the types' events are ordered by position and not by index.
  return held.sort((a, b) =>
    flushOf(a) === flushOf(b) ? a.position - b.position || a.index - b.index : a.index - b.index,
  );
}

function parkFailed(
  draft: CommitDraft,
  ref: EventRef,
  record: ParkedRecord,
  failure: Failure,
): void {
  const unit = draft.unitOf(ref);
  const next = draft.fail(ref, unit, record, failure);
  if (next) draft.park(unit, ref.entry, next.delay, encodeParked(next.record));
}

/** Parks an event that waits behind an earlier one of its unit, or was not started. */
function parkBehind(
  draft: CommitDraft,
  ref: EventRef,
  record: ParkedRecord,
  running: ReadonlySet<string>,
): void {
  const { spec, nowMs, inFlight } = draft.context;
  const unit = draft.unitOf(ref);
  const left = isLeft(draft, unit, ref);
  // The limit is for units that fail. It spares events that wait behind a running head, and events
  // that were not started.
  const limited = !left && !running.has(unit) && !inFlight?.(unit);
  if (limited && draft.parkedIn(unit) >= spec.maxParkedPerSubject) {
    const { name, message } = new ParkedLimitError(
      spec.name,
      ref.subject,
      spec.maxParkedPerSubject,
    );
    const error = { name, message, stack: '' };
    draft.buryEvent(ref, record, { ref, retryable: false, reason: 'parked-limit', error }, 0);
    return;
  }
  // The wait for a schema starts now, so that queued events expire together and not in turn.
  const waitingSinceMs = left ? 0 : nowMs;
  draft.park(unit, ref.entry, '', encodeParked({ ...record, waitingSinceMs }));
}

/** Whether nothing has failed in the event's unit: its events were only not started. */
function isLeft(draft: CommitDraft, unit: string, ref: EventRef): boolean {
  if (draft.left.has(unit)) return true;
  const left =
    draft.parkedIn(unit) === 0 ? draft.result.left?.has(ref.index) : draft.context.isLeft?.(unit);
  if (left) draft.left.add(unit);
  return left ?? false;
}

/** Makes the parked records of events that have had no attempt yet. */
class FirstRecords {
  readonly #draft: CommitDraft;
  /** Source of each entry's batch, by entry. */
  readonly #sources = new Map<number, Uint8Array>();

  constructor(draft: CommitDraft) {
    this.#draft = draft;
  }

  of(ref: EventRef): ParkedRecord {
    const { batch } = this.#draft;
    const entry = batch.entries[ref.entry] as StreamEntry;
    return {
      event: entry.bytes.subarray(ref.offset, ref.offset + ref.length),
      type: batch.types[entry.type] as string,
      entryId: entry.id,
      index: ref.indexInEntry,
      position: ref.position,
      attempts: 0,
      firstFailedMs: 0,
      lastFailedMs: 0,
      waitingSinceMs: 0,
      history: [],
      isolate: false,
      eventId: ref.id,
      subject: ref.subject,
      batchSource: this.#sourceOf(ref.entry, entry.bytes),
    };
  }

  #sourceOf(entry: number, bytes: Uint8Array): Uint8Array {
    const known = this.#sources.get(entry);
    if (known !== undefined) return known;
    const source = batchSourceOf(bytes);
    this.#sources.set(entry, source);
    return source;
  }
}
