/**
 * Queries of a view. Each query first reads the pointer to the live generation, so the next query
 * sees a switch.
 *
 * A row and its index entries are always written together, per partition. A list over all
 * partitions is no snapshot: each partition is read at its own moment. `lag` and `asOf` tell how
 * fresh the answer is.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { partitionOf } from '../core/partition.ts';
import { compareEntryIds, parsePosition } from '../core/position.ts';
import { textProblem } from '../core/well-formed.ts';
import { counterFields } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { FRESHNESS, freshnessOf, latest, type Freshness } from './freshness.ts';
import { liveGeneration, type Generation } from './generations.ts';
import {
  checkQueryOptions,
  LIST_OPTIONS,
  RANGE_OPTIONS,
  rangeBehind,
  rangeOf,
  writeCursor,
  type IndexRange,
  type Range,
} from './query-range.ts';
import { readRows, rowOf, storedRow, type Unreadable, type ViewRow } from './read-rows.ts';
import { UnreadableIndexError, ViewBehindError, ViewQueryError } from './view-errors.ts';

const readRow = defineScript({
  with: FRESHNESS,
  url: new URL('./read-row.lua', import.meta.url),
  keys: 2,
  readOnly: true,
});
const readIndex = defineScript({
  with: FRESHNESS,
  url: new URL('./read-index.lua', import.meta.url),
  keys: 2,
  readOnly: true,
});

export interface Got<Row> extends Freshness {
  /** The row; null: there is no such row (yet). */
  readonly found: ViewRow<Row> | null;
  /** Version of the view that was read. */
  readonly version: number;
}

export interface ListOptions extends Range {
  readonly order?: 'asc' | 'desc';
  /** Most rows of a page. 1 … 1,000, default 100. */
  readonly limit?: number;
  /** Cursor of the page before. */
  readonly cursor?: string;
}

export interface Page<Row> extends Freshness {
  /**
   * Rows of the page. There may be fewer than `limit` although more follow: rows that changed
   * during the read are left out.
   */
  readonly rows: readonly ViewRow<Row>[];
  /** Damaged records of this page, and damaged indexes that hide rows. Usually empty. */
  readonly unreadable: readonly Unreadable[];
  /** Cursor of the next page; null: this was the last page. */
  readonly cursor: string | null;
  readonly version: number;
}

export interface Counted extends Freshness {
  readonly count: number;
  readonly version: number;
}

const POLL_MS = { min: 2, max: 50 };
const MAX_LIMIT = 1000;

export class View<Row = Record<string, unknown>> {
  readonly name: string;
  readonly #source: RedisSource;

  constructor(source: RedisSource, name: string) {
    this.#source = source;
    this.name = name;
  }

  /**
   * Reads one row by its id, the subject of its events.
   * @param options waitFor: position of a published event that the row must include, see waitFor()
   * @throws UnknownViewError, ViewBehindError; ViewQueryError for an invalid id; UnreadableRowError
   *   for a damaged row
   */
  async get(
    id: string,
    options: { readonly waitFor?: string; readonly timeoutMs?: number } = {},
  ): Promise<Got<Row>> {
    const problem = textProblem(id);
    if (problem !== null) throw new ViewQueryError(this.name, `the id of a row ${problem}`);
    if (options.waitFor !== undefined)
      await this.waitFor(
        options.waitFor,
        options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs },
      );
    const { connection, keys, partitions } = this.#source;
    const generation = await liveGeneration(this.#source, this.name);
    const partition = partitionOf(id, partitions);
    const key = keys.viewRow(partition, generation.name, id);
    const [bytes, freshness] = (await readRow.runBuffer(
      connection,
      [key, keys.counters(partition)],
      [generation.name, ...generation.types],
    )) as [Buffer, readonly Buffer[]];
    const found =
      bytes.length === 0 ? null : rowOf<Row>(id, partition, storedRow(generation, id, key, bytes));
    return { found, version: generation.version, ...freshnessOf([freshness.map(String)]) };
  }

