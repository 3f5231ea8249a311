/**
 * Verifies a generation before it goes live. Its counts must add up. Some rows of each partition
 * must be in every index, and equal a fold of their histories.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import type { RedisSource } from '../redis/source.ts';
import { readLag, type FunctionLag } from '../lag/lag.ts';
import type { RedisConnection } from '../redis/contract.ts';
import { decodeStoredRow, indexMember, parseMember, type StoredRow } from '../wire/view-row.ts';
import type { ViewFold } from '../core/view-fold.ts';
import { indexSize, type Generation } from './generations.ts';
import { createRefold, type Refold } from './refold.ts';

export interface Verification {
  readonly events: number;
  readonly rows: number;
  /** Rows whose index entries were looked up. */
  readonly checkedRows: number;
  /** Rows that were compared with a fold of their histories. */
  readonly refoldedRows: number;
  /** Problems found; empty: the generation may go live. */
  readonly problems: readonly string[];
}

/** Rows looked at in each partition, and rows of these that are folded again. */
const CHECKED_ROWS = 64;
const REFOLDED_ROWS = 8;

/** @param fold folds some rows again; null: they are not compared */
export async function verifyGeneration(
  source: RedisSource,
  generation: Generation,
  fold: ViewFold | null,
): Promise<Verification> {
  const lag = (await readLag(source)).functions.find((fn) => fn.name === generation.name);
  const check = new Check(source, generation);
  check.problems.push(...lagProblems(generation, lag));
  const refold = fold ? await createRefold(source, generation, fold) : null;
  for (let partition = 0; partition < source.partitions; partition++)
    await check.lookAt(partition, refold);
  const { rows, checkedRows, refoldedRows, problems } = check;
  return { events: lag?.appended ?? 0, rows, checkedRows, refoldedRows, problems };
}

function lagProblems({ name }: Generation, lag: FunctionLag | undefined): string[] {
  if (!lag) return [`no dispatcher has registered ${name}`];
  const problems: string[] = [];
  if (!lag.conserved)
    problems.push(
      'the states of its events do not add up to the number appended: see millrace lag',
    );
  if (lag.parked > 0)
    problems.push(
      `${lag.parked} events are parked: they could not be folded, or wait behind one that could not`,
    );
  const dead = lag.dead - lag.purged;
  if (dead > 0) problems.push(`${dead} events were dead-lettered: see millrace dlq list ${name}`);
  return problems;
}

/** The checks of all partitions. */
class Check {
  readonly problems: string[] = [];
  rows = 0;
  checkedRows = 0;
  refoldedRows = 0;
  readonly #source: RedisSource;
  readonly #generation: Generation;

  constructor(source: RedisSource, generation: Generation) {
    this.#source = source;
    this.#generation = generation;
  }

  async lookAt(partition: number, refold: Refold | null): Promise<void> {
    const { connection, keys } = this.#source;
    const all = keys.viewIndex(partition, this.#generation.name, ALL_ROWS);
    const size = await indexSize(connection, all);
    if (size === null)
      this.problems.push(
        `the index of all rows cannot be read in partition ${partition}: its key ${all} is of another type`,
      );
    if (size === null || size === 0) return;
    this.rows += size;
    const members = (await connection.commandBuffer('ZRANDMEMBER', all, CHECKED_ROWS)) as Buffer[];
    const sample = await readSample(this.#source, this.#generation, partition, members);
    this.problems.push(...sample.problems);
    for (const [i, row] of sample.rows.entries()) {
      await this.#lookAtIndexes(partition, row);
      this.checkedRows++;
      if (refold && i < REFOLDED_ROWS) await this.#compare(partition, row, refold);
    }
  }

  async #lookAtIndexes(partition: number, row: SampleRow): Promise<void> {
    const { connection, keys } = this.#source;
    const { name, indexes } = this.#generation;
    const entries = row.stored?.ix ?? [];
    for (const [at, index] of indexes.entries()) {
      const entry = entries[at];
      if (!entry) continue;
      const key = keys.viewIndex(partition, name, index);
      const there = await isThere(connection, key, indexMember(entry, row.id));
      if (!there && !(await this.#hasMoved(partition, row)))
        this.problems.push(`row ${row.id} is not in its index "${index}"`);
    }
  }

  async #compare(partition: number, row: SampleRow, refold: Refold): Promise<void> {
    if (!row.stored) return;
    const same = await refold(partition, row.id, row.stored);
    if (same === null) return;
    this.refoldedRows++;
    if (!same && !(await this.#hasMoved(partition, row)))
      this.problems.push(`row ${row.id} differs from a fold of its histories`);
  }

  /** Whether the row has been written since it was read. Such a row is not judged. */
  async #hasMoved(partition: number, { id, bytes }: SampleRow): Promise<boolean> {
    const { connection, keys } = this.#source;
    const key = keys.viewRow(partition, this.#generation.name, id);
    const now = (await connection.commandBuffer('GET', key)) as Buffer | null;
    return now === null ? bytes !== null : bytes === null || !now.equals(bytes);
  }
}

interface SampleRow {
  readonly id: string;
  /** The stored bytes; null: there is no row. */
  readonly bytes: Buffer | null;
  readonly stored: StoredRow | null;
}

/** Reads the rows of a sample of the index of all rows. An unreadable record is a problem. */
async function readSample(
  { connection, keys }: RedisSource,
  { name }: Generation,
  partition: number,
  members: readonly Buffer[],
): Promise<{ rows: SampleRow[]; problems: string[] }> {
  const rows: SampleRow[] = [];
  const problems: string[] = [];
  const attempt = <T>(what: string, read: () => T): T | null => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      problems.push(`${what} cannot be read: ${error.message}`);
      return null;
    }
  };
  for (const member of members) {
    const entry = attempt(`an entry of ${keys.viewIndex(partition, name, ALL_ROWS)}`, () =>
      parseMember(member),
    );
    if (entry === null) continue;
    const { id } = entry;
    const [bytes = null] = (await connection.commandBuffer(
      'MGET',
      keys.viewRow(partition, name, id),
    )) as (Buffer | null)[];
    const kind =
      bytes === null
        ? String(await connection.command('TYPE', keys.viewRow(partition, name, id)))
        : 'string';
    if (kind !== 'none' && kind !== 'string')
      problems.push(`row ${id} cannot be read: its key is of another type: ${kind}`);
    rows.push({
      id,
      bytes,
      stored: bytes === null ? null : attempt(`row ${id}`, () => decodeStoredRow(bytes)),
    });
  }
  return { rows, problems };
}

/** Whether the member is in the index. A key of another type has no members. */
async function isThere(connection: RedisConnection, key: string, member: Buffer): Promise<boolean> {
  try {
    return (await connection.command('ZSCORE', key, member)) !== null;
  } catch (error) {
    if (error instanceof RedisReplyError && error.reply === 'WRONGTYPE') return false;
    throw error;
  }
}
