/** `millrace find` and `millrace trace` as users run them. */
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { createProject, parseLines, type Project } from './run-cli.ts';

const publish = async (project: Project, lines: readonly object[]): Promise<void> => {
  project.write('lines.ndjson', lines.map((line) => JSON.stringify(line)).join('\n'));
  const { status, stderr } = await project.here(['publish', '--file', 'lines.ndjson']);
  if (status !== 0) throw new Error(stderr);
};
const note = (id: string, number: number, more: object = {}): object => ({
  type: 'note.added',
  id,
  data: { book: `b${number % 5}`, number, text: `text ${number}` },
  ...more,
});

t.test('find: lines, JSON, limits, status', async (t) => {
  const project = createProject(t, (await startRedis(t)).url);
  await publish(
    project,
    Array.from({ length: 30 }, (_, i) => note(`n${i}`, i)),
  );
  const lines = await project.here(['find', 'data.number == 7']);
  t.equal(lines.status, 0);
  t.match(
    lines.stdout,
    /note\.added {2}n7 {2}subject b2 {2}at \d\/\d+-\d+\/\d+\n {3}\{.*"number":7/,
  );
  t.match(lines.stderr, /searched 30 of 30 events: 1 match; these are all retained events/);
  const json = await project.here(['find', 'data.number >= 25', '--json', '--limit', '3']);
  t.strictSame(parseLines(json.stdout).length, 3);
  t.match(parseLines(json.stdout)[0], {
    specversion: '1.0',
    type: 'note.added',
    data: { number: Number },
    position: /^\d\//,
  });
  t.match(json.stderr, /3 matches; --limit is reached, back to 20/);
  const none = await project.here(['find', 'data.text == "no"', '--type', 'note.added']);
  t.match(none, { status: 1, stdout: '', stderr: /0 matches/ });
  const few = await project.here(['find', 'true', '--max-events', '4', '--since', '1h']);
  t.match(few.stderr, /searched 4 of 30 events: 4 matches; --max-events is reached/);
  const unsure = await project.here(['find', 'extensions.tenant == "a"']);
  t.match(unsure, {
    status: 1,
    stderr: /30 events could not be judged, such as event n\d+: No such/,
  });
  const tail = await project.here(['tail', 'note.added', '--no-follow']);
  const whole = await project.here(['find', 'true', '--json', '--limit', '100']);
  const plain = (text: string): unknown[] =>
    parseLines(text)
      .map(({ position: _p, appendedat: _a, ...event }) => event)
      .sort((a, b) => String(a['id']).localeCompare(String(b['id'])));
  t.strictSame(plain(whole.stdout), plain(tail.stdout), 'the JSON is that of tail');
});

t.test('find: wrong use is told before the server is reached', async (t) => {
  const project = createProject(t, 'redis://127.0.0.1:1');
  t.match(await project.here(['find', 'sbject == "x"']), {
    status: 2,
    stderr: /Unknown variable: sbject at line 1, column 1/,
  });
  t.match(await project.here(['find', 'true', '--since', 'yesterday']), { status: 2 });
});

t.test('find: Ctrl-C prints what was searched', async (t) => {
  const redis = await startRedis(t);
  const look = redis.client();
  const project = createProject(t, redis.url);
  await publish(project, [note('n0', 0)]);
  // The search of so many entries takes much longer than a signal.
  const [stream = ''] = await look.keys('mr:{*}:events:note.added');
  await look.eval(
    `local entry = redis.call('XRANGE', KEYS[1], '-', '+')[1][2]
     for i = 1, 20000 do redis.call('XADD', KEYS[1], '*', unpack(entry)) end`,
    1,
    stream,
  );
  const running = project.start(['find', 'data.number >= 0', '--limit', '1000000']);
  await running.seen('stdout', /note\.added/);
  running.child.kill('SIGINT');
  const { status, stderr } = await running.ended;
  t.match(stderr, /searched [\d,]+ of [\d,]+ events: \d+ match(es)?; it was ended, back to 20/);
  t.equal(status, 0, 'there were matches');
});

t.test('trace: the tree, JSON, and an event that is not there', async (t) => {
  const project = createProject(t, (await startRedis(t)).url);
  await publish(project, [note('first', 1)]);
  await publish(project, [
    note('second', 2, { source: 'copier', causationid: 'first', correlationid: 'first' }),
  ]);
  const whole = await project.here(['trace', 'first']);
  t.equal(whole.status, 0);
  t.match(
    whole.stdout,
    /note\.added {2}first {2}subject b1[^]* └ copier: not asked: .*, emitted after .*, done within .*\n +note\.added {2}second[^]*0 causes, 1 effect/,
  );
  const json = await project.here(['trace', 'second', '--json']);
  t.match(JSON.parse(json.stdout), {
    causes: [{ id: 'first' }],
    complete: true,
    root: { event: { id: 'second', source: 'copier' } },
  });
  const { where } = (JSON.parse(json.stdout) as { root: { event: { where: string } } }).root.event;
  t.match(await project.here(['trace', where]), { status: 0, stdout: /1 cause, 0 effects/ });
  t.match(await project.here(['trace', 'nobody']), {
    status: 1,
    stderr: /event nobody was not found/,
  });
  t.match(await project.here(['trace', '9/1-1/0']), { status: 2, stderr: /partitions 0 to 3/ });
});
