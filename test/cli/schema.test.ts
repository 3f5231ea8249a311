import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { startRedis } from '../support/redis-server.ts';
import { orderProto } from '../registry/open-registry.ts';
import { createProject, parseLines, type Project } from './run-cli.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');

function git(project: Project, ...args: string[]): void {
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: project.dir, stdio: 'ignore' });
}

t.test('register, list, show, diff, level', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1 });
  const run = (...args: string[]) => project.run(['schema', ...args]);

  t.match(await run('list'), { status: 0, stdout: '', stderr: /no schema is registered/ });
  t.match(await run('register'), { status: 0, stdout: /order\.created +1 +1 +registered/ });
  t.match(await run('register'), { status: 0, stdout: /was registered before/ });
  project.write('proto/orders.proto', V2);
  t.match(await run('check'), { status: 0, stdout: /order\.created: compatible \(level FULL_TRANSITIVE\)/ });
  t.match(await run('diff', 'order.created'), { status: 0, stdout: /\+ {2}string note = 3;[\s\S]*\ncompatible with version 1/ });
  t.match(parseLines((await run('register', '--json')).stdout), [{ type: 'order.created', version: 2, id: 2, new: true }]);
  t.match(parseLines((await run('list', '--json')).stdout), [{
    subject: 'order.created', level: 'FULL_TRANSITIVE', ownLevel: false, message: 'shop.v1.OrderCreated', versions: [{ version: 1, id: 1, by: /@/ }, { version: 2, id: 2 }],
  }]);
  t.match(await run('list'), { stdout: /order\.created +2 +2 +shop\.v1\.OrderCreated +FULL_TRANSITIVE \(global\)/ });
  t.match(await run('show', 'order.created', '1'), { status: 0, stdout: /registered .* by .*\n\n\/\/ orders\.proto\nsyntax = "proto3";[\s\S]*int32 amount = 2;\n}/ });
  t.match(JSON.parse((await run('show', '--id', '2', '--json')).stdout), { id: 2, uses: [{ subject: 'order.created', version: 2 }], files: [{ name: 'orders.proto', text: V2 }] });
  t.match(await run('show', 'nothing'), { status: 1, stderr: /no schema is registered for "nothing"/ });
  t.match(await run('diff', 'order.created', '1', '2'), { status: 0, stdout: /string note = 3/ });
  t.match(await run('diff', 'order.created'), { status: 0, stdout: 'no difference\n' });

  project.write('proto/orders.proto', BAD);
  const refused = await run('register');
  t.match(refused, { status: 1, stdout: /order\.created: NOT compatible[\s\S]*amount/, stderr: /nothing was registered/ });
  const checked = await run('check', '--json');
  t.equal(checked.status, 1);
  t.match(JSON.parse(checked.stdout), { compatible: false, types: [{ type: 'order.created', compatible: false, findings: [{ rule: /./, cure: /./ }] }] });
  t.match(await project.run(['publish', 'order.created', '--data', '{"orderId":"A"}']), { status: 1, stderr: /not compatible[\s\S]*schema level order\.created NONE/ });

  t.match(await run('level'), { stdout: 'global: FULL_TRANSITIVE (default)\n' });
  t.match(await run('level', 'order.created', 'none'), { status: 0, stdout: 'order.created: NONE\n' });
  t.match(await run('register'), { status: 0, stdout: /order\.created +3 +3/ });
  t.match(await run('level', 'order.created', '--unset'), { stdout: 'order.created: FULL_TRANSITIVE (global)\n' });
  t.match(await run('level', 'BACKWARD'), { stdout: 'global: BACKWARD\n' });
  t.match(JSON.parse((await run('level', 'order.created', '--json')).stdout), { subject: 'order.created', level: 'BACKWARD', own: false });
  t.match(await run('level', 'order.created', 'SOMEHOW'), { status: 2, stderr: /no compatibility level/ });
  t.match(await run('level', 'order.craeted'), { status: 1, stderr: /no schema is registered for "order\.craeted"/ });
});

