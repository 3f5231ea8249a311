/** Lines of the screen: pieces of text with a style, and their colours. */

export type Style = 'plain' | 'bold' | 'dim' | 'head' | 'good' | 'warn' | 'bad' | 'selected';

export interface Piece {
  readonly text: string;
  readonly style: Style;
}

export type ScreenLine = readonly Piece[];

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** SGR parameters. Colours of the terminal's own palette, so that they fit any background. */
const SGR: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  head: '1',
  good: '32',
  warn: '33',
  bad: '1;31',
  selected: '7',
};

export function piece(text: string, style: Style = 'plain'): Piece {
  return { text, style };
}

export function widthOf(line: ScreenLine): number {
  return line.reduce((sum, { text }) => sum + text.length, 0);
}

/** Cuts the line to the width. */
export function fitted(line: ScreenLine, columns: number): ScreenLine {
  let room = Math.max(0, columns);
  const pieces: Piece[] = [];
  for (const { text, style } of line) {
    if (room === 0) break;
    pieces.push({ text: text.slice(0, room), style });
    room -= Math.min(room, text.length);
  }
  return pieces;
}

/** Returns the left and the right pieces, with space between them. The right ones may fall off. */
export function spread(left: ScreenLine, right: ScreenLine, columns: number): ScreenLine {
  const room = columns - widthOf(left) - widthOf(right);
  return room < 1 ? fitted(left, columns) : [...left, piece(' '.repeat(room)), ...right];
}

/**
 * Returns the line for a terminal.
 * @param colours false: without any escape sequence (NO_COLOR, or a terminal that has none)
 */
export function painted(line: ScreenLine, colours: boolean): string {
  return line
    .map(({ text, style }) =>
      !colours || SGR[style] === '' ? text : `\u001b[${SGR[style]}m${text}\u001b[0m`,
    )
    .join('');
}

/** Returns the text alone. */
export function textOf(line: ScreenLine): string {
  return painted(line, false);
}
