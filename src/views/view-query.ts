/**
 * Queries of a view. Each reads the pointer to the live generation first, so a switch is seen by
 * the next query.
 *
 * A row and its index entries are always written together, per partition; a list over all
 * partitions is no snapshot: each partition is read at its own moment. `lag` and `asOf` say how
 * fresh what was read is.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { partitionOf } from '../core/partition.ts';
import { compareEntryIds, entryIdTime, parsePosition } from '../core/position.ts';
import { CorruptDataError, UnreadableRowError } from '../core/errors.ts';
import { didYouMean } from '../core/suggest.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import { textProblem } from '../core/well-formed.ts';
import { counterFields } from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { COUNTS } from '../redis/lua/shared.ts';
import {
  decodeStoredRow,
  memberPrefix,
  parseMember,
  sameEntry,
  sortBytes,
  type StoredRow,
} from '../wire/view-row.ts';
import { UnreadableIndexError, ViewBehindError, ViewQueryError } from './view-errors.ts';
import { liveGeneration, type Generation } from './generations.ts';

const FRESHNESS = [COUNTS, new URL('./freshness.lua', import.meta.url)];
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

export interface Freshness {
  /**
   * Events of the view's types that were published and are not folded yet, in the partitions that
   * were read. 0: up to date.
   */
  readonly lag: number;
  /**
   * Everything published before this moment (the server's clock) is in it. Null: a partition that
   * was read has events, and none of them is folded yet.
   */
  readonly asOf: Date | null;
}

export interface ViewRow<Row> {
  readonly id: string;
  readonly row: Row;
  /** Events folded into it. */
  readonly revision: number;
  /** The last of them. */
  readonly position: string;
}

export interface Got<Row> extends Freshness {
  /** Null: there is no such row (yet). */
  readonly found: ViewRow<Row> | null;
  /** Version of the view that was read. */
  readonly version: number;
}

export interface Range {
  /** A name of `indexes`. Default: all rows, by id. */
  readonly index?: string;
  /** Rows whose `by` is this. Required where the index has a `by`, refused where it has none. */
  readonly equals?: string | number | boolean;
  /** Rows whose `sort` is this or larger. Only with an index that has a `sort`; `to` likewise. */
  readonly from?: number | Date;
  /** Rows whose `sort` is smaller. */
  readonly to?: number | Date;
}

export interface ListOptions extends Range {
  readonly order?: 'asc' | 'desc';
  /** Rows a page at most. 1 … 1,000, default 100. */
  readonly limit?: number;
  /** Of the page before. */
  readonly cursor?: string;
}

export interface Page<Row> extends Freshness {
  /**
   * May be fewer than `limit` although more follow: rows that changed while they were read are left
   * out.
   */
  readonly rows: readonly ViewRow<Row>[];
  /**
   * What would be on this page, and what is in the way of other rows, but cannot be read. Mostly
   * empty.
   */
  readonly unreadable: readonly Unreadable[];
  /** For the next page; null: this was the last one. */
  readonly cursor: string | null;
  readonly version: number;
}

/**
 * A record of a view that is not what it should be: a row, an entry of an index, or an index in one
 * partition.
 */
export interface Unreadable {
  /** Of the row; null: not known. */
  readonly id: string | null;
  /** Its key in Redis. */
  readonly key: string;
  /** What is wrong, and the cure. */
  readonly problem: string;
}

export interface Counted extends Freshness {
  readonly count: number;
  readonly version: number;
}

const POLL_MS = { min: 2, max: 50 };
const MAX_LIMIT = 1000;
const TOP = Buffer.alloc(9, 0xff);

/** How far a lane has come: server time, events behind, per type the last entry id. */
type FreshnessReply = readonly string[];

export class View<Row = Record<string, unknown>> {
  readonly name: string;
  readonly #source: RedisSource;

  constructor(source: RedisSource, name: string) {
    this.#source = source;
    this.name = name;
  }

