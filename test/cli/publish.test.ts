import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { counter, createProject, parseLines } from './run-cli.ts';
import { untilTold, countersOf, is } from '../../scripts/lab/until.ts';

const note = (number: number, more: object = {}): string =>
  JSON.stringify({
    type: 'note.added',
    data: { book: `b${number % 50}`, number, text: 'x' },
    ...more,
  });

t.test('publish --data', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const human = await project.run(['publish', 'note.added', '--data', '{"book":"b","number":1}']);
  t.equal(human.status, 0);
  t.match(human.stdout, /^published \S+ at \d\/\d+-\d+\/0\n$/);

  const json = await project.here([
    'publish',
    'note.added',
    '--data',
    '{"book":"b","number":2}',
    '--subject',
    's',
    '--id',
    'my-id',
    '--json',
  ]);
  t.equal(json.status, 0);
  t.match(JSON.parse(json.stdout), { id: 'my-id', position: /^\d\/\d+-\d+\/0$/ });

  const tail = await project.here(['tail', 'note.added', '--no-follow']);
  t.match(parseLines(tail.stdout), [
    { specversion: '1.0', type: 'note.added', subject: 'b', data: { number: 1 } },
    { id: 'my-id', subject: 's', data: { number: 2, book: 'b' } },
  ]);

  const oversize = await project.run([
    'publish',
    'note.added',
    '--data',
    JSON.stringify({ book: 'b', text: 'x'.repeat(5000) }),
  ]);
  t.equal(oversize.status, 1);
  t.match(oversize.stderr, /^millrace: .*4096.*\n$/);
  t.equal(await counter(redis.client(), 'appended:note.added'), 2);
});

t.test('publish --file: types, blank lines, CRLF, no line break at the end', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const lines = [
    note(1, { id: 'one', time: '2020-01-02T03:04:05.678Z', source: 'here', traceparent: 'abc' }),
    '',
    `${note(2)}\r`,
    '{"data":{"book":"z","number":3}}',
    '{"type":"note.removed","data":{"book":"z"}}',
  ];
  project.write('events.ndjson', lines.join('\n'));
  const result = await project.run(['publish', 'note.added', '--file', 'events.ndjson', '--json']);
  t.equal(result.stderr, '');
  t.equal(result.status, 0);
  t.match(JSON.parse(result.stdout), {
    published: 4,
    skipped: 0,
    unknown: 0,
    eventsPerSecond: Number,
  });

  const tail = await project.here(['tail', 'note.added', '--no-follow']);
  const events = parseLines(tail.stdout);
  t.equal(events.length, 3);
  t.match(
    events.find((e) => e['id'] === 'one'),
    { time: '2020-01-02T03:04:05.678Z', source: 'here', traceparent: 'abc', subject: 'b1' },
  );

  // publish takes the output of tail.
  const again = await project.run(['publish', '-'], {
    stdin: tail.stdout,
    env: { MILLRACE_NAMESPACE: 'copy' },
  });
  t.equal(again.status, 0);
  t.match(again.stdout, /^3 events published in /);
  const copy = await project.here(['tail', 'note.added', '--no-follow'], {
    MILLRACE_NAMESPACE: 'copy',
  });
  const byId = (text: string) =>
    parseLines(text).sort((a, b) => String(a['id']).localeCompare(String(b['id'])));
  t.same(byId(copy.stdout), byId(tail.stdout));
});

