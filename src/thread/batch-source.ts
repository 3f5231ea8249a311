/**
 * Reads a batch's events one at a time, in order: first the retried records, then the entries by
 * id. Within one flush (entries with the same id), events are ordered by position across the types.
 *
 * Events are read lazily. Then a few hundred events are alive instead of all events of a batch.
 * They die young, and the collector has nothing to copy. Decoding a batch at once took twice the
 * time of running it.
 */
import { entryAt, type BatchTask, type DeadEntry } from '../core/thread-protocol.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { CELL } from '../core/progress-cells.ts';
import type { Catalog } from '../wire/catalog.ts';
import { BatchCursor, readEvent } from '../wire/batch-reader.ts';
import { envelopeProblem } from '../wire/envelope-problem.ts';
import { decodeParked } from '../wire/parked.ts';
import type { EntryChecks } from './entry-checks.ts';
import { noteEvent } from './late-failures.ts';
import { EventView, RunningEvent, type EventOrigin } from './running-event.ts';

/** An entry that is being read. */
interface OpenEntry extends EventOrigin {
  readonly cursor: BatchCursor;
  /** Index of the entry's first event. */
  readonly first: number;
  /** Number of events read so far. */
  inEntry: number;
  head: RunningEvent | null;
}

export interface SourceParts {
  readonly catalog: Catalog;
  readonly checks: EntryChecks;
}

export class BatchSource {
  readonly deadEntries: DeadEntry[] = [];
  readonly #task: BatchTask;
  readonly #bytes: Buffer;
  readonly #states: Uint8Array;
  readonly #catalog: Catalog;
  readonly #checks: EntryChecks;
  #retry = 0;
  #entry = 0;
  /** Entries of the flush that is being read: mostly one. */
  #open: OpenEntry[] = [];

  constructor(task: BatchTask, bytes: Buffer, states: Uint8Array, parts: SourceParts) {
    this.#task = task;
    this.#bytes = bytes;
    this.#states = states;
    this.#catalog = parts.catalog;
    this.#checks = parts.checks;
  }

  /** Returns the next event that is to be run; null: the end. */
  next(): RunningEvent | null {
    for (;;) {
      const event =
        this.#retry < this.#task.retries.length ? this.#nextRetry() : this.#nextOfFlush();
      if (event === null) return null;
      if (this.#states[event.index] === CELL.SKIP) continue;
      noteEvent(event.view.id);
      return event;
    }
  }

  /**
   * Skips the rest of a retried unit, of which an event failed. The rest stays parked without being
   * read.
   */
  holdUnit(index: number): void {
    const { retries } = this.#task;
    const unit = retries[index]?.unit;
    for (; this.#retry < retries.length && retries[this.#retry]?.unit === unit; this.#retry++) {
      if (this.#states[this.#retry] !== CELL.SKIP) this.#states[this.#retry] = CELL.BLOCKED;
    }
  }

  #nextRetry(): RunningEvent {
    const index = this.#retry++;
    const { offset, length } = this.#task.retries[index] as BatchTask['retries'][number];
    const record = decodeParked(this.#bytes.subarray(offset, offset + length));
    const header = readEvent(record.event, record.batchSource);
    const problem = envelopeProblem(header);
    const origin: EventOrigin = {
      typeName: record.type,
      type: null,
      partition: this.#task.partition,
      entryId: record.entryId,
      entry: -1,
      // The event's bytes are part of the record's bytes, so the payload needs no second copy.
      base: record.event.byteOffset - this.#bytes.byteOffset,
      attempt: record.attempts + 1,
    };
    const view = new EventView(header, problem === null, origin, record.position);
    const event = new RunningEvent(view, header, origin, index, record.index);
    event.envelope = problem;
    return event;
  }

  #nextOfFlush(): RunningEvent | null {
    for (;;) {
      let best: OpenEntry | null = null;
      for (const open of this.#open) {
        if (
          open.head !== null &&
          (best === null || open.head.view.place < (best.head as RunningEvent).view.place)
        )
          best = open;
      }
      if (best !== null) {
        const event = best.head as RunningEvent;
        best.head = this.#read(best);
        return event;
      }
      if (this.#entry >= this.#task.entries.ids.length) return null;
      this.#openFlush();
    }
  }

  /** Opens all entries with the next id. */
  #openFlush(): void {
    this.#open = [];
    const { entries } = this.#task;
    const id = entries.ids[this.#entry];
    while (this.#entry < entries.ids.length && entries.ids[this.#entry] === id) {
      const at = this.#entry++;
      const item = entryAt(entries, at);
      try {
        const bytes = this.#bytes.subarray(item.offset, item.offset + item.length);
        this.#checks.check(item, bytes);
        const typeName = this.#task.types[item.type] as string;
        const open: OpenEntry = {
          typeName,
          type: this.#catalog.types.get(typeName) ?? null,
          partition: this.#task.partition,
          entryId: item.id,
          entry: at,
          base: item.offset,
          attempt: 1,
          cursor: new BatchCursor(bytes),
          first: item.first,
          inEntry: 0,
          head: null,
        };
        open.head = this.#read(open);
        this.#open.push(open);
      } catch (error) {
        if (!(error instanceof CorruptDataError)) throw error;
        this.deadEntries.push({ entry: at, reason: error.reason, message: error.message });
        this.#states.fill(CELL.FAILED, item.first, item.first + item.count);
      }
    }
  }

  #read(open: OpenEntry): RunningEvent | null {
    if (!open.cursor.advance()) return null;
    const header = open.cursor.event;
    const problem = envelopeProblem(header);
    const view = new EventView(header, problem === null, open, header.position);
    const inEntry = open.inEntry++;
    const event = new RunningEvent(view, header, open, open.first + inEntry, inEntry);
    event.envelope = problem;
    return event;
  }
}
