import { spawn } from 'node:child_process';
import { crc32 } from 'node:zlib';
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { CLI, createProject, parseLines, type Project } from './run-cli.ts';

const lines = (from: number, to: number): string =>
  Array.from(
    { length: to - from + 1 },
    (_, i) =>
      `{"type":"note.added","id":"n${from + i}","data":{"book":"b${(from + i) % 20}","number":${from + i}}}`,
  ).join('\n');
/** Publishes the lines from a file. */
const publish = async (project: Project, text: string): Promise<void> => {
  project.write('lines.ndjson', text);
  const { status, stderr } = await project.here(['publish', '--file', 'lines.ndjson']);
  if (status !== 0) throw new Error(stderr);
};
const ids = (text: string): unknown[] => parseLines(text).map((event) => event['id']);

t.test('what is retained: limits, one partition, all of them', async (t) => {
  const project = createProject(t, (await startRedis(t)).url);
  for (const [from, to] of [
    [1, 1],
    [2, 2],
    [3, 300],
  ] as const)
    await publish(project, lines(from, to));

  const all = await project.run(['tail', 'note.added', '--no-follow']);
  t.equal(all.status, 0);
  t.equal(all.stderr, '');
  t.equal(new Set(ids(all.stdout)).size, 300);
  t.same(ids(all.stdout).slice(0, 2), ['n1', 'n2'], 'merged by time over the partitions');

  const some = await project.here(['tail', 'note.added', '--from', 'start', '--limit', '7']);
  t.equal(some.stdout, `${all.stdout.split('\n').slice(0, 7).join('\n')}\n`);
  t.equal(
    parseLines((await project.here(['tail', 'note.added', '--limit', '1000'])).stdout).length,
    300,
    'fewer than the limit: it ends all the same',
  );

  const parts = await Promise.all(
    [0, 1, 2, 3].map((p) =>
      project.here(['tail', 'note.added', '--no-follow', '--partition', String(p)]),
    ),
  );
  t.equal(
    parts.reduce((sum, { stdout }) => sum + parseLines(stdout).length, 0),
    300,
  );
  t.equal(
    parseLines((await project.here(['tail', 'note.removed', '--no-follow'])).stdout).length,
    0,
  );
});

t.test('new events; a restarted server; SIGINT ends it with 0', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const project = createProject(t, redis.url);
  await publish(project, lines(1, 3));
  const running = project.start(['tail', 'note.added']);
  await running.seen('stderr', /waiting for new events of note.added in 4 partitions/);
  await publish(project, lines(4, 5));
  await running.seen('stdout', /"n5"/);
  await redis.restart();
  await publish(project, lines(6, 6));
  await running.seen('stdout', /"n6"/);
  running.child.kill('SIGINT');
  const { status, stdout } = await running.ended;
  t.equal(status, 0);
  t.same(ids(stdout).sort(), ['n4', 'n5', 'n6']);

  const limited = project.start(['tail', 'note.added', '--follow', '--limit', '2']);
  await limited.seen('stderr', /waiting for new events/);
  await publish(project, lines(7, 9));
  const ended = await limited.ended;
  t.equal(ended.status, 0);
  t.equal(parseLines(ended.stdout).length, 2);
});

t.test('foreign entries are printed, broken ones named and passed over', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const project = createProject(t, redis.url);
  const batch = (id: string, data: Buffer): { bytes: Buffer; crc: number } => {
    // EventBatch { 3: Event { 1: id, 2: subject, 3: data } }
    const field = (tag: number, value: Buffer): Buffer =>
      Buffer.concat([Buffer.from([tag, value.length]), value]);
    const bytes = field(
      0x1a,
      Buffer.concat([
        field(0x0a, Buffer.from(id)),
        field(0x12, Buffer.from('s')),
        field(0x1a, data),
      ]),
    );
    return { bytes, crc: crc32(bytes) };
  };
  const sound = Buffer.from([0x0a, 1, 0x62, 0x10, 7]); // book: "b", number: 7
  const key = 'mr:{2}:events:note.added';
  const foreign = batch('foreign', sound);
  await client.xadd(key, '1-1', 'b', foreign.bytes, 'n', '1');
  await client.xadd(key, '2-1', 'b', batch('flipped', sound).bytes, 'n', '1', 'c', '12345');
  await client.xadd(key, '3-1', 'b', Buffer.from([0x1a, 0x7f, 1]), 'n', '1');
  await client.xadd(key, '4-1', 'hello', 'world');
  await client.xadd(key, '5-1', 'b', batch('undecodable', Buffer.from([0x0a, 9])).bytes, 'n', '1');
  const last = batch('last', sound);
  await client.xadd(key, '6-1', 'b', last.bytes, 'n', '1', 'c', last.crc);
  const { status, stdout, stderr } = await project.here(['tail', 'note.added', '--no-follow']);
  t.equal(status, 0);
  t.same(
    parseLines(stdout).map(({ id, subject, data }) => ({ id, subject, data })),
    [
      { id: 'foreign', subject: 's', data: { book: 'b', text: '', number: 7 } },
      { id: 'last', subject: 's', data: { book: 'b', text: '', number: 7 } },
    ],
  );
  t.match(stderr, /entry 2\/2-1 passed over: .*CRC-32/);
  t.match(stderr, /entry 2\/3-1 passed over: /);
  t.match(stderr, /entry 2\/4-1 passed over: it has no field "b"/);
  t.match(stderr, /event undecodable at 2\/5-1\/0 passed over: /);
});

t.test('bytes and 64-bit numbers survive tail and publish', async (t) => {
  const project = createProject(t, (await startRedis(t)).url, {
    'proto/blob.proto': `syntax = "proto3"; package x; import "millrace/v1/options.proto";
      message Part { bytes raw = 1; } message Blob { option (millrace.v1.event) = { type: "blob", subject: "key" };
      string key = 1; bytes raw = 2; repeated Part parts = 3; int64 size = 4; }`,
  });
  const data = {
    key: 'k',
    raw: 'AAEC/w==',
    parts: [{ raw: 'AQ==' }, { raw: '' }],
    size: 9007199254740991,
  };
  const published = await project.here(['publish', 'blob', '--data', JSON.stringify(data)]);
  t.equal(published.status, 0, published.stderr);
  const event = parseLines((await project.here(['tail', 'blob', '--no-follow'])).stdout)[0];
  t.match(event?.['data'], { key: 'k', raw: 'AAEC/w==', size: 9007199254740991 });
  t.equal((await project.here(['publish', 'blob', '--data', '{"key":"k","raw":"?"}'])).status, 1);
});

t.test('a reader that has seen enough: ends with 0, in silence', async (t) => {
  const { url } = await startRedis(t);
  const project = createProject(t, url);
  await publish(project, lines(1, 20_000));
  const shell = spawn(
    'bash',
    [
      '-c',
      `"${process.execPath}" "${CLI}" tail note.added --no-follow | head -n 2; echo "\${PIPESTATUS[0]}"`,
    ],
    {
      cwd: project.dir,
      env: { PATH: process.env['PATH'], HOME: project.dir, REDIS_URL: url },
    },
  );
  let stdout = '';
  let stderr = '';
  shell.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  shell.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await new Promise((resolve) => shell.once('close', resolve));
  t.equal(stderr, '');
  t.equal(stdout.trim().split('\n').length, 3);
  t.match(stdout, /\n0\n$/);
});
