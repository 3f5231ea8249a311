/**
 * Cuts the events that were not started off a turn that was told to start nothing further
 * (start-control.ts).
 *
 * - Entries behind the last one with a started event stay pending as they are.
 * - In the other entries, events that were not started are parked without an attempt, due at once.
 *   The entry can then be acknowledged, and its finished events do not run again.
 *
 * Nothing is committed behind an entry that stays pending. Otherwise an event parked now would run
 * before an earlier one of its subject.
 */
import type { DeadEntry, EventRef } from '../../core/thread-protocol.ts';
import { CorruptDataError, type EnvelopeError } from '../../core/errors/data-errors.ts';
import { CELL, moveTo } from '../../core/progress-cells.ts';
import { checkBatch, walkBatch } from '../../wire/batch-reader.ts';
import { envelopeProblem, nameOr } from '../../wire/envelope-problem.ts';
import type { Batch, StreamEntry } from '../batch/batch.ts';
import type { BatchResult } from './batch-result.ts';

export interface Touched<R> {
  readonly batch: Batch;
  readonly result: R;
  /** Number of events of the batch that were started, or are settled without a start. */
  readonly started: number;
  /** Whether every event was started. */
  readonly whole: boolean;
}

type Result = Pick<BatchResult, 'states' | 'failures' | 'blocked' | 'deadEntries'> & {
  readonly ids?: readonly string[];
  readonly left?: ReadonlySet<number>;
};

/** @returns the batch that can be committed; null: nothing was started at all */
export function withoutUntouched<R extends Result>(batch: Batch, result: R): Touched<R> | null {
  if (!result.states.includes(CELL.TODO))
    return { batch, result, started: batch.events, whole: true };
  const entries = touchedEntries(batch, result.states);
  const { retryEvents } = batch;
  if (entries === 0 && result.states.subarray(0, retryEvents).every((state) => state === CELL.TODO))
    return null;
  const last = batch.entries[entries - 1];
  const events = last ? (batch.firsts[entries - 1] as number) + last.count : retryEvents;
  const started = result.states.reduce((sum, state) => sum + (state === CELL.TODO ? 0 : 1), 0);
  const states = result.states.slice(0, events);
  const failures = [...result.failures];
  const blocked = [...result.blocked];
  const deadEntries = [...result.deadEntries];
  const left = new Set<number>();
  // A retried event that was not started waits in its parked list.
  for (let i = 0; i < retryEvents; i++)
    if (states[i] === CELL.TODO) moveTo(states, i, CELL.BLOCKED);
  for (let entry = 0; entry < entries; entry++) {
    const first = batch.firsts[entry] as number;
    const { count } = batch.entries[entry] as StreamEntry;
    if (!states.subarray(first, first + count).includes(CELL.TODO)) continue;
    const refs = refsOf(batch, entry);
    if (!Array.isArray(refs)) {
      deadEntries.push(refs);
      states.fill(CELL.FAILED, first, first + count);
      continue;
    }
    for (const { ref, problem } of refs) {
      if (states[ref.index] !== CELL.TODO) continue;
      if (problem) {
        // The event has no readable subject to wait behind, or no id: it is dead whenever it runs.
        moveTo(states, ref.index, CELL.FAILED);
        failures.push({
          ref,
          error: { name: problem.name, message: problem.message, stack: '' },
          retryable: false,
          reason: problem.reason,
        });
        continue;
      }
      moveTo(states, ref.index, CELL.BLOCKED);
      blocked.push(ref);
      left.add(ref.index);
    }
  }
  return {
    batch: {
      ...batch,
      entries: batch.entries.slice(0, entries),
      firsts: batch.firsts.slice(0, entries),
      events,
    },
    result: {
      ...result,
      states,
      failures,
      blocked,
      deadEntries,
      left,
      ...(result.ids ? { ids: result.ids.slice(0, events) } : {}),
    },
    started,
    whole: false,
  };
}

/**
 * Counts the entries from the first to the last one with a started event. Entries of one flush stay
 * together.
 */
function touchedEntries({ entries, firsts }: Batch, states: Uint8Array): number {
  let end = entries.length;
  for (; end > 0; end--) {
    const first = firsts[end - 1] as number;
    const own = states.subarray(first, first + (entries[end - 1] as StreamEntry).count);
    if (own.some((state) => state !== CELL.TODO && state !== CELL.SKIP)) break;
  }
  if (end === 0) return 0;
  while (entries[end]?.id === entries[end - 1]?.id) end++;
  return end;
}

/** Finds an entry's events, or the problem of the entry: then none of its events can have run. */
function refsOf(
  batch: Batch,
  entry: number,
): { readonly ref: EventRef; readonly problem: EnvelopeError | null }[] | DeadEntry {
  const { bytes, crc, count } = batch.entries[entry] as StreamEntry;
  const refs: { readonly ref: EventRef; readonly problem: EnvelopeError | null }[] = [];
  try {
    if (bytes.length === 0)
      throw new CorruptDataError(
        'missing',
        'the entry has no bytes: deleted or trimmed while it was pending, or added without a field "b"',
      );
    checkBatch(bytes, crc);
    walkBatch(bytes, (header) => {
      const { offset, length, position, index } = header;
      const [id, subject] = [nameOr('id', header.id), nameOr('subject', header.subject)];
      const ref = {
        index: (batch.firsts[entry] as number) + index,
        entry,
        indexInEntry: index,
        offset,
        length,
        position,
        id,
        subject,
      };
      refs.push({ ref, problem: envelopeProblem(header) });
    });
    if (refs.length !== count)
      throw new CorruptDataError(
        'count',
        `it holds ${refs.length} events, its field "n" says ${count}`,
      );
    return refs;
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return { entry, reason: error.reason, message: error.message };
  }
}
