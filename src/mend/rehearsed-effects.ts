/** Writes that a rehearsal has caught: rows of a view, and emitted events. */
import type { Emitted } from '../core/emitted.ts';
import type { Batch } from '../pipeline/batch/batch.ts';
import { walkBatch, readEvent } from '../wire/batch-reader.ts';
import type { EventHeader } from '../wire/event-header.ts';
import { PackReader } from '../wire/message-pack.ts';
import { readRowEffects } from '../wire/row-effects.ts';
import { readStoredRow } from '../wire/view-row.ts';
import { differencesOf, type Differences } from './field-differences.ts';

/** A row of a view that the event would have written. */
export interface RehearsedRow {
  readonly id: string;
  /** Undefined: there is no such row. */
  readonly before: unknown;
  readonly after: unknown;
  readonly differences: Differences;
  /** Events folded into the row before and after. */
  readonly eventsBefore: number;
  readonly eventsAfter: number;
}

/** An event that would have been emitted. */
export interface RehearsedEmit {
  readonly type: string;
  readonly id: string;
  readonly subject: string;
  readonly partition: number;
  /** Null: at once. Else ms from the commit, or a time as ms since 1970. */
  readonly when: { readonly kind: 'delay' | 'time'; readonly ms: number } | null;
  /** Data as JSON. Undefined: it cannot be read, see `problem`. */
  readonly data?: unknown;
  readonly problem?: string;
}

/** Decodes the data of an emitted event. */
type Decode = (type: string, bytes: Buffer, header: EventHeader) => unknown;

/** @param batch the batch with the rows that were loaded */
export function rehearsedRows(batch: Batch, effects: readonly Uint8Array[]): RehearsedRow[] {
  const ids: string[] = [];
  const before = new Map<string, string>();
  if (batch.rows && batch.rows.length > 0) {
    for (const reader = new PackReader(batch.rows); reader.left > 0;) {
      const id = reader.text();
      ids.push(id);
      before.set(id, reader.text());
    }
  }
  ids.push(...batch.newRows);
  const after = new Map<string, string>();
  for (const block of effects)
    readRowEffects(block, (key, stored) => void after.set(ids[key - 1] as string, stored));
  return [...after].map(([id, stored]) => {
    const [old, now] = [rowOf(before.get(id) ?? ''), rowOf(stored)];
    return {
      id,
      before: old?.row,
      after: now?.row,
      differences: differencesOf(old?.row, now?.row),
      eventsBefore: old?.rev ?? 0,
      eventsAfter: now?.rev ?? 0,
    };
  });
}

/** Undefined: there is no row, or its bytes are none. Such a row fails the event. */
function rowOf(stored: string): ReturnType<typeof readStoredRow> | undefined {
  if (stored === '') return undefined;
  try {
    return readStoredRow(stored);
  } catch {
    return undefined;
  }
}

/**
 * Reads the events of emitted blocks (src/core/emitted.ts).
 * @param own partition of the event that emitted them
 */
export function rehearsedEmits(
  emitted: readonly Emitted[],
  own: number,
  decode: Decode,
): RehearsedEmit[] {
  const out: RehearsedEmit[] = [];
  const add = (
    type: string,
    bytes: Buffer,
    header: EventHeader,
    place: Pick<RehearsedEmit, 'partition' | 'when'>,
  ): void => {
    const { id, subject } = header;
    out.push({ type, id, subject, ...place, ...dataOf(() => decode(type, bytes, header)) });
  };
  for (const { block } of emitted) {
    const reader = new PackReader(block);
    while (reader.left > 0) {
      const target = reader.uint();
      const partition = target === 0 ? own : target - 1;
      reader.uint();
      for (let types = reader.uint(); types > 0; types--) {
        const type = reader.text();
        reader.uint();
        reader.uint();
        const bytes = reader.raw();
        walkBatch(bytes, (header) => add(type, bytes, header, { partition, when: null }));
      }
      for (let events = reader.uint(); events > 0; events--) {
        reader.text();
        const kind = reader.text() === '1' ? 'delay' : 'time';
        const ms = Number(reader.text());
        const type = reader.text();
        const bytes = reader.raw();
        add(type, bytes, readEvent(bytes), { partition, when: { kind, ms } });
      }
    }
  }
  return out;
}

function dataOf(decode: () => unknown): Pick<RehearsedEmit, 'data' | 'problem'> {
  try {
    return { data: decode() };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}