t.test('in production mode nothing starts with a schema that was not registered', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1 });
  const env = { MILLRACE_MODE: 'production' };
  const publish = () => project.run(['publish', 'order.created', '--data', '{"orderId":"A"}'], { env });
  t.match(await publish(), { status: 1, stderr: /not registered, and MILLRACE_MODE is production[\s\S]*millrace schema register order\.created/ });
  t.match(await project.run(['schema', 'register'], { env }), { status: 0 });
  t.match(await publish(), { status: 0 });
});

t.test('check works offline, against a git revision or a folder', async (t) => {
  // No server is there, and none is to be started.
  const project = createProject(t, 'redis://127.0.0.1:1', { 'proto/orders.proto': V1 });
  const run = (...args: string[]) => project.run(['schema', 'check', ...args]);
  git(project, 'init', '-q');
  git(project, 'add', 'proto');
  git(project, 'commit', '-qm', 'one');
  project.write('proto/orders.proto', V2);
  t.match(await run('--against', 'HEAD'), { status: 0, stdout: /order\.created: compatible/ });
  project.write('proto/orders.proto', BAD);
  t.match(await run('--against', 'HEAD'), { status: 1, stdout: /order\.created: NOT compatible[\s\S]*amount/ });
  t.match(await run('--against', 'HEAD', '--level', 'none'), { status: 0 });
  project.write('old/orders.proto', BAD);
  t.match(await run('--against', 'old', '--json'), { status: 0, stdout: /"compatible":true/ });
  project.write('proto/orders.proto', V1.replace('order.created', 'order.made'));
  t.match(await run('--against', 'HEAD'), { status: 1, stdout: /EVENT_TYPE_REMOVED[\s\S]*order\.made: compatible/ });
  t.match(await run('--against', 'no-such-branch'), { status: 2, stderr: /neither a folder nor a git revision/ });
  t.match(await run('--against', '--upload-pack=x'), { status: 2 });
  t.match(await run('--level', 'FULL'), { status: 2, stderr: /--level goes with --against/ });
});

t.test('deploy-check lists what is there and refuses what cannot read it', async (t) => {
  const redis = await startRedis(t);
  const fn = (more = '') => `import { defineFunction, upcast } from 'millrace/define';
export default defineFunction({ name: 'f', on: ['order.created'], retry: { attempts: 1 }, ${more} handle(event) { if (event.subject === 'dies') throw new Error('no'); } });`;
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1, 'workers/f.mjs': fn() });
  const publish = (id: string) => project.run(['publish', 'order.created', '--data', JSON.stringify({ orderId: id })]);
  t.match(await project.run(['schema', 'deploy-check']), { status: 0, stderr: /no event/ });
  await publish('A');
  project.write('proto/orders.proto', V2);
  await publish('dies');
  const dispatcher = project.start(['start', './workers'], { MILLRACE_PORT: '0' });
  await dispatcher.seen('stdout', /event dead-lettered/);
  dispatcher.child.kill('SIGTERM');
  await dispatcher.ended;

  const good = await project.run(['schema', 'deploy-check', './workers', '--json']);
  t.equal(good.status, 0, good.stderr);
  t.match(JSON.parse(good.stdout), {
    ok: true, unreadable: 0, refused: [],
    schemas: [{ type: 'order.created', schema: 1, version: 1, streams: 1, dead: 0 }, { schema: 2, version: 2, streams: 1, dead: 1 }],
  });
  project.write('next/orders.proto', BAD);
  const bad = await project.run(['schema', 'deploy-check', './workers', '--proto', join(project.dir, 'next')]);
  t.match(bad, { status: 1, stdout: /f cannot read order\.created: the schema under proto\/ cannot read version 1[\s\S]*amount/ });
  t.match(await project.run(['schema', 'deploy-check']), { status: 0, stdout: /order\.created +1 +1 +1 +0 +0\n[\s\S]*every function can read/ });

  // an upcast bridges what the schemas cannot
  await project.run(['schema', 'level', 'NONE']);
  await project.run(['schema', 'register', '--proto', 'next']);
  project.write('workers/f.mjs', fn("upcasts: [upcast('order.created', { from: 1, to: 3 }, (d) => ({ ...d, amount: String(d.amount) })), upcast('order.created', { from: 2, to: 3 }, ({ note, ...d }) => d)],"));
  t.match(await project.run(['schema', 'deploy-check', './workers', '--proto', 'next']), { status: 0 });
});
