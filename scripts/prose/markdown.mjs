/** Reads Markdown as Prettier leaves it: headings begin with `#`, tables with `|`. */
import { columnsOf, MAX_COLUMNS } from './columns.mjs';
import { paragraphsOf, withoutFences } from './paragraphs.mjs';

const CODE_INDENT = 4;
/** Tables, headings, HTML, and the addresses of links. */
const NO_PROSE = /^\s*(\||<|#{1,6}\s|\[[^\]]+\]:)/;

/** @returns {{ line: number, text: string }[]} paragraphs of the prose */
export function markdownParagraphs(source) {
  const lines = withoutComments(source)
    .split('\n')
    .map((line) => line.replace(/^\s*>\s?/, ''));
  const prose = withoutFences(lines).map(({ text }) =>
    text === null || NO_PROSE.test(text) ? null : text,
  );
  return paragraphsOf(prose, { first: 1, codeIndent: CODE_INDENT });
}

/**
 * Lines beyond 100 columns that can be broken. Tables cannot, nor can a line of one word. A code
 * block without a language is the output of a program.
 * @returns {{ line: number, columns: number }[]}
 */
export function wideLines(source) {
  return withoutFences(source.split('\n')).flatMap(({ text, language }, i) => {
    const line = source.split('\n')[i];
    const columns = columnsOf(line);
    const fixed = language === null ? /^\s*\|/.test(text) || wordsOf(text) < 2 : language === '';
    return columns > MAX_COLUMNS && !fixed ? [{ line: i + 1, columns }] : [];
  });
}

/** Words of a line, code spans and links whole, without the mark of a list item. */
const wordsOf = (line) =>
  line
    .replace(/^\s*([-*+]|\d+\.)\s+/, '')
    .replace(/(`+).*?\1/g, 'code')
    .replace(/\[[^\]]*\]\([^)]*\)/g, 'link')
    .trim()
    .split(/\s+/).length;

const withoutComments = (source) =>
  source.replace(/<!--[^]*?(-->|$)/g, (text) => text.replace(/[^\n]/g, ''));
