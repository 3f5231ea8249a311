import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { idOf, order, orderProto } from '../registry/open-registry.ts';
import { createProject, parseLines } from './run-cli.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');

t.test('register, list, show, diff, level', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1 });
  const run = (...args: string[]) => project.here(['schema', ...args]);
  const [first, second] = [
    await idOf(order('int32 amount = 2;')),
    await idOf(order('int32 amount = 2;', 'string note = 3;')),
  ];

  await t.test('compatible versions are registered, listed, shown and compared', async (t) => {
    t.match(await run('list'), { status: 0, stdout: '', stderr: /no schema is registered/ });
    t.match(await run('register'), { status: 0, stdout: /order\.created +1 +\d+ +registered/ });
    project.write('proto/orders.proto', V2);
    t.match(await run('check'), {
      status: 0,
      stdout: /order\.created: compatible \(level FULL_TRANSITIVE\)/,
    });
    t.match(await run('diff', 'order.created'), {
      status: 0,
      stdout: /\+ {2}string note = 3;[\s\S]*\ncompatible with version 1/,
    });
    t.match(parseLines((await run('register', '--json')).stdout), [
      { type: 'order.created', version: 2, id: second, new: true },
    ]);
    t.match(parseLines((await run('list', '--json')).stdout), [
      {
        subject: 'order.created',
        level: 'FULL_TRANSITIVE',
        ownLevel: false,
        message: 'shop.v1.OrderCreated',
        versions: [
          { version: 1, id: first, by: /@/ },
          { version: 2, id: second },
        ],
      },
    ]);
    t.match(await run('list'), {
      stdout: /order\.created +2 +\d+ +shop\.v1\.OrderCreated +FULL_TRANSITIVE \(global\)/,
    });
    t.match(await run('show', 'order.created', '1'), {
      status: 0,
      stdout:
        /registered .* by .*\n\n\/\/ orders\.proto\nsyntax = "proto3";[\s\S]*int32 amount = 2;\n}/,
    });
    t.match(JSON.parse((await run('show', '--id', String(second), '--json')).stdout), {
      id: second,
      uses: [{ subject: 'order.created', version: 2 }],
      files: [{ name: 'orders.proto', text: V2 }],
    });
    t.match(await run('show', 'nothing'), {
      status: 1,
      stderr: /no schema is registered for "nothing"/,
    });
    t.match(await run('diff', 'order.created'), { status: 0, stdout: 'no difference\n' });
  });

  await t.test('a version that is not compatible is refused, with findings and cure', async (t) => {
    project.write('proto/orders.proto', BAD);
    const refused = await run('register');
    t.match(refused, {
      status: 1,
      stdout: /order\.created: NOT compatible[\s\S]*amount/,
      stderr: /nothing was registered/,
    });
    const checked = await run('check', '--json');
    t.equal(checked.status, 1);
    t.match(JSON.parse(checked.stdout), {
      compatible: false,
      types: [{ type: 'order.created', compatible: false, findings: [{ rule: /./, cure: /./ }] }],
    });
    t.match(await project.here(['publish', 'order.created', '--data', '{"orderId":"A"}']), {
      status: 1,
      stderr: /not compatible[\s\S]*schema level order\.created NONE/,
    });
  });

  await t.test('levels, global and of a subject', async (t) => {
    t.match(await run('level'), { stdout: 'global: FULL_TRANSITIVE (default)\n' });
    t.match(await run('level', 'order.created', 'none'), {
      status: 0,
      stdout: 'order.created: NONE\n',
    });
    t.match(await run('register'), { status: 0, stdout: /order\.created +3 +\d+/ });
    t.match(await run('level', 'order.created', '--unset'), {
      stdout: 'order.created: FULL_TRANSITIVE (global)\n',
    });
    t.match(await run('level', 'BACKWARD'), { stdout: 'global: BACKWARD\n' });
    t.match(JSON.parse((await run('level', 'order.created', '--json')).stdout), {
      subject: 'order.created',
      level: 'BACKWARD',
      own: false,
    });
    t.match(await run('level', 'order.craeted'), {
      status: 1,
      stderr: /no schema is registered for "order\.craeted"/,
    });
  });
});

t.test('in production mode nothing starts with a schema that was not registered', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1 });
  const env = { MILLRACE_MODE: 'production' };
  const publish = () =>
    project.here(['publish', 'order.created', '--data', '{"orderId":"A"}'], env);
  t.match(await publish(), {
    status: 1,
    stderr:
      /not registered, and MILLRACE_MODE is production[\s\S]*millrace schema register order\.created/,
  });
  t.match(await project.here(['schema', 'register'], env), { status: 0 });
  t.match(await publish(), { status: 0 });
});
