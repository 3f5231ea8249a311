/** Joins the lines of a comment, or of a Markdown file, to paragraphs. */

/** Lines for tools, not for people. */
const DIRECTIVE = /^\s*(eslint-|@ts-|prettier-|#!|#__|\/ <reference)/;
const FENCE = /^\s*(`{3,}|~{3,})(.*)$/;
const ITEM = /^(\s*)([-*+]|\d+[.)]|@\w+)\s+/;

/**
 * Returns the text outside fenced code blocks, null for each line of a block.
 * @param {(string | null)[]} lines
 * @returns {{ text: string | null, language: string | null }[]} `language` within a block, else
 *   null
 */
export function withoutFences(lines) {
  let fence = null;
  let language = null;
  return lines.map((line) => {
    const [, marks, rest] = FENCE.exec(line ?? '') ?? [];
    if (fence === null && marks !== undefined && !(marks[0] === '`' && rest.includes('`'))) {
      fence = marks;
      language = rest.trim();
      return { text: null, language };
    }
    if (fence === null) return { text: line, language: null };
    const closes = marks?.startsWith(fence) && rest.trim() === '';
    const within = { text: null, language };
    if (closes) fence = language = null;
    return within;
  });
}

/**
 * A list item, a tag and an empty line begin a paragraph. Fenced code, `@example` and indented code
 * are left out.
 * @param {(string | null)[]} lines null: not prose; ends a paragraph
 * @param {{ first: number, codeIndent: number }} place number of the first line, and columns from
 *   which on an indented paragraph is code
 * @returns {{ line: number, text: string }[]}
 */
export function paragraphsOf(lines, { first, codeIndent }) {
  const paragraphs = [];
  let open = null;
  let list = null;
  let example = false;
  withoutFences(lines).forEach(({ text }, i) => {
    if (text === null || text.trim() === '' || DIRECTIVE.test(text)) {
      open = null;
      return;
    }
    const item = itemOf(text, open, list);
    if (item?.marker.startsWith('@')) example = item.marker === '@example';
    else if (/^\s*@example\s*$/.test(text)) example = true;
    if (example) return;
    const indent = text.length - text.trimStart().length;
    if (open === null && !item && indent === 0) list = null;
    if (open === null && !item && list === null && indent >= codeIndent) return;
    if (item) list = item.marker;
    if (open === null || item) {
      open = { line: first + i, text: (item?.rest ?? text).trim() };
      paragraphs.push(open);
    } else open.text += ` ${text.trim()}`;
  });
  return paragraphs;
}

/** A number that wrapped to the start of a line is no item. */
function itemOf(text, open, list) {
  const [all, , marker] = ITEM.exec(text) ?? [];
  if (marker === undefined) return null;
  const wrapped = /^\d/.test(marker) && !/^1\D/.test(marker) && open !== null;
  if (wrapped && !/^\d/.test(list ?? '')) return null;
  return { marker, rest: marker.startsWith('@') ? text : text.slice(all.length) };
}
