/** The check of exceptions (scripts/check-exceptions.mjs): no comment turns a limit off. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { projectDir } from '../../scripts/lab/redis-server.ts';

const SCRIPT = join(projectDir, 'scripts/check-exceptions.mjs');

function check(cwd: string): { stdout: string; stderr: string; status: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [SCRIPT], {
    cwd,
    encoding: 'utf8',
  });
  return { stdout, stderr, status };
}

/** This file holds no such comment itself: the check reads it, too. */
const DISABLE = 'eslint-disable';

t.test('comments that turn a limit on functions off', async (t) => {
  const { stderr, status } = check(
    t.testdir({
      src: {
        'a.ts': `\n// ${DISABLE}-next-line max-params -- a reason\n`,
        deep: { 'b.ts': `/* ${DISABLE} no-var, max-lines-per-function */\n` },
      },
      scripts: { 'c.mjs': `f(); // ${DISABLE}-line\n`, 'd.ts': `/* ${DISABLE} */\n` },
      test: { 'e.ts': `/* ${'eslint'} max-params: "off" */\n` },
    }),
  );
  t.strictSame(
    stderr.trimEnd().split('\n'),
    ['scripts/c.mjs:1', 'scripts/d.ts:1', 'src/a.ts:2', 'src/deep/b.ts:1', 'test/e.ts:1'].map(
      (place) => `${place}: a comment turns a limit on functions off. Make the function shorter`,
    ),
  );
  t.equal(status, 1);
});

t.test('comments of other rules, and generated code', async (t) => {
  const dir = t.testdir({
    src: {
      'a.ts': `// ${DISABLE}-next-line no-var -- not max-params\n// eslint counts max-params\n`,
      generated: { 'b.js': `/* ${DISABLE} */\n` },
    },
  });
  t.strictSame(check(dir), {
    stdout: 'eslint-suppressions.json: 0 exceptions\n',
    stderr: '',
    status: 0,
  });
});
