import type { Differences } from '../../mend/field-differences.ts';
import { printable, safeJson } from '../printable.ts';

/** Most characters of a value. */
const MOST = 200;

/** Returns a line for each value that differs: `price: 3 -> 4`. */
export function differenceLines({ list, more }: Differences): readonly string[] {
  const lines = list.map(
    ({ path, before, after }) =>
      `  ${path === '' ? 'all' : printable(path)}: ${shownValue(before)} -> ${shownValue(after)}`,
  );
  if (list.length === 0) lines.push('  no difference');
  if (more) lines.push('  … and more');
  return lines;
}

function shownValue(value: unknown): string {
  return value === undefined ? '(none)' : printable(safeJson(value), MOST);
}
