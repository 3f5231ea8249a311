/**
 * Folds a batch's events onto the rows that came with it. Packs the results: rows to be written,
 * index entries to be added and removed.
 *
 * There are two ways.
 *
 * Hopeful: each row becomes text, and its index values are computed, once, when all its events are
 * folded. After an error, the state of the object that evolve was given is unknown, and so is the
 * event to blame. Then the run is in doubt: its results are discarded, and the batch is folded
 * again from the stored rows. That is right because a fold depends only on its arguments.
 *
 * Careful: a row becomes text after each event. After a failure the fold returns to the last text.
 * An oversize row or a bad index value is charged to the event that made it.
 */
import { CorruptDataError, UnreadableRowError } from '../core/errors/data-errors.ts';
import { OversizeError } from '../core/errors/input-errors.ts';
import { STEP, STEP_OPERANDS } from '../core/effects.ts';
import { compareEntryIds } from '../core/position.ts';
import { textProblem } from '../core/well-formed.ts';
import type { ViewCode } from '../define/view-code.ts';
import { PackReader, PackWriter } from '../wire/message-pack.ts';
import { describe, emptiedByJson } from '../wire/plain-value.ts';
import { readRowEffects } from '../wire/row-effects.ts';
import {
  INDEX_VALUE_BYTES,
  memberBound,
  NOT_UTF8,
  readStoredRow,
  sameEntry,
  writeMember,
  type IndexEntry,
  type StoredRow,
} from '../wire/view-row.ts';
import type { EventView, RunningEvent } from './running-event.ts';

/** A row of the batch. */
interface OpenRow {
  readonly id: string;
  /** Number of the row's key. */
  readonly key: number;
  /** Text in Redis when this round's effects are written; '': no row. */
  readonly storedText: string;
  readonly stored: StoredRow | null;
  /**
   * JSON of the row after the last folded event; null: no row; undefined: as stored, or not yet
   * made (hopeful).
   */
  text: string | null | undefined;
  row: unknown;
  /** Whether `row` equals `text`. */
  fresh: boolean;
  /** Last folded event, where the row differs from the stored one: the future `at`. */
  entryId: string;
  place: number;
  rev: number;
  ix: readonly IndexEntry[];
  changed: boolean;
}

/** Ways of folding, described at the top of this file. */
export type FoldWay = 'hopeful' | 'careful';

/** Rows of a batch before its events. */
export interface BatchRows {
  /**
   * List of id, stored row. The number of a row's key is its place in the list. May be empty bytes.
   */
  readonly stored: Uint8Array;
  /** Ids of rows that are not stored. Their keys follow those of the stored rows. */
  readonly added: readonly string[];
  /** Effects of the batch's earlier rounds on these rows. */
  readonly caused: readonly Uint8Array[];
}

const NO_ENTRIES: readonly IndexEntry[] = [];

export class ViewRun {
  readonly #code: ViewCode;
  readonly #name: string;
  /** Rows by id. A row that is not yet opened has its stored text; null: the bytes are no text. */
  readonly #rows = new Map<
    string,
    OpenRow | { readonly key: number; readonly stored: string | null }
  >();
  readonly #changed: OpenRow[] = [];
  readonly #way: FoldWay;
  #doubtful = false;

  constructor(name: string, code: ViewCode, way: FoldWay, { stored, added, caused }: BatchRows) {
    this.#name = name;
    this.#way = way;
    this.#code = code;
    const ids: string[] = [];
    for (
      const reader = stored.length > 0 ? new PackReader(stored) : null;
      reader !== null && reader.left > 0;
    ) {
      const id = reader.text();
      ids.push(id);
      this.#rows.set(id, { key: ids.length, stored: reader.strictText() });
    }
    for (const id of added) this.#rows.set(id, openRow(id, ids.push(id), ''));
    for (const block of caused)
      readRowEffects(
        block,
        (key, stored) => void this.#rows.set(ids[key - 1] as string, { key, stored }),
      );
  }

  /** Whether the hopeful way met an error: no result of this run may be used. */
  get doubtful(): boolean {
    return this.#doubtful;
  }

