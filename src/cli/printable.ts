/**
 * Texts that came from producers or user code → a terminal or a log. Nothing in them may move the
 * cursor, colour or reorder.
 */
import Table from 'cli-table3';

/**
 * C0, DEL and C1 controls, line and paragraph separators, bidirectional controls, lone surrogates.
 */
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
/** Escape sequences as a whole, so that not even their rests remain. */
const ANSI =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b\]|\u009d)[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[PX^_][^\u001b\u009c]*(?:\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g;

/** One line, at most `max` characters. */
export function printable(text: string, max = 200): string {
  // Cut before the patterns run: the text may be megabytes.
  const line = text
    .slice(0, max * 4 + 1)
    .replace(ANSI, '')
    .replace(/[\r\n\t]+/g, ' ')
    .replace(UNSAFE, '\u00b7')
    .trim();
  return line.length > max || text.length > max * 4 + 1 ? `${line.slice(0, max - 1)}…` : line;
}

/** Several lines, e.g. a stack. */
export function printableLines(text: string, maxLines = 30, maxChars = 20_000): string {
  const lines = text.slice(0, maxChars).split(/\r?\n/);
  const shown = lines
    .slice(0, maxLines)
    .map((line) => `${/^\s*/.exec(line)?.[0].replace(UNSAFE, ' ') ?? ''}${printable(line, 500)}`);
  return lines.length > maxLines
    ? `${shown.join('\n')}\n… ${lines.length - maxLines} more lines`
    : shown.join('\n');
}

/**
 * JSON that is the same data, with what JSON.stringify leaves as it is (C1, bidirectional controls)
 * written as escapes.
 */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Aligned columns without lines; cells are made printable here. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  maxCell = 60,
): string {
  const none = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  };
  const out = new Table({
    head: columns.map((c) => c.title),
    chars: none,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: columns.map((c) => (c.right ? 'right' : 'left')),
  });
  for (const row of rows) out.push(row.map((cell) => printable(cell, maxCell)));
  return out
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** `1.2 s`, `3 min`, `2 d`: for the eye. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** Null for what is no date: stamps come out of stored data. */
export function isoTime(ms: number): string | null {
  return ms > 0 && ms <= 8.64e15 ? new Date(ms).toISOString() : null;
}