t.test('the first bad line ends it, and nothing from it on is sent', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const bad: [string, string, RegExp][] = [
    ['no JSON', '{"type":', /line 3: not JSON/],
    ['no object', '[1]', /line 3: .*object/],
    ['no type', '{"data":{"book":"b"}}', /line 3: .*type/],
    ['no CloudEvent', '{"type":"note.added","data":{"book":"b"},"id":7}', /line 3: .*id/],
    [
      'an unknown type',
      '{"type":"note.lost","data":{}}',
      /line 3: event type "note.lost" is not declared/,
    ],
    [
      'data that does not fit',
      '{"type":"note.added","data":{"book":"b","number":"many"}}',
      /line 3: event "note.added", field number: /,
    ],
    [
      'no subject',
      '{"type":"note.added","data":{"number":4}}',
      /line 3: event "note.added", field book: .*subject/,
    ],
    [
      'an oversize payload',
      JSON.stringify({ type: 'note.added', data: { book: 'b', text: 'x'.repeat(5000) } }),
      /line 3: .*4096/,
    ],
    [
      'an over-long line',
      `{"x":"${'x'.repeat(2 * 1024 * 1024)}"}`,
      /line 3: longer than 2097152 bytes/,
    ],
  ];
  const project = createProject(t, redis.url);
  for (const [what, line, stderr] of bad) {
    const MILLRACE_NAMESPACE = what.replaceAll(' ', '-').toLowerCase();
    const text = [note(1), note(2), line, note(4), note(5)].join('\n');
    project.write('events.ndjson', text);
    // One from stdin, as a process: the way in changes nothing.
    const result =
      what === 'no JSON'
        ? await project.run(['publish', '-', '--json'], {
            stdin: text,
            env: { MILLRACE_NAMESPACE },
          })
        : await project.here(['publish', '--file', 'events.ndjson', '--json'], {
            MILLRACE_NAMESPACE,
          });
    t.equal(result.status, 1, what);
    t.match(result.stderr, stderr, what);
    t.match(
      result.stderr,
      /stopped at line 3: 2 events before it published, nothing from it on/,
      what,
    );
    t.match(JSON.parse(result.stdout), { published: 2, skipped: 0 }, what);
    let appended = 0;
    for (let p = 0; p < 4; p++)
      appended += Number(
        await client.hget(`${MILLRACE_NAMESPACE}:{${p}}:counters`, 'appended:note.added'),
      );
    t.equal(appended, 2, what);
  }
  project.write('no-utf8.ndjson', Buffer.from([0x7b, 0xff, 0x7d]));
  const utf8 = await project.here(['publish', '--file', 'no-utf8.ndjson']);
  t.equal(utf8.status, 1);
  t.match(utf8.stderr, /line 1: not UTF-8/);
});

t.test('--skip-bad leaves bad lines out, names them, and ends with 0', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const lines: string[] = [];
  for (let i = 1; i <= 5000; i++)
    lines.push(
      i % 1000 === 0
        ? 'nonsense'
        : i % 1000 === 500
          ? '{"type":"note.added","data":{"book":7}}'
          : note(i),
    );
  lines.splice(2, 0, 'y'.repeat(3 * 1024 * 1024));
  project.write('events.ndjson', lines.join('\n'));
  const result = await project.run(['publish', '--file', 'events.ndjson', '--skip-bad']);
  t.equal(result.status, 0);
  t.match(result.stdout, /^4,990 events published in .* 11 bad lines skipped\n$/);
  const named = result.stderr
    .split('\n')
    .filter(Boolean)
    .map((line) => Number(/^line (\d+): /.exec(line)?.[1]));
  t.same(
    named,
    [3, 501, 1001, 1501, 2001, 2501, 3001, 3501, 4001, 4501, 5001],
    'in the order of the lines',
  );
  t.equal(await counter(redis.client(), 'appended:note.added'), 4990);

  // Each subject keeps the order of the file.
  const seen = new Map<string, number>();
  for (const { subject, data } of parseLines(
    (await project.here(['tail', 'note.added', '--no-follow'])).stdout,
  )) {
    const { number } = data as { number: number };
    if (number <= (seen.get(subject as string) ?? 0))
      t.fail(`${String(subject)}: ${number} after ${String(seen.get(subject as string))}`);
    seen.set(subject as string, number);
  }
  t.equal(seen.size, 50);
});

t.test('SIGINT ends it with what was sent said, status 1', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const project = createProject(t, redis.url);
  const { child, ended } = project.start(['publish', '-']);
  child.stdin.write(`${note(1)}\n${note(2)}\n{"type":`);
  await untilTold(countersOf(client), 'both are appended', async () =>
    is(await counter(client, 'appended:note.added'), 2),
  );
  child.kill('SIGINT');
  const result = await ended;
  t.equal(result.status, 1);
  t.match(result.stdout, /^2 events published/);
  t.match(result.stderr, /ended by SIGINT before the end of the input, after line 2/);
});

t.test('a server that goes away in mid file: said, status 1, no stack', async (t) => {
  const redis = await startRedis(t);
  const client = redis.client();
  const project = createProject(t, redis.url);
  const { child, ended } = project.start(['publish', '-', '--json', '--deadline', '3000']);
  child.stdin.write(`${note(1)}\n`);
  await untilTold(countersOf(client), 'one is appended', async () =>
    is(await counter(client, 'appended:note.added'), 1),
  );
  await redis.kill();
  child.stdin.end(`${note(2)}\n`);
  const result = await ended;
  t.equal(result.status, 1);
  t.match(JSON.parse(result.stdout), { published: 1 });
  t.match(result.stderr, /millrace: /);
  t.notMatch(result.stderr, /\n +at /);
});
