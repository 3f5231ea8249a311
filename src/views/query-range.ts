/** The part of an index that a query asks for, and the cursor of its next page. */
import { didYouMean } from '../core/suggest.ts';
import { ALL_ROWS } from '../core/view-spec.ts';
import { textProblem } from '../core/well-formed.ts';
import { memberPrefix, sortBytes } from '../wire/view-row.ts';
import type { Generation } from './generations.ts';
import { ViewQueryError } from './view-errors.ts';

export interface Range {
  /** Name of an index. Default: all rows, by id. */
  readonly index?: string;
  /** Value of the rows' `by`. Required where the index has a `by`, refused where it has none. */
  readonly equals?: string | number | boolean;
  /** Smallest `sort` of the rows. Only with an index that has a `sort`, as `to`. */
  readonly from?: number | Date;
  /** Upper bound of the rows' `sort`, itself not included. */
  readonly to?: number | Date;
}

/** Members of an index between two bounds, as ZRANGEBYLEX takes them. */
export interface IndexRange {
  readonly index: string;
  /** Beginning of each member: the value of `equals`. */
  readonly prefix: Buffer;
  readonly min: Buffer;
  readonly max: Buffer;
}

const TOP = Buffer.alloc(9, 0xff);

export const RANGE_OPTIONS = ['index', 'equals', 'from', 'to'] as const;
export const LIST_OPTIONS = [...RANGE_OPTIONS, 'order', 'limit', 'cursor'] as const;

/** Refuses unknown options. Without them the query would find more than was meant. */
export function checkQueryOptions(view: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new ViewQueryError(
        view,
        `there is no option "${name}"${didYouMean(name, known)}; there are ${known.join(', ')}`,
      );
  }
}

/** @throws ViewQueryError */
export function rangeOf(generation: Generation, options: Range): IndexRange {
  const { view, indexes } = generation;
  const { index, equals, from, to } = options;
  if (index !== undefined && !indexes.includes(index)) {
    throw new ViewQueryError(
      view,
      `it has no index "${index}"${didYouMean(index, indexes)}; it has ${indexes.join(', ') || 'none'}`,
    );
  }
  const problem = rangeProblem(generation, options);
  if (problem !== null) throw new ViewQueryError(view, problem);
  const prefix = memberPrefix(equals === undefined ? '' : String(equals));
  const bound = (value: number | Date): Buffer => {
    const number = value instanceof Date ? value.getTime() : value;
    if (typeof number !== 'number' || Number.isNaN(number))
      throw new ViewQueryError(view, `from and to must be numbers or Dates, got ${String(value)}`);
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

/**
 * Returns why the range would find nothing whatever the rows are; null: the index has such ranges.
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

/**
 * Returns the rest of a range: the part after the cursor's page.
 * @throws ViewQueryError where the cursor is of another query
 */
export function rangeBehind(
  view: string,
  range: IndexRange,
  cursor: string,
  order: 'asc' | 'desc',
): IndexRange {
  const after = Buffer.concat([
    Buffer.from('('),
    range.prefix,
    readCursor(view, cursor, range.prefix, order),
  ]);
  return order === 'asc' ? { ...range, min: after } : { ...range, max: after };
}

/** @param place of the page's last row: its member without the prefix */
export function writeCursor(prefix: Buffer, order: 'asc' | 'desc', place: Buffer): string {
  return Buffer.concat([
    Buffer.from([order === 'asc' ? 0 : 1]),
    memberHash(prefix),
    place,
  ]).toString('base64url');
}

function readCursor(view: string, text: string, prefix: Buffer, order: 'asc' | 'desc'): Buffer {
  const bytes = Buffer.from(typeof text === 'string' ? text : '', 'base64url');
  const [direction] = bytes;
  if (
    bytes.length < 5 ||
    direction !== (order === 'asc' ? 0 : 1) ||
    !bytes.subarray(1, 5).equals(memberHash(prefix))
  ) {
    throw new ViewQueryError(
      view,
      'the cursor is not of this query: take it from the page before, with the same index, equals and order',
    );
  }
  return bytes.subarray(5);
}

/** Returns four bytes by which a cursor is known to belong to a query's value. */
function memberHash(prefix: Buffer): Buffer {
  const hash = Buffer.alloc(4);
  let sum = 0x811c9dc5;
  for (const byte of prefix) sum = Math.imul(sum ^ byte, 0x01000193) >>> 0;
  hash.writeUInt32BE(sum);
  return hash;
}
