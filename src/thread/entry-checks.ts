/**
 * Checks entries as a whole, before any of their events runs: checksum, framing, number of events.
 *
 * Batches of several functions in one message share its buffer, and mostly read the same entries.
 * Each entry is checked once a message.
 */
import type { EntryItem } from '../core/thread-protocol.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { checkBatch, scanBatch } from '../wire/batch-reader.ts';

/** The checks of one message's batches. */
export class EntryChecks {
  /** Findings by the entry's offset in the buffer; null where batches share no entries. */
  readonly #findings: Map<number, CorruptDataError | null> | null;

  /** @param shared whether several batches are in the buffer */
  constructor(shared: boolean) {
    this.#findings = shared ? new Map() : null;
  }

  /** @throws CorruptDataError */
  check(item: EntryItem, bytes: Buffer): void {
    // An entry without bytes has the place of the next one.
    if (item.length === 0) return check(item, bytes);
    const known = this.#findings?.get(item.offset);
    if (known === null) return;
    const finding = known ?? problemOf(item, bytes);
    this.#findings?.set(item.offset, finding);
    if (finding) throw finding;
  }
}

function problemOf(item: EntryItem, bytes: Buffer): CorruptDataError | null {
  try {
    check(item, bytes);
    return null;
  } catch (error) {
    if (error instanceof CorruptDataError) return error;
    throw error;
  }
}

/** @throws CorruptDataError */
function check(item: EntryItem, bytes: Buffer): void {
  if (item.length === 0) {
    throw new CorruptDataError(
      'missing',
      'the entry has no bytes: deleted or trimmed while it was pending, or added without a field "b"',
    );
  }
  checkBatch(bytes, item.crc);
  const count = scanBatch(bytes);
  if (count !== item.count) {
    throw new CorruptDataError(
      'count',
      count === 0
        ? 'it holds no event'
        : `it holds ${count} events, its field "n" says ${item.count}`,
    );
  }
}
