/**
 * Reads the rows that a view's batch is folded onto, in one round trip before the batch runs. Only
 * the lane's owner writes these rows, turn by turn: a commit of anybody else is refused.
 *
 * A lane that found the generation empty therefore knows which rows may exist. It does not ask
 * Redis for the others. A rebuild gains most: each of its rows is new once.
 */
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { ALL_ROWS, type ViewSpec } from '../../core/view-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { nameOr } from '../../wire/envelope-problem.ts';
import { walkSubjects } from '../../wire/batch-reader.ts';
import { PackWriter } from '../../wire/message-pack.ts';
import type { Batch } from '../batch/batch.ts';
import { RowFilter } from './row-filter.ts';

const script = defineScript({ url: new URL('./load-rows.lua', import.meta.url), keys: 'variable' });
const NO_ROWS = Buffer.alloc(0);

/** Loads the rows of one lane. Made anew for each lease. */
export class RowLoader {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #indexKeys: readonly string[];
  /** The rows that may exist. Null: any may. Undefined: not known yet. */
  #filter: RowFilter | null | undefined = undefined;

  constructor(
    connection: RedisConnection,
    keys: Keys,
    partition: number,
    generation: string,
    view: ViewSpec,
  ) {
    this.#connection = connection;
    this.#prefix = keys.viewRow(partition, generation, '');
    this.#indexKeys = [ALL_ROWS, ...view.indexes].map((index) =>
      keys.viewIndex(partition, generation, index),
    );
  }

  /**
   * Returns the batch with its rows, and with the keys that it may write: rows, then indexes. The
   * index of all rows comes first among these.
   *
   * @param anew whether Redis has gone back in time: other rows may exist now
   */
  async load(batch: Batch, anew: boolean): Promise<Batch> {
    if (anew) this.#filter = undefined;
    const subjects = subjectsOf(batch);
    if (subjects.size === 0) return batch;
    if (this.#filter === undefined)
      this.#filter =
        Number(await this.#connection.command('EXISTS', this.#indexKeys[0] as string)) === 0
          ? new RowFilter()
          : null;
    const effectKeys: string[] = [];
    const newRows: string[] = [];
    // The filter learns of a row before the row is written. A turn that runs again then asks Redis
    // for the rows that it may have written.
    for (const id of subjects) {
      if (this.#filter === null || this.#filter.add(id)) effectKeys.push(this.#prefix + id);
      else newRows.push(id);
    }
    if (this.#filter?.full) this.#filter = null;
    const rows =
      effectKeys.length === 0
        ? NO_ROWS
        : ((await script.runBuffer(this.#connection, effectKeys, [
            Buffer.byteLength(this.#prefix),
          ])) as Buffer);
    for (const id of newRows) effectKeys.push(this.#prefix + id);
    effectKeys.push(...this.#indexKeys);
    return { ...batch, rows, newRows, bytes: batch.bytes + rows.length, effectKeys };
  }
}

/**
 * Returns the batch, to be folded onto these rows, and no others. Nothing may write its effects.
 * @param rows by id, in their stored form
 */
export function withRows(batch: Batch, rows: ReadonlyMap<string, string>): Batch {
  const newRows = [...subjectsOf(batch)].filter((id) => !rows.has(id));
  if (rows.size === 0) return { ...batch, rows: NO_ROWS, newRows };
  const out = new PackWriter();
  for (const [id, stored] of rows) {
    out.text(id);
    out.text(stored);
  }
  const packed = Buffer.from(out.finish());
  return { ...batch, rows: packed, newRows, bytes: batch.bytes + packed.length };
}

/**
 * Returns the subjects of the batch's events, which are the ids of rows. An entry that cannot be
 * decoded needs no row: the thread dead-letters it.
 */
function subjectsOf(batch: Batch): Set<string> {
  const subjects = new Set<string>();
  for (const { unit, records } of batch.retries)
    if (records.length > 0 && unit !== '') subjects.add(unit);
  for (const { bytes } of batch.entries) {
    try {
      walkSubjects(bytes, (subject) => {
        if (nameOr('subject', subject) !== '') subjects.add(subject);
      });
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
    }
  }
  return subjects;
}
