/** Tables of the commands. Few commands print one, and each command loads printable.ts. */
import Table from 'cli-table3';
import { printable } from './printable.ts';

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Returns a table of aligned columns without lines. Its cells are made printable. */
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
