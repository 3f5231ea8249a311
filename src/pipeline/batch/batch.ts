/** The batch of one turn of a lane, and its form as a task for a pool thread. */
import type { BatchTask, EntryTable, RetryItem } from '../../core/thread-protocol.ts';
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

/** Circumstances of one run of a batch. */
export interface RunOf {
  /** States of an earlier run: an event that is SKIP there does not run. Null: all run. */
  readonly skip: Uint8Array | null;
  /** Subjects whose stream events must not run. */
  readonly blocked: readonly string[];
  readonly isolate: boolean;
  /** Effects of earlier runs. */
  readonly caused: readonly Uint8Array[];
}

/** A batch on its way to a thread. */
export interface PreparedBatch {
  readonly batch: Batch;
  readonly run: RunOf;
  readonly cells: ProgressCells;
}

export function prepareBatch(batch: Batch, run: RunOf): PreparedBatch {
  const { skip } = run;
  const cells = createCells(batch.events);
  if (skip) {
    for (let i = 0; i < batch.events; i++)
      if (skip[i] === CELL.SKIP) moveTo(cells.states, i, CELL.SKIP);
  }
  return { batch, run, cells };
}

/**
 * Copies the bytes of batches that travel together into one buffer, to be transferred. An entry
 * that several functions have taken together is copied once. The batches keep the originals, for
 * parking, for dead letters, and for a second run after a thread's death.
 */
export function packBatches(prepared: readonly PreparedBatch[]): readonly BatchTask[] {
  const space = new TaskSpace(prepared);
  return prepared.map(({ batch, run, cells }) => ({
    kind: 'batch',
    fn: batch.fn,
    partition: batch.partition,
    buffer: space.buffer,
    retries: batch.retries.flatMap(({ records }, unit) =>
      records.map((record): RetryItem => ({
        unit,
        offset: space.put(record),
        length: record.length,
      })),
    ),
    entries: tableOf(batch, space),
    types: batch.types,
    blocked: run.blocked,
    events: batch.events,
    cells: cells.shared,
    isolate: run.isolate,
    rows: batch.rows && {
      offset: space.put(batch.rows),
      length: batch.rows.length,
      added: batch.newRows,
    },
    caused: run.caused,
  }));
}

function tableOf({ entries, firsts }: Batch, space: TaskSpace): EntryTable {
  const ids: string[] = [];
  const numbers: number[] = [];
  entries.forEach(({ id, type, bytes, count, crc }, i) => {
    ids.push(id);
    const offset = space.putShared(bytes);
    numbers.push(type, offset, bytes.length, count, firsts[i] as number);
    numbers.push(crc === null ? 0 : 1, crc ?? 0);
  });
  return { ids, numbers };
}

/** The buffer of batches that travel together. */
class TaskSpace {
  readonly buffer: ArrayBuffer;
  readonly #target: Buffer;
  /** Places of entries; null: there is one batch, and no entry twice. */
  readonly #places: Map<Buffer, number> | null;
  #at = 0;

  constructor(prepared: readonly PreparedBatch[]) {
    this.#places = prepared.length > 1 ? new Map() : null;
    let bytes = 0;
    for (const { batch } of prepared) {
      bytes += batch.bytes;
      if (!this.#places) continue;
      for (const { bytes: shared } of batch.entries) {
        if (this.#places.has(shared)) bytes -= shared.length;
        else this.#places.set(shared, -1);
      }
    }
    this.buffer = new ArrayBuffer(bytes);
    this.#target = Buffer.from(this.buffer);
  }

  put(bytes: Buffer): number {
    const at = this.#at;
    this.#at += bytes.copy(this.#target, at);
    return at;
  }

  putShared(bytes: Buffer): number {
    if (!this.#places) return this.put(bytes);
    const known = this.#places.get(bytes) as number;
    if (known >= 0) return known;
    const at = this.put(bytes);
    this.#places.set(bytes, at);
    return at;
  }
}
