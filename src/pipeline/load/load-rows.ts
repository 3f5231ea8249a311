/**
 * The rows a view's batch is folded onto, read in one round trip before it runs. Nobody else writes
 * them meanwhile: the lane's owner does, turn by turn, and a commit of anybody else is refused.
 *
 * So a lane that found the generation empty knows of which rows there can be any, and does not ask
 * for the others: all rows of a rebuild are new once.
 */
import { CorruptDataError } from '../../core/errors.ts';
import { ALL_ROWS, type ViewSpec } from '../../core/view-spec.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { nameOr } from '../../wire/envelope-problem.ts';
import { walkSubjects } from '../../wire/batch-reader.ts';
import type { Batch } from '../batch/batch.ts';
import { RowFilter } from './row-filter.ts';

const script = defineScript({ url: new URL('./load-rows.lua', import.meta.url), keys: 'variable' });
const NO_ROWS = Buffer.alloc(0);

/** Of one lane, made when it has its lease. */
export class RowLoader {
  readonly #connection: RedisConnection;
  readonly #prefix: string;
  readonly #indexKeys: readonly string[];
  /** Rows there may be. Null: any. Undefined: not known yet. */
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
   * The batch with its rows, and with the keys of all it may write: rows, then indexes (all rows
   * first).
   *
   * @param anew Redis has gone back in time: there may be rows again that were not
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
    // Noted before it is written: a turn that is run again asks for what it may have written.
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

/** The batch, to be folded onto no rows; nothing of it is to be written. */
export function withoutRows(batch: Batch): Batch {
  return { ...batch, rows: NO_ROWS, newRows: [...subjectsOf(batch)] };
}

/**
 * Subjects are the ids of rows. What cannot be taken apart the thread dead-letters: it needs no
 * row.
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
