/**
 * Makes a torn append-only file whole before a server loads it.
 *
 * A server that was killed, or whose disk was full, may leave a file that ends inside a
 * transaction. Redis then drops the last command alone and loads the rest: the MULTI before it
 * stays open in the file. At the next start, later commands belong to that transaction. So half of
 * a script is applied long after it was thrown away. Therefore the file is cut back to the last
 * place at which no transaction was open.
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
  /** Bytes of the file before, and now. */
  readonly before: number;
  readonly after: number;
}

/**
 * Mends the file that was written last.
 * @param dataDir data folder of the server, which must not run
 * @returns null where nothing was torn, or where the file is not torn at its end
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

/** A whole MULTI … EXEC of the file: the effects of one script, or of one transaction. */
export interface Transaction {
  /** Offset of the first byte of its MULTI in the file. */
  readonly from: number;
  /** Offsets of the ends of its commands in the file: MULTI first, EXEC last. */
  readonly ends: readonly number[];
}

/**
 * Reads the transactions of the file that was written last, in its order. Reads the file whole: for
 * tests and rehearsals, not for a start.
 * @param dataDir data folder of a server that does not run
 * @returns null without such a file
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
 * Finds the file that was written last, which alone may be torn (Redis 7: `appendonlydir` with a
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

/** Reads the file in pieces, and steps over the bodies of events. */
const PIECE = 1 << 16;

class Reader {
  readonly #fd: number;
  readonly #size: number;
  #buffer = Buffer.alloc(0);
  #at = 0;
  /** Offset of the first unread byte in the file. */
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
   * Reads a line, without its end. Null: the file ends first. '': it is no line of the format.
   * @param starts the characters with which the line may begin
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
   * Reads a value and the line end behind it. Null: the file ends first.
   * @param kept number of its bytes that are wanted
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
 * Finds the end of the whole commands that stand outside of transactions. Null: the file is no
 * append-only file throughout.
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
      // An earlier tear left this MULTI, and its end is not known any more.
      if (open) return null;
      open = true;
    } else if (name === 'EXEC') open = false;
    if (!open) sound = reader.position;
  }
  return sound;
}

/**
 * Reads a command and returns its name in capitals; '' for an annotation. `torn`: the file ends
 * before the command does. Null: it is no command.
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