  /**
   * Folds an event.
   * @throws any error of evolve; TypeError, OversizeError for a value that cannot be a row. The row
   *   is then as before, or the run is in doubt.
   * @throws UnreadableRowError: the stored bytes are no row. The run is not in doubt then, because
   *   nothing was folded
   */
  fold(event: RunningEvent): void {
    const row = this.#open(event.view.subject);
    // A stream delivers each event once, in order. If it does not (a group that was set back by
    // hand), the row tells what was folded. Parked events come later than their place, and were not
    // folded then. Within the batch the events are in order.
    if (!row.changed && event.entry >= 0 && row.stored !== null && !isBehind(event, row.stored.at))
      return;
    if (this.#way === 'careful') this.#foldCarefully(row, event.view);
    else this.#foldHopefully(row, event.view);
    // Revisions count from the event that made the row, over all batches.
    row.rev = row.row === null ? 0 : row.rev + 1;
    if (event.entry >= 0 || row.stored === null || isBehind(event, row.stored.at)) {
      row.entryId = event.entryId;
      row.place = event.view.place;
    }
    if (!row.changed) {
      row.changed = true;
      this.#changed.push(row);
    }
  }

  #foldHopefully(row: OpenRow, view: EventView): void {
    try {
      const next: unknown = this.#code.evolve(row.row, view);
      if (next !== null) this.#check(next);
      row.row = next;
    } catch (error) {
      this.#doubtful = true;
      throw error;
    }
  }

  #foldCarefully(row: OpenRow, view: EventView): void {
    if (!row.fresh)
      row.row =
        row.text === undefined
          ? (parseStored(row.storedText)?.row ?? null)
          : row.text === null
            ? null
            : JSON.parse(row.text);
    row.fresh = false;
    const next: unknown = this.#code.evolve(row.row, view);
    if (next !== null) this.#check(next);
    this.#keep(row, next);
    row.row = next;
    row.fresh = true;
  }

  /** Packs the row's text and index entries, or nothing of them. */
  #keep(row: OpenRow, next: unknown): void {
    const text = next === null ? null : this.#textOf(next);
    const ix =
      next === null
        ? NO_ENTRIES
        : this.#code.indexes.map(({ name, by, sort }) =>
            this.#entry(name, by(next as object), sort(next as object)),
          );
    row.text = text;
    row.ix = ix;
  }

  /**
   * Packs all rows, when all events are folded.
   * @returns false: in doubt
   */
  finish(): boolean {
    if (this.#way === 'careful' || this.#doubtful) return !this.#doubtful;
    try {
      for (const row of this.#changed) this.#keep(row, row.row);
    } catch {
      // The careful way finds the error again, and the event to blame.
      this.#doubtful = true;
    }
    return !this.#doubtful;
  }

  #open(id: string): OpenRow {
    const found = this.#rows.get(id);
    if (!found) throw new Error(`the row of ${id} was not loaded with the batch`);
    if ('id' in found) return found;
    try {
      if (found.stored === null) throw new CorruptDataError('decode', NOT_UTF8);
      const row = openRow(id, found.key, found.stored);
      this.#rows.set(id, row);
      return row;
    } catch (error) {
      throw new UnreadableRowError(
        this.#name,
        id,
        `…:view:${this.#name}:${id}`,
        (error as Error).message,
      );
    }
  }

  #check(next: unknown): void {
    if (typeof next !== 'object' || Array.isArray(next))
      throw new TypeError(
        `evolve of view "${this.#name}" must return the row as an object, or null: it returned ${next === undefined ? 'nothing' : typeof next}`,
      );
    if (typeof (next as { then?: unknown }).then === 'function')
      throw new TypeError(
        `evolve of view "${this.#name}" must not be async: a row follows from its events alone`,
      );
  }

  #textOf(next: unknown): string {
    const text = JSON.stringify(next);
    const emptied = emptiedByJson(next, text);
    if (emptied !== null) {
      const where = emptied.path === '' ? 'it' : `field ${emptied.path}`;
      throw new TypeError(
        `a row of view "${this.#name}": ${where} is ${emptied.what}: JSON cannot store it`,
      );
    }
    const { maxRowBytes } = this.#code;
    if (text.length * 3 > maxRowBytes) {
      const bytes = Buffer.byteLength(text);
      if (bytes > maxRowBytes)
        throw new OversizeError(
          `a row of view "${this.#name}"`,
          bytes,
          maxRowBytes,
          'Keep less in the row, or raise maxRowBytes',
        );
    }
    return text;
  }

  #entry(index: string, value: unknown, sort: unknown): IndexEntry {
    if (value === null || value === undefined) return null;
    if (typeof value === 'object' || typeof value === 'function' || typeof value === 'symbol')
      throw new TypeError(
        `index "${index}" of view "${this.#name}": by must give a text, number or boolean, not ${describe(value)}`,
      );
    const text = String(value);
    const unfit = textProblem(text);
    if (unfit !== null)
      throw new TypeError(
        `index "${index}" of view "${this.#name}": the text that by gives ${unfit}`,
      );
    if (text.length * 3 > INDEX_VALUE_BYTES && Buffer.byteLength(text) > INDEX_VALUE_BYTES) {
      throw new OversizeError(
        `a value of index "${index}" of view "${this.#name}"`,
        Buffer.byteLength(text),
        INDEX_VALUE_BYTES,
        'Index something shorter',
      );
    }
    const number = sort instanceof Date ? sort.getTime() : sort;
    if (typeof number !== 'number' || Number.isNaN(number))
      throw new TypeError(
        `index "${index}" of view "${this.#name}": sort must give a number or a Date, not ${String(number)}`,
      );
    // JSON has no infinity
    if (!Number.isFinite(number))
      throw new TypeError(`index "${index}" of view "${this.#name}": sort must be finite`);
    return [text, number];
  }

  /** Returns the packed effects, after finish(); null: nothing changed. */
  pack(): Uint8Array | null {
    const rows = this.#changed.filter((row) => row.text !== null || row.stored !== null);
    if (rows.length === 0) return null;
    let bytes = 1024;
    for (const row of rows) bytes += (row.text?.length ?? 0) + 200;
    const out = new PackWriter(bytes);
    const written = rows.filter((row) => typeof row.text === 'string');
    inSteps(written.length, STEP_OPERANDS / 2, (from, to) => {
      out.text(STEP.SET);
      out.uint(2 * (to - from));
      for (let i = from; i < to; i++) {
        const row = written[i] as OpenRow;
        out.uint(row.key);
        out.text(
          `{"row":${row.text as string},"at":"${row.entryId === '' ? (row.stored?.at ?? '') : `${row.entryId}/${row.place}`}","rev":${row.rev},"ix":${JSON.stringify(row.ix)}}`,
        );
      }
    });
    const deleted = rows.filter((row) => row.text === null);
    inSteps(deleted.length, STEP_OPERANDS, (from, to) => {
      out.text(STEP.DEL);
      out.uint(to - from);
      for (let i = from; i < to; i++) out.uint((deleted[i] as OpenRow).key);
    });
    const all = (exists: boolean): IndexEntry => (exists ? ['', 0] : null);
    const firstIndex = this.#rows.size + 1;
    packIndex(
      out,
      firstIndex,
      rows,
      (row) => all(row.stored !== null),
      (row) => all(row.text !== null),
    );
    for (let i = 0; i < this.#code.indexes.length; i++) {
      packIndex(
        out,
        firstIndex + 1 + i,
        rows,
        (row) => row.stored?.ix[i],
        (row) => row.ix[i],
      );
    }
    return out.finish();
  }
}

