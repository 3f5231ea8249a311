/**
 * The exceptions from the limits on functions (eslint-suppressions.json) may only become fewer.
 * ESLint itself refuses functions beyond the list, and exceptions that are not needed any more.
 * This script compares the list with its version before its last change.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

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
process.exitCode = grown.length > 0 || total > MOST ? 1 : 0;
