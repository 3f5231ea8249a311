/**
 * A disk without space: told at once, with the path. Health is red while it lasts, and it ends by
 * itself. The test has to mount a tmpfs.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { createProject } from '../cli/run-cli.ts';
import { projectDir, testServerBinary, type TestLike } from '../../scripts/lab/redis-server.ts';
import { until, is } from '../../scripts/lab/until.ts';

/** Mounts a small file system. Null where this user may not mount one. */
function smallDisk(t: TestLike): string | null {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    rmSync(dir, { recursive: true, force: true });
    return null;
  }
  t.teardown(() => {
    execFileSync('umount', ['-l', dir], { stdio: 'ignore' });
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

const FUNCTION = `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'keeper', on: ['note.added'], handle() {} });
`;

t.test('a dispatcher and commands on a full disk', async (t) => {
  await testServerBinary();
  const dir = smallDisk(t);
  if (dir === null) return void t.comment('no tmpfs can be mounted here');
  const unpacked = join(projectDir, '.millrace/redis-server');
  if (existsSync(unpacked)) symlinkSync(unpacked, join(dir, 'redis-server'));
  const project = createProject(t, undefined);
  project.write('workers/keeper.ts', FUNCTION);
  const env = { MILLRACE_DIR: dir, MILLRACE_PORT: '0', MILLRACE_LEASE_MS: '2000' };
  const started = project.start(['start'], env);
  const [, admin] = await started.seen('stderr', /ready: .*admin (http:\S+)/);
  const get = async (path: string): Promise<{ status: number; body: string }> => {
    const answer = await fetch(`${admin}${path}`);
    return { status: answer.status, body: await answer.text() };
  };
  t.equal(
    (await project.run(['publish', 'note.added', '--data', '{"book":"a"}'], { env })).status,
    0,
  );

  const filler = join(dir, 'filler');
  const fill = (): void => {
    const { bavail, bsize } = statfsSync(dir);
    writeFileSync(filler, Buffer.alloc(bavail * bsize));
  };
  fill();
  const look = new Redis({ path: join(dir, 'redis.sock'), maxRetriesPerRequest: null });
  look.on('error', () => {});
  t.teardown(() => look.disconnect());
  const noticed = (): Promise<unknown> =>
    until(
      'Redis has noticed',
      async () => {
        await look.set('other', 'x'.repeat(10_000)).catch(() => undefined);
        return (await look.info('persistence')).includes('aof_last_write_status:err');
      },
      20_000,
    );
  await noticed();

  const data = new RegExp(`MISCONF.*${dir}/data`, 's');
  const lag = await project.run(['lag', '--json'], { env });
  t.equal(lag.status, 0, lag.stderr);
  t.match(JSON.parse(lag.stdout), { functions: [{ name: 'keeper', appended: 1 }] });
  const refused = await project.run(['publish', 'note.added', '--data', '{"book":"b"}'], { env });
  t.equal(refused.status, 1);
  t.match(refused.stderr, data, 'it names the folder');
  for (const path of ['/healthz', '/readyz']) {
    const answer = await until(
      `${path} is red`,
      async () =>
        get(path).then((found) => (found.status === 503 && data.test(found.body) ? found : null)),
      20_000,
    );
    t.equal(answer.status, 503);
  }
  const waiting = project.start(['start', './workers'], { ...env });
  await waiting.seen(
    'stderr',
    /waiting until Redis takes writes again \(needed to register functions\): .*MISCONF/,
  );
  waiting.child.kill('SIGTERM');
  t.equal((await waiting.ended).status, 0, 'it waits, and ends when it is asked to');

  truncateSync(filler, 0);
  await until(
    'it takes writes again',
    async () =>
      look.set('other', 'y').then(
        () => true,
        () => false,
      ),
    20_000,
  );
  await until(
    'all is green',
    async () => (await get('/readyz')).status === 200 && (await get('/healthz')).status === 200,
    20_000,
  );
  t.equal(
    (await project.run(['publish', 'note.added', '--data', '{"book":"c"}'], { env })).status,
    0,
  );
  await until(
    'lanes work again',
    async () =>
      is(
        (
          JSON.parse((await project.run(['lag', '--json'], { env })).stdout) as {
            functions: { done: number }[];
          }
        ).functions[0]?.done,
        2,
      ),
    30_000,
  );

  fill();
  await noticed();
  started.child.kill('SIGTERM');
  t.match(
    (await started.ended).stdout,
    /LOSS: the server ends while its append-only file cannot be written/,
    'what its end costs is said',
  );
});