  /**
   * Lists the rows of an index, page by page.
   * @throws UnknownViewError, ViewQueryError
   */
  async list(options: ListOptions = {}): Promise<Page<Row>> {
    checkQueryOptions(this.name, options, LIST_OPTIONS);
    const { limit = 100, order = 'asc', cursor } = options;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
      throw new ViewQueryError(
        this.name,
        `limit must be a whole number from 1 to ${MAX_LIMIT}, got ${String(limit)}`,
      );
    if ((order as string) !== 'asc' && (order as string) !== 'desc')
      throw new ViewQueryError(this.name, `order must be asc or desc, got ${String(order)}`);
    const generation = await liveGeneration(this.#source, this.name);
    const whole = rangeOf(generation, options);
    const range = cursor === undefined ? whole : rangeBehind(this.name, whole, cursor, order);
    const pages = await this.#readIndex<Buffer[]>(generation, range, order, limit + 1);
    const noIndex: UnreadableIndexError[] = [];
    const direction = order === 'asc' ? 1 : -1;
    const found = pages
      .flatMap(([members], partition) =>
        this.#orUnreadable(generation, range.index, partition, members, noIndex).map((member) => ({
          member,
          partition,
          place: member.subarray(range.prefix.length),
        })),
      )
      .sort((a, b) => direction * Buffer.compare(a.place, b.place));
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    const { rows, unreadable } = await readRows<Row>(this.#source, generation, range.index, shown);
    return {
      rows,
      unreadable: [
        ...noIndex.map(({ key, message }) => ({ id: null, key, problem: message })),
        ...unreadable,
      ],
      cursor: found.length > limit && last ? writeCursor(range.prefix, order, last.place) : null,
      version: generation.version,
      ...freshnessOf(pages.map(([, freshness]) => freshness.map(String))),
    };
  }

  /**
   * Counts the rows of an index.
   * @throws UnknownViewError, ViewQueryError; UnreadableIndexError where a partition's part of the
   *   index is damaged
   */
  async count(options: Range = {}): Promise<Counted> {
    checkQueryOptions(this.name, options, RANGE_OPTIONS);
    const generation = await liveGeneration(this.#source, this.name);
    const range = rangeOf(generation, options);
    const counts = await this.#readIndex<number>(generation, range, 'count', 0);
    counts.forEach(([count], partition) => {
      if (Buffer.isBuffer(count))
        throw this.#unreadableIndex(generation, range.index, partition, count);
    });
    return {
      count: counts.reduce((sum, [count]) => sum + Number(count), 0),
      version: generation.version,
      ...freshnessOf(counts.map(([, freshness]) => freshness.map(String))),
    };
  }

  /**
   * Resolves when the view has passed the event, so that a client can read its own write. An event
   * that cannot be folded counts as passed once it is parked or dead-lettered.
   *
   * @param position as publish() returns it
   * @param options timeoutMs: default 5,000
   * @throws UnknownViewError, ViewQueryError for an invalid position, ViewBehindError
   */
  async waitFor(
    position: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { timeoutMs = 5000, signal } = options;
    const { connection, keys, partitions } = this.#source;
    const wanted = typeof position === 'string' ? parsePosition(position) : null;
    if (!wanted || wanted.partition >= partitions)
      throw new ViewQueryError(
        this.name,
        `${JSON.stringify(String(position).slice(0, 100))} is no position of this deployment`,
      );
    const startedMs = monotonicMs();
    for (let waitMs = POLL_MS.min; ; waitMs = Math.min(POLL_MS.max, waitMs * 1.5)) {
      signal?.throwIfAborted();
      const { name, types } = await liveGeneration(this.#source, this.name);
      const ids = (await connection.command(
        'HMGET',
        keys.counters(wanted.partition),
        ...types.map((type) => counterFields.at(name, type)),
      )) as (string | null)[];
      // The lane works on all its types in one order. So an event of any type that has been passed
      // means that all earlier ones have been.
      const at = latest(ids.map((id) => id ?? ''));
      if (at !== null && compareEntryIds(at, wanted.entryId) >= 0) return;
      const leftMs = startedMs + timeoutMs - monotonicMs();
      if (leftMs <= 0) throw new ViewBehindError(this.name, position, timeoutMs, at);
      await sleep(Math.min(waitMs, leftMs), signal);
    }
  }

  /** Reads an index in all partitions: the result, and how fresh it is. */
  #readIndex<T>(
    generation: Generation,
    range: IndexRange,
    how: 'asc' | 'desc' | 'count',
    limit: number,
  ): Promise<[T | Buffer, readonly Buffer[]][]> {
    const { connection, keys, partitions } = this.#source;
    return Promise.all(
      Array.from(
        { length: partitions },
        (_, partition) =>
          readIndex.runBuffer(
            connection,
            [keys.viewIndex(partition, generation.name, range.index), keys.counters(partition)],
            [generation.name, how, range.min, range.max, limit, ...generation.types],
          ) as Promise<[T | Buffer, readonly Buffer[]]>,
      ),
    );
  }

  /**
   * Returns the members that a partition has of an index. If its key is of another type, that is
   * noted, and there are no members.
   */
  #orUnreadable(
    generation: Generation,
    index: string,
    partition: number,
    found: Buffer[] | Buffer,
    noted: UnreadableIndexError[],
  ): Buffer[] {
    if (!Buffer.isBuffer(found)) return found;
    noted.push(this.#unreadableIndex(generation, index, partition, found));
    return [];
  }

  #unreadableIndex(
    generation: Generation,
    index: string,
    partition: number,
    kind: Buffer,
  ): UnreadableIndexError {
    const key = this.#source.keys.viewIndex(partition, generation.name, index);
    const problem = `its key is of another type: ${kind.toString('latin1', 1)}`;
    return new UnreadableIndexError(generation, index, partition, { key, problem });
  }
}
