/** Figures, times and texts as the pages show them. */
import { shellWord } from '../doctor/shell-word.ts';

/** Returns a whole number with thin spaces between thousands. */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f');
}

/** Returns a rate per second, or a dash where it is not known. */
export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined) return '–';
  if (perSecond === 0) return '0/s';
  if (perSecond < 10) return `${perSecond.toFixed(1)}/s`;
  return `${count(perSecond)}/s`;
}

/** Returns a length of time, or a dash where there is none. */
export function length(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** Returns a size in bytes for people. */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** Characters that reorder or hide others. A page shows them as a dot. */
const UNSAFE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/**
 * Returns a text of a producer or of user code for a page. The renderer escapes markup. Characters
 * that would reorder the line are replaced here.
 */
export function text(value: string, max = 300): string {
  const safe = value.slice(0, max + 1).replace(UNSAFE, '\u00b7');
  return safe.length > max ? `${safe.slice(0, max)}…` : safe;
}

/** Returns a word of a command line, quoted for a POSIX shell where needed. */
export { shellWord };

/** Returns the options of `millrace dlq` that choose the letters of a function, or of its group. */
export function letterOptions(fn: string, group: string | undefined): string {
  const ofGroup = group === undefined ? '' : ` --group ${shellWord(group)}`;
  return `--function ${shellWord(fn)}${ofGroup}`;
}
