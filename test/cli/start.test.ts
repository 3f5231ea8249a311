import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { counter, createProject, NOTES_PROTO } from './run-cli.ts';
import { until, untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const worker = (
  body: string,
  more = '',
): string => `import { defineFunction } from 'millrace/define';
import { appendFileSync } from 'node:fs';
export default defineFunction({ name: 'keeper', on: ['note.added'], ${more}
  async handle(event, ctx) { ${body} } });
`;
/** A function that writes that it runs, and ends when the file "go" is there. */
const WAITING = worker(`appendFileSync('running.txt', event.id + '\\n');
  const { existsSync } = await import('node:fs');
  while (!existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 5));`);

const project = (
  t: Parameters<typeof createProject>[0],
  url: string | undefined,
  files: Record<string, string>,
) => createProject(t, url, { 'proto/notes.proto': NOTES_PROTO, ...files });
const DATA = ['publish', 'note.added', '--data', '{"book":"b","number":1}'];

t.test('ready, works, drains on SIGTERM and SIGINT with status 0', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const p = project(t, redis.url, {
    'workers/keeper.ts': `import { where, stack } from './lib/helper.ts';\n${worker(`ctx.logger.info({ number: event.data.number, where: [import.meta.url, where()], stack: stack() }, 'kept');`)}`,
    'workers/lib/helper.ts':
      "// 1\n// 2\nexport const where = (): string => import.meta.url;\nexport const stack = (): string => String(new Error('here').stack);\n",
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const running = p.start(['start']);
    const ready = await running.seen(
      'stderr',
      /^millrace: ready: 1 function \(keeper\), 4 lanes, 1 worker thread, unix:.*\n/m,
    );
    t.ok(ready);
    const before = await counter(client, 'done:keeper:note.added');
    t.equal((await p.here(DATA)).status, 0);
    await untilTold(countersOf(client), 'it is done', async () =>
      is(await counter(client, 'done:keeper:note.added'), before + 1),
    );
    running.child.kill(signal);
    const { status, stdout, stderr } = await running.ended;
    t.equal(status, 0, signal);
    t.equal(stderr.trim().split('\n').length, 1, 'the ready line alone');
    const logs = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const kept = logs.find((log) => log['msg'] === 'kept');
    t.equal(kept?.['number'], 1);
    t.strictSame(
      kept?.['where'],
      ['keeper.ts', 'lib/helper.ts'].map(
        (name) => pathToFileURL(join(realpathSync(p.dir), 'workers', name)).href,
      ),
      'each file of a bundle has its own import.meta.url',
    );
    t.match(
      kept?.['stack'],
      new RegExp(`${p.dir}/workers/lib/helper\\.ts:4:`),
      'stacks name the source and its line',
    );
    t.match(kept?.['stack'], `${p.dir}/workers/keeper.ts:`);
    t.ok(logs.some((log) => log['msg'] === 'drained'));
  }
});

t.test(
  'a second one says which lanes are its share, although the first one still has them',
  async (t) => {
    const redis = await startRedis(t);
    const p = project(t, redis.url, { 'workers/keeper.ts': worker('') });
    const first = p.start(['start']);
    await first.seen('stderr', /ready: .*, 4 lanes, /);
    const second = p.start(['start']);
    const [, lanes, , more = '0'] = await second.seen(
      'stderr',
      /ready: .*, (\d) lanes?( \((\d) more of its share follow as others give them back\))?, /,
    );
    t.equal(Number(lanes) + Number(more), 2, 'its share is half of the lanes');
    for (const { child, ended } of [first, second]) {
      child.kill('SIGTERM');
      t.equal((await ended).status, 0);
    }
  },
);

t.test('a drain finishes and commits what runs', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const p = project(t, redis.url, { 'workers/keeper.ts': WAITING });
  const running = p.start(['start']);
  await running.seen('stderr', /ready/);
  await p.here(DATA);
  await until('it runs', () => has(p.dir, 'running.txt'));
  running.child.kill('SIGTERM');
  await running.seen('stdout', /"draining"/);
  p.write('go', '');
  const { status } = await running.ended;
  t.equal(status, 0);
  t.equal(await counter(client, 'done:keeper:note.added'), 1);
});

