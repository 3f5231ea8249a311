/**
 * `npm run prose`: the rules of CONTRIBUTING.md on prose that a machine can judge. It reads every
 * comment of the code, every text in the code that ships or runs it, and every Markdown file.
 *
 * - A sentence has at most 25 words. A code span, a link's address and a path count as one word.
 * - A sentence begins with a noun or a verb, not with a clause in a noun's place: "What …",
 *   "Who …", "Whoever …", "How …", "Of …". Questions may.
 * - A line of Markdown, Lua or JavaScript has at most 100 columns. Tables of Markdown and the
 *   output of programs may have more. ESLint holds the lines of TypeScript.
 *
 * Prints each fault with file and line, and their number. `--count` prints the numbers by folder.
 * Arguments are paths to look below. With `--files` they are files, in git or not.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { commentParagraphs } from './prose/comments.mjs';
import { wideLinesOfCode } from './prose/columns.mjs';
import { markdownParagraphs, wideLines } from './prose/markdown.mjs';
import { messageParagraphs } from './prose/messages.mjs';
import { faultsOf } from './prose/sentences.mjs';

/** Programs whose texts people read. Texts of tests are data. */
const SPEAKS = /^(src|scripts|workers)\/.*\.[cm]?[jt]sx?$/;
const CODE = /\.(lua|[cm]?js)$/;

/** @returns {string[]} */
function faultsIn(path) {
  const source = readFileSync(path, 'utf8').replace(/\r\n/g, '\n');
  const markdown = path.endsWith('.md');
  const paragraphs = markdown
    ? markdownParagraphs(source)
    : [
        ...commentParagraphs(path, source),
        ...(SPEAKS.test(relative('', path)) ? messageParagraphs(path, source) : []),
      ];
  const wide = markdown ? wideLines(source) : CODE.test(path) ? wideLinesOfCode(source) : [];
  return [
    ...paragraphs.flatMap(({ line, text }) => faultsOf(text).map((fault) => ({ line, fault }))),
    ...wide.map(({ line, columns }) => ({ line, fault: `${columns} columns` })),
  ]
    .sort((a, b) => a.line - b.line)
    .map(({ line, fault }) => `${path}:${line}: ${fault}`);
}

const tracked = (below) =>
  execFileSync('git', ['ls-files', ...(below.length > 0 ? below : ['.'])], { encoding: 'utf8' })
    .split('\n')
    .filter((path) => /\.([cm]?[jt]sx?|lua|md|proto|c|sh|yml)$|^\.ci\/run$/.test(path))
    .filter((path) => !/generated\//.test(path));

const args = process.argv.slice(2);
const below = args.filter((arg) => !arg.startsWith('--'));
let total = 0;
const byFolder = new Map();
for (const path of args.includes('--files') ? below : tracked(below)) {
  const faults = faultsIn(path);
  total += faults.length;
  const folder = path.endsWith('.md') ? path : path.split('/').slice(0, 2).join('/');
  if (faults.length > 0) byFolder.set(folder, (byFolder.get(folder) ?? 0) + faults.length);
  if (!args.includes('--count')) for (const fault of faults) console.log(fault);
}
if (args.includes('--count'))
  for (const [folder, count] of [...byFolder].sort((a, b) => b[1] - a[1]))
    console.log(count, folder);
console.log(`prose: ${total} sentences or lines break a rule`);
process.exitCode = total > 0 ? 1 : 0;
