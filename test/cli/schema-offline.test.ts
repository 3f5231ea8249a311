import { execFileSync } from 'node:child_process';
import t from 'tap';
import { orderProto } from '../registry/open-registry.ts';
import { createProject, type Project } from './run-cli.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');

function git(project: Project, ...args: string[]): void {
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
    cwd: project.dir,
    stdio: 'ignore',
  });
}

t.test('check works offline, against a git revision or a folder', async (t) => {
  // No server is there, and the command must not start one.
  const project = createProject(t, 'redis://127.0.0.1:1', { 'proto/orders.proto': V1 });
  const run = (...args: string[]) => project.here(['schema', 'check', ...args]);
  git(project, 'init', '-q');
  git(project, 'add', 'proto');
  git(project, 'commit', '-qm', 'one');
  project.write('proto/orders.proto', V2);
  t.match(await run('--against', 'HEAD'), { status: 0, stdout: /order\.created: compatible/ });
  project.write('proto/orders.proto', BAD);
  t.match(await run('--against', 'HEAD'), {
    status: 1,
    stdout: /order\.created: NOT compatible[\s\S]*amount/,
  });
  t.match(await run('--against', 'HEAD', '--level', 'none'), { status: 0 });
  project.write('old/orders.proto', BAD);
  t.match(await run('--against', 'old', '--json'), { status: 0, stdout: /"compatible":true/ });
  project.write('proto/orders.proto', V1.replace('order.created', 'order.made'));
  t.match(await run('--against', 'HEAD'), {
    status: 1,
    stdout: /EVENT_TYPE_REMOVED[\s\S]*order\.made: compatible/,
  });
  t.match(await run('--against', 'no-such-branch'), {
    status: 2,
    stderr: /neither a folder nor a git revision/,
  });
  t.match(await run('--against', '--upload-pack=x'), { status: 2 });
  t.match(await run('--level', 'FULL'), { status: 2, stderr: /--level goes with --against/ });
});
