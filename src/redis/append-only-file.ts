/**
 * Makes a torn append-only file whole before a server loads it.
 *
 * A server that was killed, or whose disk was full, may leave a file that ends inside a
 * transaction. Redis then drops the last command alone and loads the rest: the MULTI before it
 * stays open in the file. What is written behind it belongs to that transaction at the next start,
 * and half of a script is applied long after it was thrown away. So the file is cut back to the
 * last place at which no transaction was open.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';

export interface Repair {
  readonly file: string;
  /** Bytes of it before, and now. */
  readonly before: number;
  readonly after: number;
}

/**
 * @param dataDir of the server, which must not run. @returns null where nothing was torn, or where
 *   it is not torn at its end
 */
export function repairAppendOnlyFile(dataDir: string): Repair | null {
  const file = lastIncrement(dataDir);
  if (file === null) return null;
  const fd = openSync(file, 'r+');
  try {
    const before = fstatSync(fd).size;
    const after = soundLength(fd, before);
    if (after === null || after === before) return null;
    ftruncateSync(fd, after);
    fsyncSync(fd);
    return { file, before, after };
  } finally {
    closeSync(fd);
  }
}

/** A MULTI … EXEC that is whole in the file: the effects of one script, or of one transaction. */
export interface Transaction {
  /** Of the first byte of its MULTI, in the file. */
  readonly from: number;
  /** Where each of its commands ends, in the file: MULTI first, EXEC last. */
  readonly ends: readonly number[];
}

/**
 * The transactions of the file that was written last, in its order. It is read whole: for tests and
 * rehearsals, not for start.
 * @param dataDir of a server that does not run. @returns null without such a file
 */
export function readTransactions(
  dataDir: string,
): { readonly file: string; readonly transactions: Transaction[] } | null {
  const file = lastIncrement(dataDir);
  if (file === null) return null;
  const fd = openSync(file, 'r');
  try {
    const reader = new Reader(fd, fstatSync(fd).size);
    const transactions: Transaction[] = [];
    let open: { from: number; ends: number[] } | null = null;
    while (!reader.atEnd) {
      const from = reader.position;
      const name = readCommand(reader);
      if (name === 'torn' || name === null) break;
      if (name === 'MULTI') open = { from, ends: [] };
      open?.ends.push(reader.position);
      if (name !== 'EXEC' || open === null) continue;
      transactions.push(open);
      open = null;
    }
    return { file, transactions };
  } finally {
    closeSync(fd);
  }
}

/**
 * The file that was written last, which alone may be torn (Redis 7: `appendonlydir` with a
 * manifest).
 */
function lastIncrement(dataDir: string): string | null {
  const dir = join(dataDir, 'appendonlydir');
  const manifest = join(dir, 'appendonly.aof.manifest');
  if (!existsSync(manifest)) return null;
  const names = [
    ...readFileSync(manifest, 'utf8').matchAll(/^file (\S+) seq \d+ type i\s*$/gm),
  ].map(([, name]) => name as string);
  const last = names.at(-1);
  return last !== undefined && existsSync(join(dir, last)) ? join(dir, last) : null;
}

/** Read in pieces: bodies of events are stepped over. */
const PIECE = 1 << 16;

class Reader {
  readonly #fd: number;
  readonly #size: number;
  #buffer = Buffer.alloc(0);
  #at = 0;
  /** Of the first byte that has not been read, in the file. */
  position = 0;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#size = size;
  }

  #need(bytes: number): boolean {
    if (this.#buffer.length - this.#at >= bytes) return true;
    if (this.position + bytes > this.#size) return false;
    const next = Buffer.allocUnsafe(Math.max(PIECE, bytes));
    const got = readSync(this.#fd, next, 0, next.length, this.position);
    this.#buffer = next.subarray(0, got);
    this.#at = 0;
    return got >= bytes;
  }

  /**
   * A line without its end; null where the file ends first; '' where it cannot be one. @param
   * starts one of these is its first character
   */
  line(starts: string): string | null {
    if (this.#need(1) && !starts.includes(String.fromCharCode(this.#buffer[this.#at] as number)))
      return '';
    for (let length = 2; ; length++) {
      if (length > 4096) return '';
      if (!this.#need(length)) return null;
      if (this.#buffer[this.#at + length - 1] !== 0x0a) continue;
      const text = this.#buffer
        .toString('latin1', this.#at, this.#at + length)
        .replace(/\r?\n$/, '');
      this.#at += length;
      this.position += length;
      return text;
    }
  }

  /**
   * Bytes of a value and of the line end behind it; null where the file ends first. @param kept how
   * many of them are wanted
   */
  value(length: number, kept: number): string | null {
    if (this.position + length + 2 > this.#size) return null;
    const wanted = Math.min(length, kept);
    if (!this.#need(wanted)) return null;
    const text = this.#buffer.toString('latin1', this.#at, this.#at + wanted);
    this.#at += Math.min(length + 2, this.#buffer.length - this.#at);
    this.position += length + 2;
    return text;
  }

  get atEnd(): boolean {
    return this.position >= this.#size;
  }
}

/**
 * Up to where it consists of whole commands outside of transactions; null where it is no
 * append-only file all through.
 */
function soundLength(fd: number, size: number): number | null {
  const reader = new Reader(fd, size);
  let sound = 0;
  let open = false;
  while (!reader.atEnd) {
    const name = readCommand(reader);
    if (name === 'torn') return sound;
    if (name === null) return null;
    if (name === 'MULTI') {
      // Left by an earlier tear: where it ended nobody can tell any more.
      if (open) return null;
      open = true;
    } else if (name === 'EXEC') open = false;
    if (!open) sound = reader.position;
  }
  return sound;
}

/**
 * Its name in capitals, '' for an annotation; `torn` where the file ends before it does; null where
 * it is none.
 */
function readCommand(reader: Reader): string | null {
  const head = reader.line('*#');
  if (head === null) return 'torn';
  if (head.startsWith('#')) return '';
  const count = /^\*(\d+)$/.exec(head)?.[1];
  if (count === undefined) return null;
  let name = '';
  for (let i = 0; i < Number(count); i++) {
    const size = reader.line('$');
    if (size === null) return 'torn';
    const length = /^\$(\d+)$/.exec(size)?.[1];
    if (length === undefined) return null;
    const value = reader.value(Number(length), i === 0 ? 16 : 0);
    if (value === null) return 'torn';
    if (i === 0) name = value.toUpperCase();
  }
  return name;
}
