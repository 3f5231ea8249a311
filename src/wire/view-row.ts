/**
 * Stored form of a view's row, and of a member of its indexes.
 *
 * Row: JSON `{"row":…,"at":"<entry id>/<position>","rev":<events
 * folded>,"ix":[[value,sort]|null,…]}`. `ix` has the order of the generation's indexes. It lists
 * the entries to remove from the indexes when the row changes.
 *
 * Member of an index (a zset with all scores 0, so ordered by bytes):
 * - length of the value (2 bytes)
 * - value
 * - sort, as 8 bytes that order like the numbers
 * - id
 *
 * All rows with one value are adjacent, by sort, then by id.
 */
import { isUtf8 } from 'node:buffer';
import { CorruptDataError } from '../core/errors/data-errors.ts';

export interface StoredRow {
  readonly row: unknown;
  readonly at: string;
  readonly rev: number;
  readonly ix: readonly IndexEntry[];
}

/** Entry of a row in an index; null: the row is not in this index. */
export type IndexEntry = readonly [value: string, sort: number] | null;

/** Most bytes of an index value. */
export const INDEX_VALUE_BYTES = 512;

export function memberPrefix(value: string): Buffer {
  const length = Buffer.byteLength(value);
  const prefix = Buffer.allocUnsafe(2 + length);
  prefix.writeUInt16BE(length);
  prefix.write(value, 2);
  return prefix;
}

/** Writes a number as 8 bytes whose order is that of the numbers. */
export function sortBytes(sort: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  writeSort(bytes, sort, 0);
  return bytes;
}

function writeSort(bytes: Buffer, sort: number, at: number): void {
  // -0 is written as 0.
  bytes.writeDoubleBE(sort === 0 ? 0 : sort, at);
  if ((bytes[at] as number) & 0x80)
    for (let i = at; i < at + 8; i++) bytes[i] = ~(bytes[i] as number) & 0xff;
  else bytes[at] = (bytes[at] as number) | 0x80;
}

export function indexMember(entry: NonNullable<IndexEntry>, id: string): Buffer {
  const member = Buffer.allocUnsafe(memberBound(entry, id));
  return member.subarray(0, writeMember(member, 0, entry, id));
}

/** Returns the most bytes of a member. */
export function memberBound([value]: NonNullable<IndexEntry>, id: string): number {
  return 10 + 3 * (value.length + id.length);
}

/**
 * Writes a member.
 * @returns offset of its end
 */
export function writeMember(
  bytes: Buffer,
  start: number,
  [value, sort]: NonNullable<IndexEntry>,
  id: string,
): number {
  const at = writeText(bytes, start + 2, value);
  bytes.writeUInt16BE(at - start - 2, start);
  writeSort(bytes, sort, at);
  return writeText(bytes, at + 8, id);
}

/** Writes a short and mostly ASCII text: a call into native code would cost more than the text. */
function writeText(bytes: Buffer, start: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return start + bytes.write(text, start);
    bytes[start + i] = code;
  }
  return start + text.length;
}

/**
 * Parses a stored row.
 * @throws CorruptDataError('decode') for an invalid row; the message names the problem, not the row
 */
export function readStoredRow(text: string): StoredRow {
  let stored: unknown;
  try {
    stored = JSON.parse(text);
  } catch (error) {
    if (text.startsWith(OF_ANOTHER_TYPE))
      throw new CorruptDataError('decode', `its key is of another type: ${text.slice(1)}`);
    throw new CorruptDataError('decode', `it is no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const wrong = wrongField(stored);
  if (wrong !== null) throw new CorruptDataError('decode', wrong);
  return stored as StoredRow;
}

/** Prefix of a script's answer for a row whose key has another type: "!list". No JSON begins so. */
const OF_ANOTHER_TYPE = '!';

/**
 * Parses the bytes of a stored row.
 * @throws CorruptDataError('decode')
 */
export function decodeStoredRow(bytes: Buffer): StoredRow {
  const text = strictText(bytes);
  if (text === null) throw new CorruptDataError('decode', NOT_UTF8);
  return readStoredRow(text);
}

export const NOT_UTF8 = 'it is not valid UTF-8';

/** Returns the bytes as text; null: they are not valid UTF-8. */
function strictText(bytes: Buffer): string | null {
  const text = bytes.toString('utf8');
  return text.includes('\ufffd') && !isUtf8(bytes) ? null : text;
}

/** Returns the problem of a parsed row; null: it has all fields of a stored row. */
function wrongField(stored: unknown): string | null {
  if (!isObject(stored)) return 'it is JSON, but no stored row';
  const { row, at, rev, ix } = stored as Partial<Record<keyof StoredRow, unknown>>;
  if (!isObject(row)) return 'its field "row" is no object';
  if (typeof at !== 'string' || !/^\d+-\d+\/\d+$/.test(at))
    return 'its field "at" is no entry and position';
  if (!Number.isSafeInteger(rev) || (rev as number) < 0)
    return 'its field "rev" is no number of events';
  return Array.isArray(ix) && ix.every(isEntry)
    ? null
    : 'its field "ix" is no list of index entries';
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEntry(entry: unknown): boolean {
  if (entry === null) return true;
  return (
    Array.isArray(entry) &&
    entry.length === 2 &&
    typeof entry[0] === 'string' &&
    typeof entry[1] === 'number'
  );
}

/**
 * Parses a member.
 * @throws CorruptDataError('decode') for bytes that are no member
 */
export function parseMember(member: Buffer): {
  readonly value: string;
  readonly sort: number;
  readonly id: string;
} {
  const valueBytes = member.length < 2 ? 0 : member.readUInt16BE();
  const value = strictText(member.subarray(2, 2 + valueBytes));
  const id = strictText(member.subarray(10 + valueBytes));
  if (!id || value === null) {
    throw new CorruptDataError('decode', `its ${member.length} bytes are no value, number and id`);
  }
  const bytes = Buffer.from(member.subarray(2 + valueBytes, 10 + valueBytes));
  if ((bytes[0] as number) & 0x80) bytes[0] = (bytes[0] as number) & 0x7f;
  else for (let i = 0; i < 8; i++) bytes[i] = ~(bytes[i] as number) & 0xff;
  return { value, sort: bytes.readDoubleBE(), id };
}

export function sameEntry(a: IndexEntry | undefined, b: IndexEntry | undefined): boolean {
  if (!a || !b) return !a && !b;
  return a[0] === b[0] && a[1] === b[1];
}
