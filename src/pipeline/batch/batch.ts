import type { BatchTask, EntryItem, RetryItem } from '../../core/thread-protocol.ts';
import { CELL, createCells, type ProgressCells } from '../../core/progress-cells.ts';

/** One stream entry a lane has taken. */
export interface StreamEntry {
  readonly id: string;
  /** Index into the function's types. */
  readonly type: number;
  readonly bytes: Buffer;
  readonly n: number | null;
  readonly crc: number | null;
  /** Events in it, as far as is known without decoding: `n`, else counted, else 1. */
  readonly count: number;
  /** It was pending, but the stream no longer has it: somebody trimmed or deleted it. */
  readonly gone: boolean;
}

/** A parked list whose retry is due, with the records to run now. */
export interface RetryUnit {
  readonly unit: string;
  readonly records: readonly Buffer[];
  /** Run alone: the last attempt killed its thread. */
  readonly isolate: boolean;
  /** Nothing has failed in it: its head was only not started in its turn. Default false. */
  readonly fresh?: boolean;
}

/** What one turn of a lane runs. Event indices: retried records first, then the entries' events. */
export interface Batch {
  readonly fn: string;
  readonly partition: number;
  readonly types: readonly string[];
  readonly entries: readonly StreamEntry[];
  readonly retries: readonly RetryUnit[];
  readonly retryEvents: number;
  readonly events: number;
  readonly bytes: number;
  /** First event index of each entry. */
  readonly firsts: readonly number[];
  /** Keys its effects name by their number, from 1. Empty for functions that have none. */
  readonly effectKeys: readonly string[];
  /** Of a view: the rows its events are folded onto, packed by load-rows.lua. */
  readonly rows: Buffer | null;
  /**
   * Of a view: ids of rows that are known not to be there yet. Their keys come behind those of
   * `rows`.
   */
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
 * Copies a batch's bytes into one buffer to be transferred; the batch keeps the originals, for
 * parking, dead letters and a second run after a thread's death.
 *
 * @param skip states of an earlier run: what is SKIP there is not run
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
    for (let i = 0; i < batch.events; i++) if (skip[i] === CELL.SKIP) cells.states[i] = CELL.SKIP;
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
