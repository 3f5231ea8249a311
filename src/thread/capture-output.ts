/**
 * Sends logs and prints of functions to the dispatcher's side, in place of stdout and stderr. For
 * runs whose output is a part of their result.
 */
import type { OutputPiece } from '../core/thread-protocol.ts';
import { cut } from '../core/well-formed.ts';

/** Most characters of a piece. */
const MOST = 10_000;

/** @returns the destination of the functions' logger */
export function captureOutput(send: (piece: OutputPiece) => void): {
  write(line: string): void;
} {
  for (const from of ['stdout', 'stderr'] as const) {
    const stream = process[from];
    stream.write = (chunk: unknown, ...more: readonly unknown[]): boolean => {
      send({ from, text: cut(textOf(chunk), MOST) });
      const done = more.at(-1);
      if (typeof done === 'function') (done as () => void)();
      return true;
    };
  }
  return { write: (line) => send({ from: 'log', text: cut(line, MOST) }) };
}

function textOf(chunk: unknown): string {
  return chunk instanceof Uint8Array ? Buffer.from(chunk).toString('utf8') : String(chunk);
}
