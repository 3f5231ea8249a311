/**
 * Finds a batch's events by their index. Retried records come first, then the entries' events.
 *
 * The locator decodes envelopes in the dispatcher's thread. It is therefore used for few events:
 * after the death of a thread, of retries, and in a search for an event that kills dispatchers.
 */
import type { EventRef } from '../../core/thread-protocol.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { readEvent, walkBatch } from '../../wire/batch-reader.ts';
import { decodeParked } from '../../wire/parked.ts';
import type { Batch, RetryUnit, StreamEntry } from '../batch/batch.ts';

/** Place of a retried event: its unit in `batch.retries`, and its record in that unit. */
interface RetryPlace {
  readonly unit: number;
  readonly record: number;
}

export class EventLocator {
  readonly #batch: Batch;
  /** Places of the retried events, by event index. */
  readonly #retries: RetryPlace[] = [];

  constructor(batch: Batch) {
    this.#batch = batch;
    batch.retries.forEach(({ records }, unit) => {
      for (let record = 0; record < records.length; record++) this.#retries.push({ unit, record });
    });
  }

  /** Index in `batch.retries` of a retried event's unit; -1: the event came with an entry. */
  unitOf(index: number): number {
    return this.#retries[index]?.unit ?? -1;
  }

  /**
   * Returns the parked record of a retried event.
   * @throws RangeError when the event is no retry
   */
  recordOf(index: number): Buffer {
    const place = this.#retries[index];
    if (!place) throw new RangeError(`event ${index} is not a retry`);
    return (this.#batch.retries[place.unit] as RetryUnit).records[place.record] as Buffer;
  }

  /** @throws CorruptDataError, RangeError when the entry cannot be read, or has fewer events */
  refOf(index: number): EventRef {
    return index < this.#batch.retryEvents ? this.#retryOf(index) : this.#inEntry(index);
  }

  /**
   * Returns the address of an event: `type entry-id/index in the entry`. It is the same for a first
   * run and for a retry. The type is needed, because the entries of one flush have the same id in
   * all streams.
   */
  addressOf(index: number): string {
    const { entry, indexInEntry } = this.refOf(index);
    if (entry < 0) {
      const { type, entryId } = decodeParked(this.recordOf(index));
      return `${type} ${entryId}/${indexInEntry}`;
    }
    const { type, id } = this.#batch.entries[entry] as StreamEntry;
    return `${this.#batch.types[type] as string} ${id}/${indexInEntry}`;
  }

  /** Indexes of all events but those of entries that cannot be taken apart. */
  locatable(): number[] {
    const out: number[] = [];
    for (let index = 0; index < this.#batch.events; index++) {
      try {
        this.refOf(index);
        out.push(index);
      } catch (error) {
        if (!(error instanceof CorruptDataError || error instanceof RangeError)) throw error;
      }
    }
    return out;
  }

  /** Sorts events as functions see them: within a flush by position, across the types' entries. */
  inOrder(indexes: readonly number[]): number[] {
    return indexes
      .map((index) =>
        index < this.#batch.retryEvents
          ? { index, flush: index, position: 0 }
          : { index, flush: this.#flushOf(index), position: this.refOf(index).position },
      )
      .sort((a, b) => a.flush - b.flush || a.position - b.position || a.index - b.index)
      .map(({ index }) => index);
  }

  /** Index of the first event of the flush that brought the event. */
  #flushOf(index: number): number {
    const { entries, firsts } = this.#batch;
    let entry = this.#entryOf(index);
    while (entry > 0 && entries[entry - 1]?.id === entries[entry]?.id) entry--;
    return firsts[entry] as number;
  }

  #entryOf(index: number): number {
    const { entries, firsts } = this.#batch;
    let entry = entries.length - 1;
    while ((firsts[entry] as number) > index) entry--;
    return entry;
  }

  #retryOf(index: number): EventRef {
    const bytes = this.recordOf(index);
    const record = decodeParked(bytes);
    const { id, subject } = readEvent(record.event);
    return {
      index,
      entry: -1,
      indexInEntry: record.index,
      offset: 0,
      length: bytes.length,
      position: record.position,
      id,
      subject,
    };
  }

  #inEntry(index: number): EventRef {
    const entry = this.#entryOf(index);
    const wanted = index - (this.#batch.firsts[entry] as number);
    let found: EventRef | null = null;
    let at = 0;
    walkBatch((this.#batch.entries[entry] as StreamEntry).bytes, (header) => {
      if (at++ !== wanted) return;
      const { offset, length, position, id, subject } = header;
      found = { index, entry, indexInEntry: wanted, offset, length, position, id, subject };
    });
    if (!found) throw new RangeError(`event ${index} is not in its entry`);
    return found;
  }
}
