/** The batch of one turn of a lane, and its form as a task for a pool thread. */
import type { BatchTask, EntryItem, RetryItem } from '../../core/thread-protocol.ts';
import { CELL, createCells, moveTo, type ProgressCells } from '../../core/progress-cells.ts';

/** One stream entry a lane has taken. */
export interface StreamEntry {
  readonly id: string;
  /** Index in the function's types. */
  readonly type: number;
  readonly bytes: Buffer;
  /** Number of events, as the producer wrote it. Null: the producer wrote none. */
  readonly n: number | null;
  /** Checksum, as the producer wrote it. Null: the producer wrote none. */
  readonly crc: number | null;
  /** Number of events, as far as is known without decoding: `n`, else counted, else 1. */
  readonly count: number;
  /** Whether the stream no longer has the pending entry: somebody trimmed or deleted it. */
  readonly gone: boolean;
}

/** A parked list whose retry is due, with the records to run now. */
export interface RetryUnit {
  readonly unit: string;
  readonly records: readonly Buffer[];
  /** Whether it runs alone: the last attempt killed its thread. */
  readonly isolate: boolean;
  /** Whether no attempt has failed: the head was only not started in its turn. Default false. */
  readonly fresh?: boolean;
}

/** Events of one turn. Their indices: retried records first, then the entries' events. */
export interface Batch {
  readonly fn: string;
  readonly partition: number;
  readonly types: readonly string[];
  readonly entries: readonly StreamEntry[];
  readonly retries: readonly RetryUnit[];
  readonly retryEvents: number;
  readonly events: number;
  readonly bytes: number;
  /** Index of the first event of each entry. */
  readonly firsts: readonly number[];
  /** Keys that effects name by number, from 1. Empty: the function has no effects on keys. */
  readonly effectKeys: readonly string[];
  /** Rows that a view's events are folded onto, packed by load-rows.lua. Null: no view. */
  readonly rows: Buffer | null;
  /** Ids of a view's rows that do not exist yet. Their keys follow those of `rows`. */
  readonly newRows: readonly string[];
}

export function createBatch(
  fn: string,
  partition: number,
  types: readonly string[],
  retries: readonly RetryUnit[],
  entries: readonly StreamEntry[],
): Batch {
  let events = 0;
  let bytes = 0;
  for (const unit of retries) {
    events += unit.records.length;
    for (const record of unit.records) bytes += record.length;
  }
  const retryEvents = events;
  const firsts: number[] = [];
  for (const entry of entries) {
    firsts.push(events);
    events += entry.count;
    bytes += entry.bytes.length;
  }
  return {
    fn,
    partition,
    types,
    entries,
    retries,
    retryEvents,
    events,
    bytes,
    firsts,
    effectKeys: [],
    rows: null,
    newRows: [],
  };
}

export interface PackedTask {
  readonly task: BatchTask;
  readonly cells: ProgressCells;
}

/**
 * Copies a batch's bytes into one buffer, which is transferred to the thread. The batch keeps the
 * originals: for parking, for dead letters, and for a second run after a thread's death.
 *
 * @param skip states of an earlier run: an event that is SKIP there does not run
 * @param blocked subjects whose stream events must not run
 * @param caused effects of earlier runs
 */
export function packBatch(
  batch: Batch,
  skip: Uint8Array | null,
  blocked: readonly string[],
  isolate: boolean,
  caused: readonly Uint8Array[] = [],
): PackedTask {
  const buffer = new ArrayBuffer(batch.bytes);
  const target = Buffer.from(buffer);
  let at = 0;
  const retries: RetryItem[] = [];
  for (let unit = 0; unit < batch.retries.length; unit++) {
    for (const record of (batch.retries[unit] as RetryUnit).records) {
      retries.push({ unit, offset: at, length: record.length });
      at += record.copy(target, at);
    }
  }
  const entries: EntryItem[] = [];
  for (let i = 0; i < batch.entries.length; i++) {
    const entry = batch.entries[i] as StreamEntry;
    entries.push({
      id: entry.id,
      type: entry.type,
      offset: at,
      length: entry.bytes.length,
      count: entry.count,
      first: batch.firsts[i] as number,
      n: entry.n,
      crc: entry.crc,
    });
    at += entry.bytes.copy(target, at);
  }
  const rows = batch.rows && { offset: at, length: batch.rows.length, added: batch.newRows };
  batch.rows?.copy(target, at);
  const cells = createCells(batch.events);
  if (skip) {
    for (let i = 0; i < batch.events; i++)
      if (skip[i] === CELL.SKIP) moveTo(cells.states, i, CELL.SKIP);
  }
  return {
    cells,
    task: {
      kind: 'batch',
      fn: batch.fn,
      partition: batch.partition,
      buffer,
      retries,
      entries,
      types: batch.types,
      blocked,
      events: batch.events,
      cells: cells.shared,
      isolate,
      rows,
      caused,
    },
  };
}
