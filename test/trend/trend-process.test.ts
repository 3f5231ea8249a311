/** The trend in processes: millrace start and millrace admin --alerts keep it. */
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { is, until } from '../../scripts/lab/until.ts';
import { createProject, NOTES_PROTO } from '../cli/run-cli.ts';

const LEASE = 'mr:{trend}:lease';
const FILES = {
  'proto/notes.proto': NOTES_PROTO,
  'workers/keeper.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'keeper', on: ['note.added'], async handle() {} });
`,
};

t.test('millrace start keeps the trend, and gives it back at its end', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const p = createProject(t, redis.url, FILES);
  const running = p.start(['start']);
  await running.seen('stderr', /^millrace: ready: .*\n/m);
  await until('it has the lease', async () => is(await look.exists(LEASE), 1));
  running.child.kill('SIGTERM');
  t.match(await running.ended, { status: 0 });
  t.equal(await look.exists(LEASE), 0);
});

t.test('MILLRACE_TREND=off takes the process out', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const p = createProject(t, redis.url, FILES);
  const out = p.start(['start'], { MILLRACE_TREND: 'off' });
  await out.seen('stderr', /^millrace: ready: .*\n/m);
  const keeping = p.start(['admin', '--alerts'], { MILLRACE_PORT: '0' });
  await keeping.seen('stderr', /^millrace: ready: .*\n/m);
  const owner = await until('another process has the lease', () => look.get(LEASE));
  t.match(owner, `-${keeping.child.pid}-`);
  for (const running of [out, keeping]) {
    running.child.kill('SIGTERM');
    t.match(await running.ended, { status: 0 });
  }
});
