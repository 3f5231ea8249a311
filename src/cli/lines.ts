/** Splits a stream of bytes into lines, a block at a time, in bounded memory. */

export interface Line {
  /** Number of the line, from 1. */
  readonly number: number;
  /** Text without the line break. Null: the line is not usable, see `problem`. */
  readonly text: string | null;
  readonly problem: string;
}

const NEWLINE = 10;

/**
 * Yields together the lines that a piece of input completes. Complete lines of a live pipe never
 * wait for more input. The content of a line longer than `maxBytes` is not kept.
 */
export async function* readLines(
  input: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Line[]> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let number = 0;
  /** Pieces of the unfinished line. */
  let held: Buffer[] = [];
  let heldBytes = 0;

  const hold = (piece: Buffer): void => {
    heldBytes += piece.length;
    if (heldBytes > maxBytes) held = [];
    // Copy the piece: a slice would keep the whole input block alive.
    else held.push(Buffer.from(piece));
  };
  const finish = (last: Buffer): Line => {
    number++;
    const bytes = heldBytes + last.length;
    const whole = heldBytes === 0 ? last : bytes > maxBytes ? last : Buffer.concat([...held, last]);
    held = [];
    heldBytes = 0;
    if (bytes > maxBytes) return { number, text: null, problem: `longer than ${maxBytes} bytes` };
    try {
      return { number, text: decoder.decode(whole), problem: '' };
    } catch {
      return { number, text: null, problem: 'not UTF-8' };
    }
  };

  for await (const piece of input) {
    const lines: Line[] = [];
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at >= 0; at = piece.indexOf(NEWLINE, from)) {
      lines.push(finish(piece.subarray(from, at)));
      from = at + 1;
    }
    if (from < piece.length) hold(piece.subarray(from));
    if (lines.length > 0) yield lines;
  }
  if (heldBytes > 0) yield [finish(Buffer.alloc(0))];
}
