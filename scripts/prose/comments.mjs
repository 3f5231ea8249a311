/** Finds the comments of a source file, and their paragraphs. */
import ts from 'typescript';
import { paragraphsOf } from './paragraphs.mjs';

// Strings are matched, too, so that no comment begins within one. A comment without an end reaches
// to the file's end.
const STRING = /"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/;
const LUA = anyOf(/--\[(=*)\[[^]*?(?:\]\1\]|$)|--[^\n]*/, STRING, /\[(=*)\[[^]*?\]\2\]/);
const C = anyOf(/\/\*[^]*?(?:\*\/|$)|\/\/[^\n]*/, STRING);
const SHELL = /(?<=^[ \t]*)#(?!!)[^\n]*/gm;

/** A row of a Lua header's contract, or its continuation: a table, no sentence. */
const CONTRACT = /^(KEYS|ARGV|reply|plan|cost) | {4,}\S/;

/** Paragraphs that are indented so far are drawings and examples. */
const CODE_INDENT = 2;

/** @returns {{ line: number, text: string }[]} paragraphs of the comments, without their marks */
export function commentParagraphs(path, source) {
  const isTable = (line) => path.endsWith('.lua') && CONTRACT.test(line);
  return blocksOf(source, rangesOf(path, source)).flatMap(({ first, lines }) => {
    const prose = lines.map((line) => (isTable(line) ? null : line));
    return paragraphsOf(prose, { first, codeIndent: CODE_INDENT });
  });
}

/** @returns {{ from: number, to: number }[]} in the order of the file */
function rangesOf(path, source) {
  if (path.endsWith('.lua')) return matches(source, LUA, '--');
  if (/\.(proto|c)$/.test(path)) return matches(source, C, '/');
  if (/\.(sh|yml)$|^\.ci\/run$/.test(path)) return matches(source, SHELL, '#');
  return typeScriptRanges(path, source);
}

/** Numbered groups are counted through all patterns. */
function anyOf(...patterns) {
  return new RegExp(patterns.map(({ source }) => source).join('|'), 'g');
}

const matches = (source, pattern, start) =>
  [...source.matchAll(pattern)]
    .filter(([text]) => text.startsWith(start))
    .map(({ 0: text, index }) => ({ from: index, to: index + text.length }));

/** Comments stand between two tokens, so nothing within a string or a template is taken for one. */
function typeScriptRanges(path, source) {
  const ranges = new Map();
  const tree = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  const visit = (node) => {
    if (node.kind >= ts.SyntaxKind.FirstJSDocNode && node.kind <= ts.SyntaxKind.LastJSDocNode)
      return;
    const children = node.getChildren(tree);
    for (const child of children) visit(child);
    if (children.some(({ kind }) => kind < ts.SyntaxKind.FirstJSDocNode)) return;
    const start = node.kind === ts.SyntaxKind.EndOfFileToken ? source.length : node.getStart(tree);
    const note = (from, to) => {
      if (to <= start) ranges.set(from, { from, to });
    };
    ts.forEachLeadingCommentRange(source, node.pos, note);
    ts.forEachTrailingCommentRange(source, node.pos, note);
  };
  visit(tree);
  return [...ranges.values()].sort((a, b) => a.from - b.from);
}

/** Joins line comments on successive lines. A comment behind code stands by itself. */
function blocksOf(source, ranges) {
  const blocks = [];
  let line = 1;
  let at = 0;
  let above = null;
  for (const { from, to } of ranges) {
    line += source.slice(at, from).split('\n').length - 1;
    at = from;
    const text = source.slice(from, to);
    const alone = source.slice(source.lastIndexOf('\n', from - 1) + 1, from).trim() === '';
    const bare = /^(\/\/|--(?!\[=*\[)|#)/.test(text)
      ? [text.replace(/^(\/\/+|--+|#+) ?/, '')]
      : null;
    if (bare && alone && above !== null && above.first + above.lines.length === line) {
      above.lines.push(...bare);
      continue;
    }
    const block = { first: line, lines: bare ?? withoutMarks(text) };
    blocks.push(block);
    above = bare && alone ? block : null;
  }
  return blocks;
}

/** Lines of a block comment. */
function withoutMarks(text) {
  const lines = text
    .replace(/^(\/\*+|--\[=*\[)/, '')
    .replace(/(\*+\/|\]=*\])$/, '')
    .split('\n');
  const [first, ...rest] = lines;
  const starred = rest.every((line) => /^\s*(\*|$)/.test(line));
  const margin = Math.min(
    ...rest
      .filter((line) => line.trim() !== '')
      .map((line) => line.length - line.trimStart().length),
  );
  return [
    first.trim(),
    ...rest.map((line) => (starred ? line.replace(/^\s*\* ?/, '') : line.slice(margin))),
  ];
}
