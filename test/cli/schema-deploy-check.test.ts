import { join } from 'node:path';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { orderProto } from '../registry/open-registry.ts';
import { createProject } from './run-cli.ts';

const V1 = orderProto('int32 amount = 2;');
const V2 = orderProto('int32 amount = 2;', 'string note = 3;');
const BAD = orderProto('string amount = 2;');

t.test('deploy-check lists what is there and refuses what cannot read it', async (t) => {
  const redis = await startRedis(t);
  const fn = (more = '') => `import { defineFunction, upcast } from 'millrace/define';
export default defineFunction({ name: 'f', on: ['order.created'], retry: { attempts: 1 }, ${more} handle(event) { if (event.subject === 'dies') throw new Error('no'); } });`;
  const project = createProject(t, redis.url, { 'proto/orders.proto': V1, 'workers/f.mjs': fn() });
  const publish = (id: string) =>
    project.here(['publish', 'order.created', '--data', JSON.stringify({ orderId: id })]);
  t.match(await project.here(['schema', 'deploy-check']), { status: 0, stderr: /no event/ });
  await publish('A');
  project.write('proto/orders.proto', V2);
  await publish('dies');
  const dispatcher = project.start(['start', './workers'], { MILLRACE_PORT: '0' });
  await dispatcher.seen('stdout', /event dead-lettered/);
  dispatcher.child.kill('SIGTERM');
  await dispatcher.ended;

  const good = await project.here(['schema', 'deploy-check', './workers', '--json']);
  t.equal(good.status, 0, good.stderr);
  t.match(JSON.parse(good.stdout), {
    ok: true,
    unreadable: 0,
    refused: [],
    schemas: [
      { type: 'order.created', schema: Number, version: 1, streams: 1, dead: 0 },
      { schema: Number, version: 2, streams: 1, dead: 1 },
    ],
  });
  project.write('next/orders.proto', BAD);
  const bad = await project.here([
    'schema',
    'deploy-check',
    './workers',
    '--proto',
    join(project.dir, 'next'),
  ]);
  t.match(bad, {
    status: 1,
    stdout:
      /f cannot read order\.created: the schema under proto\/ cannot read version 1[\s\S]*amount/,
  });
  t.match(await project.here(['schema', 'deploy-check']), {
    status: 0,
    stdout: /order\.created +1 +\d+ +1 +0 +0\n[\s\S]*every function can read/,
  });

  // An upcast bridges schemas that are not compatible.
  await project.here(['schema', 'level', 'NONE']);
  await project.here(['schema', 'register', '--proto', 'next']);
  project.write(
    'workers/f.mjs',
    fn(
      "upcasts: [upcast('order.created', { from: 1, to: 3 }, (d) => ({ ...d, amount: String(d.amount) })), upcast('order.created', { from: 2, to: 3 }, ({ note, ...d }) => d)],",
    ),
  );
  t.match(await project.here(['schema', 'deploy-check', './workers', '--proto', 'next']), {
    status: 0,
  });
});