  /**
   * One row, by its id (the subject of its events).
   * @param options waitFor: position of a published event that the row is to show, see waitFor()
   * @throws UnknownViewError, ViewBehindError; ViewQueryError for an id that is none;
   *   UnreadableRowError where its record is damaged
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
   * Rows of an index, page by page.
   * @throws UnknownViewError, ViewQueryError
   */
  async list(options: ListOptions = {}): Promise<Page<Row>> {
    checkOptions(this.name, options, LIST_OPTIONS);
    const { limit = 100, order = 'asc', cursor } = options;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
      throw new ViewQueryError(
        this.name,
        `limit must be a whole number from 1 to ${MAX_LIMIT}, got ${String(limit)}`,
      );
    if ((order as string) !== 'asc' && (order as string) !== 'desc')
      throw new ViewQueryError(this.name, `order must be asc or desc, got ${String(order)}`);
    const generation = await liveGeneration(this.#source, this.name);
    const range = this.#range(generation, options);
    if (cursor !== undefined) {
      const after = Buffer.concat([
        Buffer.from('('),
        range.prefix,
        this.#readCursor(cursor, range.prefix, order),
      ]);
      if (order === 'asc') range.min = after;
      else range.max = after;
    }
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
    const { rows, unreadable } = await this.#readRows(generation, range.index, shown);
    return {
      rows,
      unreadable: [
        ...noIndex.map(({ key, message }) => ({ id: null, key, problem: message })),
        ...unreadable,
      ],
      cursor:
        found.length > limit && last
          ? Buffer.concat([
              Buffer.from([order === 'asc' ? 0 : 1]),
              memberHash(range.prefix),
              last.place,
            ]).toString('base64url')
          : null,
      version: generation.version,
      ...freshnessOf(pages.map(([, freshness]) => freshness.map(String))),
    };
  }

  /**
   * @throws UnknownViewError, ViewQueryError; UnreadableIndexError where a partition's part of the
   *   index is damaged
   */
  async count(options: Range = {}): Promise<Counted> {
    checkOptions(this.name, options, RANGE_OPTIONS);
    const generation = await liveGeneration(this.#source, this.name);
    const range = this.#range(generation, options);
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
   * Resolves when the view has passed the event: to read one's own write. An event that could not
   * be folded counts as passed once it is parked or dead-lettered.
   *
   * @param position as publish() returns it
   * @param options timeoutMs: default 5,000
   * @throws UnknownViewError, ViewQueryError for what is no position, ViewBehindError
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
      // The lane goes through all its types in one order: what has been passed of one has been
      // passed of all.
      const at = latest(ids.map((id) => id ?? ''));
      if (at !== null && compareEntryIds(at, wanted.entryId) >= 0) return;
      const leftMs = startedMs + timeoutMs - monotonicMs();
      if (leftMs <= 0) throw new ViewBehindError(this.name, position, timeoutMs, at);
      await sleep(Math.min(waitMs, leftMs), signal);
    }
  }

  #range(
    generation: Generation,
    options: Range,
  ): { index: string; prefix: Buffer; min: Buffer; max: Buffer } {
    const { index, equals, from, to } = options;
    if (index !== undefined && !generation.indexes.includes(index)) {
      throw new ViewQueryError(
        this.name,
        `it has no index "${index}"${didYouMean(index, generation.indexes)}; it has ${generation.indexes.join(', ') || 'none'}`,
      );
    }
    const problem = rangeProblem(generation, options);
    if (problem !== null) throw new ViewQueryError(this.name, problem);
    const prefix = memberPrefix(equals === undefined ? '' : String(equals));
    const bound = (value: number | Date): Buffer => {
      const number = value instanceof Date ? value.getTime() : value;
      if (typeof number !== 'number' || Number.isNaN(number))
        throw new ViewQueryError(
          this.name,
          `from and to must be numbers or Dates, got ${String(value)}`,
        );
      return Buffer.concat([prefix, sortBytes(number)]);
    };
    return {
      index: index ?? ALL_ROWS,
      prefix,
      min: Buffer.concat([Buffer.from('['), from === undefined ? prefix : bound(from)]),
      max: Buffer.concat([
        Buffer.from('('),
        to === undefined ? Buffer.concat([prefix, TOP]) : bound(to),
      ]),
    };
  }

  #readCursor(text: string, prefix: Buffer, order: 'asc' | 'desc'): Buffer {
    const bytes = Buffer.from(typeof text === 'string' ? text : '', 'base64url');
    const [direction] = bytes;
    if (
      bytes.length < 5 ||
      direction !== (order === 'asc' ? 0 : 1) ||
      !bytes.subarray(1, 5).equals(memberHash(prefix))
    ) {
      throw new ViewQueryError(
        this.name,
        'the cursor is none of this query: take it from the page before, with the same index, equals and order',
      );
    }
    return bytes.subarray(5);
  }

  /** Per partition what was found, and how fresh. */
  #readIndex<T>(
    generation: Generation,
    range: { index: string; min: Buffer; max: Buffer },
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
   * What a partition has of an index. Nothing where its key is of another type: then that is noted.
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

  /** In the order given; without those that no longer are what the index said. */
  async #readRows(
    generation: Generation,
    index: string,
    found: readonly { readonly member: Buffer; readonly partition: number }[],
  ): Promise<{ rows: ViewRow<Row>[]; unreadable: Unreadable[] }> {
    const { keys } = this.#source;
    const at = generation.indexes.indexOf(index);
    const rows: ViewRow<Row>[] = [];
    const unreadable: Unreadable[] = [];
    const wanted: Wanted[] = [];
    for (const { member, partition } of found) {
      try {
        const entry = parseMember(member);
        wanted.push({
          ...entry,
          partition,
          key: keys.viewRow(partition, generation.name, entry.id),
          bytes: null,
        });
      } catch (error) {
        const key = keys.viewIndex(partition, generation.name, index);
        unreadable.push({ id: null, key, problem: badMember(member, index, error) });
      }
    }
    await this.#fetch(wanted);
    for (const { id, value, sort, partition, key, bytes } of wanted) {
      if (bytes === null) continue;
      try {
        const stored = storedRow(generation, id, key, bytes);
        if (at >= 0 && !sameEntry(stored.ix[at], [value, sort])) continue;
        rows.push(rowOf<Row>(id, partition, stored));
      } catch (error) {
        if (!(error instanceof UnreadableRowError)) throw error;
        unreadable.push({ id, key, problem: error.message });
      }
    }
    return { rows, unreadable };
  }

  /** What is at the rows' keys; of a key that holds no text, of which type it is. */
  async #fetch(wanted: readonly Wanted[]): Promise<void> {
    const { connection } = this.#source;
    const byPartition = new Map<number, Wanted[]>();
    for (const one of wanted)
      byPartition.set(one.partition, [...(byPartition.get(one.partition) ?? []), one]);
    await Promise.all(
      [...byPartition.values()].map(async (some) => {
        const rows = (await connection.commandBuffer(
          'MGET',
          ...some.map(({ key }) => key),
        )) as (Buffer | null)[];
        await Promise.all(
          some.map(async (one, i) => {
            one.bytes = rows[i] ?? null;
            if (one.bytes !== null) return;
            const kind = String(await connection.command('TYPE', one.key));
            if (kind !== 'none' && kind !== 'string') one.bytes = Buffer.from(`!${kind}`);
          }),
        );
      }),
    );
  }
}

