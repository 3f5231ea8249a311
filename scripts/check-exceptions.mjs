/**
 * The exceptions from the limits on functions (eslint-suppressions.json) may only become fewer.
 * ESLint itself refuses functions beyond the list, and exceptions that are not needed any more.
 * This script compares the list with its version before its last change. It also refuses comments
 * that turn these limits off, because ESLint counts no such comment.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'eslint-suppressions.json';
const git = (...args) =>
  execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** Exceptions by rule. */
function countsOf(text) {
  const counts = {};
  for (const rules of Object.values(JSON.parse(text))) {
    for (const [rule, { count }] of Object.entries(rules))
      counts[rule] = (counts[rule] ?? 0) + count;
  }
  return counts;
}

/** The list at a commit. A commit without the file has no exceptions. */
function listAt(commit) {
  return git('ls-tree', '--name-only', commit, FILE) === ''
    ? '{}'
    : git('show', `${commit}:${FILE}`);
}

/**
 * The list as it was before its last change; null where history does not reach so far (an archive,
 * a shallow clone).
 */
function before(now) {
  try {
    for (const commit of git('log', '--format=%H', '-n', '20', '--', FILE)
      .split('\n')
      .filter(Boolean)) {
      const text = listAt(commit);
      if (text !== now) return text;
    }
  } catch {
    // no history
  }
  return null;
}

/** Folders in which no comment may turn a limit off. */
const FOLDERS = ['src', 'scripts', 'test'];
const LIMITS = /\b(max-lines-per-function|max-params)\b/;
/** Comments that disable or set rules. Groups: the directive, and the rules with their reason. */
const DIRECTIVES = [
  /\/\/\s*(eslint-disable-(?:next-)?line)(?![\w-])(.*)$/gm,
  /\/\*\s*(eslint(?:-disable(?:-next-line|-line)?)?)(?![\w-])([\s\S]*?)\*\//g,
];

/** Comments of a text that turn a limit off, in the order of DIRECTIVES. */
function disabledIn(text) {
  return DIRECTIVES.flatMap((pattern) => [...text.matchAll(pattern)]).filter(
    ([, directive, rest]) => {
      const rules = rest.split('--')[0].trim();
      // A comment without rules disables all of them.
      return LIMITS.test(rules) || (directive !== 'eslint' && rules === '');
    },
  );
}

/**
 * Places of comments that turn a limit off, as `path:line`. Generated code and installed packages
 * have no limits.
 */
function placesOfDisabled() {
  return FOLDERS.filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((path) => join(folder, path)))
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /\.[cm]?[jt]s$/.test(path) && !/\/(generated|node_modules)\//.test(path))
    .sort()
    .flatMap((path) => {
      const text = readFileSync(path, 'utf8');
      return disabledIn(text).map(
        ({ index }) => `${path}:${text.slice(0, index).split('\n').length}`,
      );
    });
}

const now = existsSync(FILE) ? readFileSync(FILE, 'utf8') : '{}';
const old = before(now);
const counts = countsOf(now);
const grown =
  old === null
    ? []
    : Object.entries(counts).filter(([rule, count]) => count > (countsOf(old)[rule] ?? 0));
for (const [rule, count] of grown) {
  console.error(
    `${FILE}: ${count} exceptions from ${rule}, ${countsOf(old)[rule] ?? 0} before. ` +
      'Make the function shorter instead',
  );
}
/** Most exceptions of all rules together. */
const MOST = 3;
const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
console.log(`${FILE}: ${total} exceptions`);
if (total > MOST) console.error(`${FILE}: at most ${MOST} exceptions are allowed`);
const disabled = placesOfDisabled();
for (const place of disabled)
  console.error(`${place}: a comment turns a limit on functions off. Make the function shorter`);
process.exitCode = grown.length > 0 || total > MOST || disabled.length > 0 ? 1 : 0;
