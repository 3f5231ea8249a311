import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectDir, startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, linkPackage } from './run-cli.ts';
import { until } from '../../scripts/lab/until.ts';

t.test('what init writes runs as it is, and type-checks', async (t) => {
  const { url } = await startRedis(t);
  const p = createProject(t, url);
  const created = await p.run(['init', 'greetings']);
  t.equal(created.status, 0);
  const names = created.stdout
    .trim()
    .split('\n')
    .map((line) => line.replace('created greetings/', ''));
  t.same(names.sort(), [
    '.gitignore',
    'README.md',
    'package.json',
    'proto/example/v1/greetings.proto',
    'tsconfig.json',
    'workers/generated/events.ts',
    'workers/hello.ts',
  ]);
  t.match(created.stderr, /cd greetings\n +npm install\n +npm start/);
  const root = join(p.dir, 'greetings');
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  t.match(manifest, { name: 'greetings', type: 'module', scripts: { start: 'millrace start' } });
  const { millrace } = manifest['dependencies'] as { millrace: string };
  t.equal(
    realpathSync(join(root, millrace.replace(/^file:/, ''))),
    realpathSync(projectDir),
    'run from a checkout, npm install takes that one',
  );

  linkPackage(root);
  const tsc = spawnSync(join(projectDir, 'node_modules/.bin/tsc'), ['-p', root], {
    encoding: 'utf8',
  });
  t.equal(tsc.status, 0, tsc.stdout);

  const again = await p.run(['init', 'greetings']);
  t.equal(again.status, 1);
  t.match(
    again.stderr,
    /^millrace: greetings already has package.json, .*; nothing was written\. Move these files, .*\n$/,
  );

  const files = Object.fromEntries(
    names.map((name) => [name, readFileSync(join(root, name), 'utf8')]),
  );
  const project = createProject(t, url, files);
  const check = await project.run(['proto', '--check']);
  t.equal(check.status, 0, check.stderr);
  const running = project.start(['start']);
  await running.seen('stderr', /ready: 1 function \(hello\)/);
  t.equal(
    (await project.run(['publish', 'greeting.requested', '--data', '{"name":"Ada"}'])).status,
    0,
  );
  await running.seen('stdout', /"name":"Ada","msg":"hello"/);
  const shown = await until(
    'lag shows the event as done',
    async () => {
      const { stdout } = await project.run(['lag']);
      return /^hello +1 +1 /m.test(stdout) ? stdout : null;
    },
    60_000,
  );
  const readmes = [
    files['README.md'] as string,
    readFileSync(join(projectDir, 'README.md'), 'utf8'),
  ];
  for (const text of readmes)
    t.ok(
      text.replace(/^ {4}/gm, '').includes(shown),
      `what a README says is what a newcomer sees: ${shown}`,
    );
  running.child.kill('SIGTERM');
  t.equal((await running.ended).status, 0);
});

t.test('init overwrites nothing: one file there is enough', async (t) => {
  const p = createProject(t, undefined);
  mkdirSync(join(p.dir, 'here/workers'), { recursive: true });
  writeFileSync(join(p.dir, 'here/workers/hello.ts'), 'mine');
  const result = await p.run(['init', 'here']);
  t.equal(result.status, 1);
  t.match(result.stderr, /already has workers\/hello.ts;/);
  t.equal(readFileSync(join(p.dir, 'here/workers/hello.ts'), 'utf8'), 'mine');
  t.throws(() => readFileSync(join(p.dir, 'here/package.json')), { code: 'ENOENT' });
});

t.test('proto writes, checks, and says what is wrong', async (t) => {
  const p = createProject(t, undefined);
  t.equal((await p.here(['proto', '--check'])).status, 1, 'not there yet');
  const written = await p.run(['proto']);
  t.equal(written.status, 0);
  t.match(written.stdout, /2 event types \(note.added, note.removed\)/);
  t.match(
    readFileSync(join(p.dir, 'workers/generated/events.ts'), 'utf8'),
    /'note.added': NoteAdded;/,
  );
  t.equal((await p.here(['proto', '--check'])).status, 0);
  p.write('proto/broken.proto', 'syntax = "proto3"; message {');
  const broken = await p.here(['proto', '--out', 'x.ts']);
  t.equal(broken.status, 1);
  t.match(broken.stderr, /broken.proto: /);
  t.equal((await p.here(['proto', 'nowhere'])).status, 1);
  rmSync(join(p.dir, 'proto'), { recursive: true });
  p.write('proto/none.proto', 'syntax = "proto3"; message A { string b = 1; }');
  t.match((await p.here(['proto'])).stderr, /no message under .* has option/);
});
