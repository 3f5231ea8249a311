/** The check of the names (scripts/check-names.mjs): it finds those that stand twice. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { projectDir } from '../../scripts/lab/redis-server.ts';

const SCRIPT = join(projectDir, 'scripts/check-names.mjs');

t.test('exports and files that stand twice', async (t) => {
  const dir = t.testdir({
    a: {
      'index.ts': "export { Place } from './place.ts';\nexport type { When } from './when.ts';\n",
      'take.lua': '',
      'place.ts': 'export interface Place {}\nconst own = 1;\n',
      'when.ts': 'export type When = 1;\nexport const { deep: [spread] } = x;\n',
      'errors.ts': 'export function load(a: 1): void;\nexport function load(a: number): void {}\n',
    },
    b: {
      'index.ts': "export * from './errors.ts';\n",
      'take.lua': '',
      'errors.ts': 'export class Place {}\nconst load = 1, own = 2;\n',
      'late.ts': 'const when = 1;\nexport { when as When, own };\nexport const spread = 1;\n',
      'types.d.ts': 'export interface Place {}\n',
    },
    cli: { commands: { 'late.ts': '' } },
  });
  const { stdout, stderr, status } = spawnSync(process.execPath, [SCRIPT, dir], {
    encoding: 'utf8',
  });
  const path = (name: string): string => `${dir}/${name}`;
  t.strictSame(stderr.trimEnd().split('\n'), [
    `Place is declared in ${path('a/place.ts')} and ${path('b/errors.ts')}`,
    `When is declared in ${path('a/when.ts')} and ${path('b/late.ts')}`,
    `spread is declared in ${path('a/when.ts')} and ${path('b/late.ts')}`,
    `errors.ts is the name of ${path('a/errors.ts')} and ${path('b/errors.ts')}`,
    `take.lua is the name of ${path('a/take.lua')} and ${path('b/take.lua')}`,
  ]);
  t.equal(stdout, 'names: 5 stand twice\n');
  t.equal(status, 1);
});

t.test('none stands twice', async (t) => {
  const dir = t.testdir({ 'a.ts': 'export const a = 1;', 'b.ts': 'const a = 1;' });
  const { stdout, status } = spawnSync(process.execPath, [SCRIPT, dir], { encoding: 'utf8' });
  t.strictSame({ stdout, status }, { stdout: 'names: 0 stand twice\n', status: 0 });
});
