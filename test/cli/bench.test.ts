import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject } from './run-cli.ts';
import { until, moreThan } from '../../scripts/lab/until.ts';

t.test('bench counts its events, leaves nothing behind', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const result = await project.run(['bench', '--events', '20000', '--json']);
  t.equal(result.status, 0, result.stderr);
  t.match(JSON.parse(result.stdout), {
    events: 20000,
    workers: 1,
    partitions: 4,
    publish: { eventsPerSecond: Number },
    drain: { eventsPerSecond: Number },
  });
  t.same(await redis.client().keys('*'), []);
  const human = await project.run(['bench', '--events', '1000']);
  t.match(
    human.stdout,
    /^publish .*events\/s.*\ndrain .*events\/s.*\n1,000 events, each handled once/,
  );
});

t.test('an interrupted bench cleans up', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const project = createProject(t, redis.url);
  const running = project.start(['bench', '--events', '100000000']);
  await until('it publishes', async () => moreThan(await client.dbsize(), 5), 60_000);
  running.child.kill('SIGINT');
  const { status, stderr } = await running.ended;
  t.equal(status, 1);
  t.match(stderr, /^millrace: interrupted\n$/);
  t.same(await client.keys('*'), []);
});

t.test(
  "without REDIS_URL the folder's own server is used, and kept for the next command",
  async (t) => {
    const { projectDir } = await import('../../scripts/lab/redis-server.ts');
    await startRedis(t); // makes sure that the project's cache holds a binary
    const project = createProject(t, undefined);
    const env = await binaryFrom(projectDir);
    t.equal(
      (await project.run(['publish', 'note.added', '--data', '{"book":"b"}'], { env })).status,
      0,
    );
    const tail = await project.run(['tail', 'note.added', '--no-follow'], { env });
    t.equal(tail.status, 0);
    t.match(tail.stdout, /"subject":"b"/);
  },
);

async function binaryFrom(projectDir: string): Promise<NodeJS.ProcessEnv> {
  const { findServerBinary } = await import('../../src/redis/server-binary.ts');
  const { path, libraryPath } = await findServerBinary({ cacheDir: `${projectDir}/.millrace` });
  return {
    MILLRACE_REDIS_SERVER: path,
    ...(libraryPath === '' ? {} : { LD_LIBRARY_PATH: libraryPath }),
  };
}
