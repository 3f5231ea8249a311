/** `--masked`: nothing confidential is printed. And `schema users`, by the command line. */
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { orderProto } from '../registry/open-registry.ts';
import { createProject, parseLines } from './run-cli.ts';

const PROTO = orderProto('string email = 2 [(millrace.v1.masked) = true];', 'int32 amount = 3;');
const FUNCTION = `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'f', on: ['order.created'], retry: { attempts: 1 },
  handle(event) { throw new TypeError('no account of ' + event.data.email, { cause: event.data.email }); } });`;

t.test('masked output of tail and of dead letters', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, {
    'proto/orders.proto': PROTO,
    'workers/f.mjs': FUNCTION,
  });
  const data = JSON.stringify({ orderId: 'A', email: 'SECRET', amount: 7 });
  const published = await project.here(['publish', 'order.created', '--data', data]);
  t.equal(published.status, 0, published.stderr);

  const open = await project.here(['tail', 'order.created', '--no-follow']);
  t.match(parseLines(open.stdout), [{ data: { email: 'SECRET' } }]);
  const masked = await project.here(['tail', 'order.created', '--no-follow', '--masked']);
  t.notMatch(masked.stdout, /SECRET/);
  t.match(parseLines(masked.stdout), [
    { data: { orderId: 'A', email: null, amount: 7 }, masked: ['email'] },
  ]);
  project.write('masked.ndjson', masked.stdout);
  const again = await project.here(['publish', '--file', 'masked.ndjson']);
  t.equal(again.status, 1, 'what is masked is not taken for the event');
  t.match(again.stderr, /"masked" must be a string/);

  const dispatcher = project.start(['start', './workers'], { MILLRACE_PORT: '0' });
  await dispatcher.seen('stdout', /event dead-lettered/);
  dispatcher.child.kill('SIGTERM');
  await dispatcher.ended;
  const [letter] = parseLines((await project.here(['dlq', 'list', '--json'])).stdout);
  const id = String(letter?.['id']);
  for (const more of [[], ['--json'], ['--payload'], ['--payload', '--json']]) {
    const all = await project.here(['dlq', 'show', id, ...more]);
    t.match(all.stdout, /SECRET/, more.join(' '));
    const shown = await project.here(['dlq', 'show', id, '--masked', ...more]);
    t.equal(shown.status, 0, shown.stderr);
    t.notMatch(shown.stdout + shown.stderr, /SECRET/, more.join(' '));
    t.match(shown.stdout, /TypeError/);
  }
  const json = await project.here(['dlq', 'show', id, '--masked', '--payload', '--json']);
  t.match(JSON.parse(json.stdout), {
    error: { message: '(masked)', stack: /f\.mjs/ },
    payload: { orderId: 'A', email: null },
    masked: ['email'],
  });
});

t.test('schema users: versions, sample, readers; what a change breaks', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url, {
    'proto/orders.proto': orderProto('int32 amount = 2;'),
    'next/orders.proto': orderProto('string amount = 2;'),
  });
  const data = JSON.stringify({ orderId: 'A', amount: 7 });
  await project.here(['publish', 'order.created', '--data', data]);
  const json = await project.here(['schema', 'users', 'order.created', '--json']);
  t.equal(json.status, 0, json.stderr);
  t.match(JSON.parse(json.stdout), {
    subject: 'order.created',
    versions: [{ version: 1, deleted: false }],
    written: [{ version: 1, events: 1, sources: ['millrace'] }],
    sample: { events: 1, entries: 1, ofEntries: 1 },
    readers: [],
  });
  const broken = await project.here(['schema', 'users', 'order.created', '--proto', 'next']);
  t.match(broken, {
    status: 0,
    stdout:
      /NOT compatible, 1 finding[\s\S]*version 1: its events cannot be read; its readers misread new events \(1 event in the sample\)/,
    stderr: /sample: 1 event in the newest 1 of 1 entries/,
  });
  const deleted = await project.here(['schema', 'users', 'order.created', '--delete', '1']);
  t.match(deleted.stdout, /deletion of version 1 of order\.created:\n[\s\S]*no version is left/);
  t.match(await project.here(['schema', 'users', 'order.creted']), {
    status: 1,
    stderr: /no schema is registered for "order\.creted"/,
  });
});
