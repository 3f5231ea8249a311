// Prints "N passed, N failed" from the runner's own last line in the TAP of a whole run: `# { total: 61, pass: 59, fail: 1, skip: 1 }`.
// Exit status 1 when a test failed, or none was executed, or the runner never came to its last line.
import { existsSync, readFileSync } from 'node:fs';

const file = process.argv[2];
const text = file && existsSync(file) ? readFileSync(file, 'utf8') : '';
const totals = [...text.matchAll(/^# \{ ([a-z]+: \d+(?:, [a-z]+: \d+)*) \}$/gm)].at(-1)?.[1] ?? '';
const number = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0);
const passed = number('pass');
const failed = number('fail');
const skipped = number('skip') + number('todo');
if (totals === '') console.log('the test runner did not finish');
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
