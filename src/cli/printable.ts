/**
 * Makes texts of producers and user code safe for a terminal or a log. No text may move the cursor,
 * set colours or reorder characters.
 */
/**
 * C0, DEL and C1 controls, line and paragraph separators, bidirectional controls, lone surrogates.
 */
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
/** Whole escape sequences, so that no rest of them is printed. */
const ANSI =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b\]|\u009d)[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[PX^_][^\u001b\u009c]*(?:\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g;

/** Returns the text as one line of at most `max` characters. */
export function printable(text: string, max = 200): string {
  // Cut the text before the patterns run: it may have megabytes.
  const line = text
    .slice(0, max * 4 + 1)
    .replace(ANSI, '')
    .replace(/[\r\n\t]+/g, ' ')
    .replace(UNSAFE, '\u00b7')
    .trim();
  return line.length > max || text.length > max * 4 + 1 ? `${line.slice(0, max - 1)}…` : line;
}

/** Returns several printable lines, e.g. of a stack. */
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
 * Returns JSON of the value. JSON.stringify leaves C1 and bidirectional controls as they are; here
 * they are written as escapes.
 */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Returns a duration for people: `1.2 s`, `3 min`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}
