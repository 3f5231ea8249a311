/** The width of the lines that neither Prettier nor ESLint holds: Lua and JavaScript. */

export const MAX_COLUMNS = 100;

export const columnsOf = (line) => [...line].length;

/** @returns {{ line: number, columns: number }[]} lines beyond the limit */
export function wideLinesOfCode(source) {
  return source.split('\n').flatMap((line, i) => {
    const columns = columnsOf(line);
    return columns > MAX_COLUMNS ? [{ line: i + 1, columns }] : [];
  });
}