t.test('a second signal stops at once, status 1; what ran is not lost', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const p = project(t, redis.url, { 'workers/keeper.ts': WAITING });
  const running = p.start(['start'], { MILLRACE_LEASE_MS: '2000' });
  await running.seen('stderr', /ready/);
  await p.here(DATA);
  await until('it runs', () => has(p.dir, 'running.txt'));
  running.child.kill('SIGTERM');
  await running.seen('stdout', /"draining"/);
  running.child.kill('SIGTERM');
  const { status, stderr } = await running.ended;
  t.equal(status, 1);
  t.match(stderr, /stopped at once/);
  t.equal(await counter(client, 'done:keeper:note.added'), 0);

  p.write('go', '');
  const again = p.start(['start'], { MILLRACE_LEASE_MS: '2000' });
  await untilTold(countersOf(client), 'it is done', async () =>
    is(await counter(client, 'done:keeper:note.added'), 1),
  );
  again.child.kill('SIGTERM');
  t.equal((await again.ended).status, 0);
});

t.test('a drain that takes too long is cut short, status 1', async (t) => {
  const redis = await startRedis(t);
  const p = project(t, redis.url, { 'workers/keeper.ts': WAITING });
  const running = p.start(['start'], { MILLRACE_DRAIN_MS: '200' });
  await running.seen('stderr', /ready/);
  await p.here(DATA);
  await until('it runs', () => has(p.dir, 'running.txt'));
  running.child.kill('SIGTERM');
  const { status, stderr } = await running.ended;
  t.equal(status, 1);
  t.match(stderr, /cut short after 200 ms/);
});

t.test('it outlives a server that goes away and comes back', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const client = redis.client();
  const p = project(t, redis.url, { 'workers/keeper.ts': worker('') });
  const running = p.start(['start']);
  await running.seen('stderr', /ready/);
  await redis.kill();
  await running.seen('stdout', /"level":40/);
  await redis.restart();
  t.equal((await p.here(DATA)).status, 0);
  await untilTold(countersOf(client), 'it is done', async () =>
    is(await counter(client, 'done:keeper:note.added'), 1),
  );
  running.child.kill('SIGTERM');
  t.equal((await running.ended).status, 0);
});

t.test('what cannot start says every problem, status 1', async (t) => {
  const redis = await startRedis(t);
  const none = await project(t, redis.url, {}).run(['start']);
  t.equal(none.status, 1);
  t.match(none.stderr, /^millrace: cannot start: functions folder .*workers cannot be read/);

  const p = project(t, redis.url, {
    'functions/empty.ts': 'export const x = 1;\n',
    'broken/broken.ts': 'import "./lib/half.ts";\n',
    'broken/lib/half.ts': '\nexport const = 2;\n',
    'functions/lost.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'lost', on: ['note.lost'], handle() {} });\n`,
  });
  const both = await p.run(['start', 'functions']);
  t.equal(both.status, 1);
  t.match(both.stderr, /^millrace: cannot start, 2 problems:\n/);
  t.match(both.stderr, /empty.ts exports no function/);
  t.match(both.stderr, /lost.ts: on names the event type "note.lost"/);

  const all = await p.run(['start', 'functions'], { env: { WORKERS: '0' } });
  t.equal(all.status, 1);
  t.match(
    all.stderr,
    /^millrace: cannot start, 3 problems:\n  - WORKERS: .*\n  - .*empty.ts exports no function.*\n  - .*lost.ts: on names .*\n$/,
    'wrong settings hide nothing',
  );
  await redis.client().config('SET', 'maxmemory-policy', 'allkeys-lru');
  const server = await p.run(['start', 'functions']);
  t.match(
    server.stderr,
    /^millrace: cannot start, 3 problems:\n  - the server's maxmemory-policy is "allkeys-lru".*\n  - .*empty.ts .*\n  - .*lost.ts: .*\n$/,
    'nor does a server that will not do',
  );
  await redis.client().config('SET', 'maxmemory-policy', 'noeviction');

  t.match(
    (await p.run(['start', 'broken'])).stderr,
    /broken\/broken\.ts does not compile: broken\/lib\/half\.ts, line 2: /,
  );

  const proto = await p.run(['start', 'functions', '--proto', 'nowhere']);
  t.equal(proto.status, 1);
  t.match(proto.stderr, /proto folder nowhere does not exist/);
});

async function has(dir: string, name: string): Promise<boolean> {
  const { existsSync } = await import('node:fs');
  return existsSync(`${dir}/${name}`);
}