/** A row that an index names. */
interface Wanted {
  readonly id: string;
  readonly value: string;
  readonly sort: number;
  readonly partition: number;
  readonly key: string;
  /** As it is stored; null: it is not there. */
  bytes: Buffer | null;
}

/** @throws UnreadableRowError */
function storedRow(generation: Generation, id: string, key: string, bytes: Buffer): StoredRow {
  try {
    return decodeStoredRow(bytes);
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    throw new UnreadableRowError(generation.name, id, key, error.message);
  }
}

function badMember(member: Buffer, index: string, error: unknown): string {
  return (
    `entry ${member.toString('hex', 0, 40)} (hexadecimal) of index "${index}" is none: ${(error as Error).message}. ` +
    'No view writes such a one: remove it (ZREM)'
  );
}

/**
 * A range that would find nothing whatever the rows are, and why; null: the index has such ranges.
 */
function rangeProblem(
  { indexes, lookups }: Generation,
  { index, equals, from, to }: Range,
): string | null {
  if (equals !== undefined && !['string', 'number', 'boolean'].includes(typeof equals)) {
    return `equals must be a string, number or boolean, got ${equals === null ? 'null' : typeof equals}`;
  }
  const unfit = typeof equals === 'string' ? textProblem(equals) : null;
  if (unfit !== null) return `equals ${unfit}`;
  if (index === undefined) {
    const others = indexes.length > 0 ? `; it has ${indexes.join(', ')}` : '';
    if (equals !== undefined) return `equals goes with an index${others}`;
    return from === undefined && to === undefined
      ? null
      : `from and to go with an index that has a sort${others}`;
  }
  if (lookups === null) return null;
  if (lookups.by.includes(index) && equals === undefined) {
    return `index "${index}" finds rows by a value: equals (--equals) is required`;
  }
  if (!lookups.by.includes(index) && equals !== undefined) {
    return `index "${index}" has no "by", all its rows are one list: leave out equals (--equals)`;
  }
  if (!lookups.sort.includes(index) && (from !== undefined || to !== undefined)) {
    return `index "${index}" has no "sort": leave out from and to`;
  }
  return null;
}

/** Options that are none would leave the query wider than it was meant. */
function checkOptions(view: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new ViewQueryError(
        view,
        `there is no option "${name}"${didYouMean(name, known)}; there are ${known.join(', ')}`,
      );
  }
}

const RANGE_OPTIONS = ['index', 'equals', 'from', 'to'] as const;
const LIST_OPTIONS = [...RANGE_OPTIONS, 'order', 'limit', 'cursor'] as const;

/** Four bytes that tell the value of a cursor's query from others. */
function memberHash(prefix: Buffer): Buffer {
  const hash = Buffer.alloc(4);
  let sum = 0x811c9dc5;
  for (const byte of prefix) sum = Math.imul(sum ^ byte, 0x01000193) >>> 0;
  hash.writeUInt32BE(sum);
  return hash;
}

function rowOf<Row>(id: string, partition: number, { row, at, rev }: StoredRow): ViewRow<Row> {
  return { id, row: row as Row, revision: rev, position: `${partition}/${at}` };
}

function latest(ids: readonly string[]): string | null {
  let at: string | null = null;
  for (const id of ids)
    if (/^\d+-\d+$/.test(id) && (at === null || compareEntryIds(id, at) > 0)) at = id;
  return at;
}

function freshnessOf(replies: readonly FreshnessReply[]): Freshness {
  let lag = 0;
  let asOfMs = Infinity;
  for (const [now = '0', behind = '0', ...ids] of replies) {
    const events = Math.max(0, Number(behind));
    lag += events;
    const at = latest(ids);
    asOfMs = Math.min(
      asOfMs,
      events === 0 ? Number(now) : at === null ? -Infinity : Math.min(Number(now), entryIdTime(at)),
    );
  }
  return { lag, asOf: Number.isFinite(asOfMs) ? new Date(asOfMs) : null };
}
