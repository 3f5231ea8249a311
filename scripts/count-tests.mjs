/**
 * Prints `N passed, N failed` as the last line: the assertions of a whole run. The runner
 * (scripts/run-tests.ts) sums them up at the end of its TAP: `# { total: 61, pass: 59, fail: 1,
 * skip: 1 }`. That line is at top level, where no test can print. Skipped tests and tests to do
 * count as neither; a line before names them. The exit status is 1 when a test failed, no test was
 * executed, or the runner never came to its summary.
 */
import { existsSync, readFileSync } from 'node:fs';

const file = process.argv[2];
const text = file !== undefined && existsSync(file) ? readFileSync(file, 'utf8') : '';
const totals = [...text.matchAll(/^# \{ (total: \d+(?:, [a-z]+: \d+)*) \}$/gm)].at(-1)?.[1];
const number = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0);

const passed = number('pass');
const failed = number('fail');
if (totals === undefined) console.log('the test runner did not finish: nothing was counted');
else if (passed + failed === 0) console.log('no test was executed');
for (const name of ['skip', 'todo']) if (number(name) > 0) console.log(`${name}: ${number(name)}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = totals === undefined || failed > 0 || passed === 0 ? 1 : 0;