function openRow(id: string, key: number, storedText: string): OpenRow {
  const stored = parseStored(storedText);
  return {
    id,
    key,
    storedText,
    stored,
    text: undefined,
    row: stored?.row ?? null,
    fresh: true,
    entryId: '',
    place: 0,
    rev: stored?.rev ?? 0,
    ix: stored?.ix ?? NO_ENTRIES,
    changed: false,
  };
}

function parseStored(text: string): StoredRow | null {
  return text === '' ? null : readStoredRow(text);
}

/** Whether an event is after `at`, in stream order. */
function isBehind(event: RunningEvent, at: string): boolean {
  const slash = at.indexOf('/');
  const entryId = at.slice(0, slash);
  if (event.entryId === entryId) return event.view.place > Number(at.slice(slash + 1));
  return compareEntryIds(event.entryId, entryId) > 0;
}

interface Member {
  readonly entry: NonNullable<IndexEntry>;
  readonly id: string;
}

function packIndex(
  out: PackWriter,
  key: number,
  rows: readonly OpenRow[],
  before: (row: OpenRow) => IndexEntry | undefined,
  after: (row: OpenRow) => IndexEntry | undefined,
): void {
  const removed: Member[] = [];
  const added: Member[] = [];
  for (const row of rows) {
    const [old, now] = [before(row), after(row)];
    if (sameEntry(old, now)) continue;
    if (old) removed.push({ entry: old, id: row.id });
    if (now) added.push({ entry: now, id: row.id });
  }
  for (const [step, members] of [
    [STEP.REMOVE, removed],
    [STEP.ADD, added],
  ] as const) {
    inSteps(members.length, STEP_OPERANDS, (from, to) => {
      out.text(step);
      out.uint(1 + to - from);
      out.uint(key);
      for (let i = from; i < to; i++) {
        const { entry, id } = members[i] as Member;
        out.built(memberBound(entry, id), writeMember, entry, id);
      }
    });
  }
}

function inSteps(count: number, size: number, step: (from: number, to: number) => void): void {
  for (let from = 0; from < count; from += size) step(from, Math.min(count, from + size));
}
