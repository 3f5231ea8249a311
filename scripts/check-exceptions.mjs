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

/**
 * The list as it was before its last change; null where history does not reach so far (an archive,
 * a shallow clone).
 */
function before(now) {
  try {
    for (const commit of git('log', '--format=%H', '-n', '20', '--', FILE)
      .split('\n')
      .filter(Boolean)) {
      const text = git('show', `${commit}:${FILE}`);
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
    `${FILE}: ${count} exceptions from ${rule}, ${countsOf(old)[rule] ?? 0} before: make the function shorter instead`,
  );
}
const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
console.log(`${FILE}: ${total} exceptions`);
process.exitCode = grown.length > 0 ? 1 : 0;
