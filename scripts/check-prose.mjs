/**
 * `npm run prose`: the two rules of CONTRIBUTING.md on prose that a machine can judge, for every
 * comment of the code and for every Markdown file.
 *
 * - A sentence has at most 25 words. A code span, a link's address and a path count as one word.
 * - A sentence begins with a noun or a verb, not with a clause in a noun's place: "What …", "Who …",
 *   "Whoever …", "How …", "Of …". Questions may.
 *
 * Prints each sentence that breaks one, with file and line, and their number. `--count` prints the
 * numbers by folder; arguments are paths to look below.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import ts from 'typescript';

const MAX_WORDS = 25;
const CLAUSE = /^(What|Who|Whoever|Whatever|Whose|Of|How|Those that|That which)\b/;
/** A row of a Lua header's contract, or its continuation: a table, no sentence. */
const CONTRACT = /^(KEYS|ARGV|reply|plan|cost) | {4,}\S/;
/** A full stop in one of these ends no sentence. */
const ABBREVIATION = /\b(e\.g|i\.e|etc|vs|cf|No)\.$/;

/** @returns {{ line: number, text: string }[]} paragraphs of the comments, without their marks */
function commentsOf(path, source) {
  if (path.endsWith('.lua')) {
    const lines = source.split('\n').map((line) => /^\s*--+ ?(.*)$/.exec(line)?.[1] ?? null);
    return joined(lines.map((line) => (line !== null && CONTRACT.test(line) ? null : line)));
  }
  if (/\.(sh|yml)$/.test(path) || path === '.ci/run')
    return joined(source.split('\n').map((line) => /^\s*#(?!!) ?(.*)$/.exec(line)?.[1] ?? null));
  if (path.endsWith('.proto'))
    return joined(source.split('\n').map((line) => /^\s*\/\/ ?(.*)$/.exec(line)?.[1] ?? null));
  const lines = source.split('\n').map(() => null);
  const { line: lineOf } = positions(source);
  const scan = (node) => {
    ts.forEachLeadingCommentRange(source, node.pos, note);
    ts.forEachTrailingCommentRange(source, node.end, note);
    for (const child of node.getChildren(tree)) scan(child);
  };
  const note = (from, to, kind) => {
    const text = source.slice(from, to);
    const first = lineOf(from);
    text.split('\n').forEach((line, i) => {
      const bare =
        kind === ts.SyntaxKind.SingleLineCommentTrivia
          ? line.replace(/^\/\/ ?/, '')
          : line
              .replace(/^\s*\/\*\*?/, '')
              .replace(/\*\/\s*$/, '')
              .replace(/^\s*\* ?/, '');
      lines[first + i] = bare;
    });
  };
  const tree = ts.createSourceFile(path, source, ts.ScriptTarget.Latest, true);
  scan(tree);
  return joined(lines);
}

function positions(source) {
  const starts = [0];
  for (let i = 0; i < source.length; i++) if (source[i] === '\n') starts.push(i + 1);
  return {
    line: (at) => {
      let low = 0;
      let high = starts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (starts[middle] <= at) low = middle;
        else high = middle - 1;
      }
      return low;
    },
  };
}

/** Paragraphs of Markdown: no code blocks, tables, HTML or headings. */
function markdownOf(source) {
  let fenced = false;
  return joined(
    source.split('\n').map((line) => {
      if (/^\s*(```|~~~)/.test(line)) {
        fenced = !fenced;
        return null;
      }
      if (fenced || /^\s*(\||<|#|\[[^\]]+\]:)/.test(line)) return null;
      return line.replace(/^\s*>\s?/, '');
    }),
  );
}

/** Joins lines to paragraphs: a list item, a tag and an empty line begin a new one. */
function joined(lines) {
  const paragraphs = [];
  let open = null;
  lines.forEach((line, i) => {
    if (line === null || line.trim() === '' || /^\s*(eslint-|@ts-|prettier-|#!|#__)/.test(line)) {
      open = null;
      return;
    }
    const start = /^\s*([-*+]|\d+\.|@\w+)\s+/.exec(line);
    if (open === null || start) {
      open = { line: i + 1, text: line.replace(/^\s*([-*+]|\d+\.)\s+/, '').trim() };
      paragraphs.push(open);
    } else open.text += ` ${line.trim()}`;
  });
  return paragraphs;
}

/** @returns {string[]} */
function sentencesOf(text) {
  const plain = text
    .replace(
      /^@(param|returns?|throws|typeParam|see|default|example)\b\s*(\S+ )?/,
      (tag, name, word) => (name === 'param' ? '' : (word ?? '')),
    )
    .replace(/`[^`]*`/g, 'CODE')
    .replace(/\]\([^)]*\)/g, ']')
    .replace(/https?:\S+/g, 'LINK')
    .replace(/\*\*|__/g, '');
  const sentences = [];
  let from = 0;
  for (const end of plain.matchAll(/[.!?]["')\]]*(?=\s|$)/g)) {
    const sentence = plain.slice(from, end.index + end[0].length);
    if (ABBREVIATION.test(sentence)) continue;
    sentences.push(sentence.trim());
    from = end.index + end[0].length;
  }
  const rest = plain.slice(from).trim();
  if (rest !== '') sentences.push(rest);
  return sentences;
}

const words = (sentence) =>
  sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;

function faultsOf(path) {
  const source = readFileSync(path, 'utf8');
  const paragraphs = path.endsWith('.md') ? markdownOf(source) : commentsOf(path, source);
  const faults = [];
  for (const { line, text } of paragraphs)
    for (const sentence of sentencesOf(text)) {
      const count = words(sentence);
      if (count > MAX_WORDS) faults.push(`${path}:${line}: ${count} words: ${sentence}`);
      if (CLAUSE.test(sentence) && !sentence.endsWith('?'))
        faults.push(`${path}:${line}: begins with a clause: ${sentence}`);
    }
  return faults;
}

const args = process.argv.slice(2);
const below = args.filter((arg) => !arg.startsWith('--'));
const files = execFileSync('git', ['ls-files', ...(below.length > 0 ? below : ['.'])], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => /\.(ts|mjs|cjs|lua|md|proto)$|^eslint\.config\.js$|^\.ci\/run$/.test(path))
  .filter((path) => !/generated\//.test(path));
let total = 0;
const byFolder = new Map();
for (const path of files) {
  const faults = faultsOf(path);
  total += faults.length;
  const folder = path.endsWith('.md') ? path : path.split('/').slice(0, 2).join('/');
  if (faults.length > 0) byFolder.set(folder, (byFolder.get(folder) ?? 0) + faults.length);
  if (!args.includes('--count')) for (const fault of faults) console.log(fault);
}
if (args.includes('--count'))
  for (const [folder, count] of [...byFolder].sort((a, b) => b[1] - a[1]))
    console.log(count, folder);
console.log(`prose: ${total} sentences break a rule`);
process.exitCode = total > 0 ? 1 : 0;
