/** What npm would publish: checked, installed in an empty folder, and used there as its README says. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { projectDir, startRedis, until } from '../support/redis-server.ts';

const work = mkdtempSync(join(tmpdir(), 'millrace-pack-'));
t.teardown(() => rmSync(work, { recursive: true, force: true }));

function run(command: string, args: readonly string[], cwd: string, env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '', ...env }, timeout: 180_000, maxBuffer: 64 * 1024 * 1024 });
  return { status, stdout, stderr };
}

// The suite runs on what `npm run build` made: packing must not build again under the other tests.
const packed = run('npm', ['pack', '--ignore-scripts', '--pack-destination', work], projectDir);
const tarball = join(work, readdirSync(work).find((name) => name.endsWith('.tgz')) ?? 'missing.tgz');

t.test('the tarball holds what is needed and nothing else', async (t) => {
  t.equal(packed.status, 0, packed.stderr);
  const listed = run('tar', ['-tzf', tarball], work).stdout.trim().split('\n').map((name) => name.replace(/^package\//, ''));
  for (const needed of [
    'dist/src/index.js', 'dist/src/index.d.ts', 'dist/src/define/index.js', 'dist/src/cli/main.js', 'dist/workers/thread.js',
    'dist/src/pipeline/commit/commit.lua', 'dist/src/wire/generated/millrace.js', 'proto/millrace/v1/options.proto', 'README.md', 'LICENSE',
  ]) t.ok(listed.includes(needed), needed);
  t.same(listed.filter((name) => /^(src|test|scripts|dist\/(test|scripts))\//.test(name)), [], 'no sources, tests or scripts');
});

t.test('its exports are right for bundlers, Node and TypeScript', async (t) => {
  const publint = run(join(projectDir, 'node_modules', '.bin', 'publint'), ['--strict', '--pack', 'false', projectDir], projectDir);
  t.equal(publint.status, 0, publint.stdout + publint.stderr);
  const attw = run(join(projectDir, 'node_modules', '.bin', 'attw'), [tarball, '--profile', 'esm-only', '--no-color'], work);
  t.equal(attw.status, 0, attw.stdout + attw.stderr);
});

t.test('installed in an empty folder, it makes a project, runs its function and says so', async (t) => {
  const redis = await startRedis(t);
  const app = join(work, 'app');
  const env = { REDIS_URL: redis.url, WORKERS: '1', LOG_LEVEL: 'info' };
  const bootstrap = join(work, 'bootstrap');
  rmSync(bootstrap, { recursive: true, force: true });
  const installed = run('npm', ['install', '--prefix', bootstrap, '--prefer-offline', '--no-audit', '--no-fund', tarball], work);
  t.equal(installed.status, 0, installed.stderr);
  const init = run(join(bootstrap, 'node_modules', '.bin', 'millrace'), ['init', app], work);
  t.equal(init.status, 0, init.stderr);
  const manifest = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
  manifest.dependencies['millrace'] = `file:${tarball}`;
  writeFileSync(join(app, 'package.json'), JSON.stringify(manifest));
  const own = run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], app);
  t.equal(own.status, 0, own.stderr);

  const millrace = join(app, 'node_modules', '.bin', 'millrace');
  const published = run(millrace, ['publish', 'greeting.requested', '--data', '{"name":"Ada"}'], app, env);
  t.equal(published.status, 0, published.stderr);

  const dispatcher = spawn(millrace, ['start'], { cwd: app, env: { ...process.env, NODE_OPTIONS: '', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => void dispatcher.kill('SIGKILL'));
  const ended = new Promise<number | null>((resolve) => dispatcher.once('exit', resolve));
  const greeted = new Promise<string>((resolve) => {
    createInterface(dispatcher.stdout).on('line', (line) => {
      if (line.includes('Ada')) resolve(line);
    });
  });
  t.match(await greeted, /hello/, 'the function ran');
  await until('lag says done', async () => {
    const lag = run(millrace, ['lag', '--json'], app, env);
    const { functions } = JSON.parse(lag.stdout) as { functions: { name: string; done: number; conserved: boolean }[] };
    return functions.some((f) => f.name === 'hello' && f.done === 1 && f.conserved);
  });
  dispatcher.kill('SIGTERM');
  t.equal(await ended, 0, 'drained');
});
