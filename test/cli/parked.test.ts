/** `millrace parked`: the list, and retries before their time. */
import t from 'tap';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { until } from '../../scripts/lab/until.ts';
import { counter, createProject, NOTES_PROTO, parseLines } from './run-cli.ts';

/** Waits for an hour after a failure, and fails until the file `mended` is there. */
const SENDER = `import { existsSync } from 'node:fs';
import { defineFunction, NonRetryableError } from 'millrace/define';
export default defineFunction({
  name: 'sender',
  on: ['note.added'],
  onDead: 'hold',
  retry: { attempts: 5, minDelayMs: 3_600_000, maxDelayMs: 3_600_000 },
  handle({ data }) {
    if (data.text === 'fatal') throw new NonRetryableError('never');
    if (!existsSync('mended')) throw new Error('the mail server is away');
  },
});
`;

t.test('parked events are listed, and run at once when they are told to', async (t) => {
  const redis = await startRedis(t);
  const p = createProject(t, redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/sender.ts': SENDER,
  });
  const running = p.start(['start'], { MILLRACE_PORT: '0' });
  await running.seen('stderr', /admin http/);
  const look = redis.client();
  const lines = [
    ...['a', 'a', 'b', 'c'].map((book) => ({ book, number: 1, text: 'x' })),
    ...[1, 2].map((number) => ({ book: 'd', number, text: 'fatal' })),
  ].map((data) => JSON.stringify({ type: 'note.added', data }));
  const published = await p.run(['publish', '--file', p.write('notes.jsonl', lines.join('\n'))]);
  t.equal(published.status, 0, published.stderr);
  await until('all are parked or dead', async () => {
    const list = await p.here(['parked', 'list', 'sender', '--json']);
    const rows = parseLines(list.stdout);
    return rows.length === 4 && rows.some(({ heldBy }) => heldBy !== null) ? rows : null;
  });
  const list = parseLines((await p.here(['parked', 'list', 'sender', '--json'])).stdout);
  t.match(
    list.map(({ subject, events, attempts }) => ({ subject, events, attempts })),
    [
      { subject: 'a', events: 2, attempts: 1 },
      { subject: 'b', events: 1, attempts: 1 },
      { subject: 'c', events: 1, attempts: 1 },
      { subject: 'd', events: 1 },
    ].sort(
      (x, y) =>
        list.findIndex((one) => one['subject'] === x.subject) -
        list.findIndex((one) => one['subject'] === y.subject),
    ),
  );
  t.match((await p.here(['parked', 'list', 'sender'])).stdout, /held by sender\/\d+\//);

  t.match(await p.here(['parked', 'run-now', 'sender']), { status: 2 });
  t.match(await p.here(['parked', 'run-now', 'nobody', '--all']), { status: 1 });
  t.match(await p.here(['parked', 'run-now', 'sender', '--subject', 'zz']), { status: 1 });
  t.match(await p.here(['parked', 'run-now', 'sender', '--subject', 'd']), {
    status: 1,
    stderr: /a dead letter holds/,
  });
  t.equal(await counter(look, 'done:sender:note.added'), 0);

  p.write('mended', '');
  t.match(await p.here(['parked', 'run-now', 'sender', '--subject', 'a']), {
    status: 0,
    stdout: /1 subject of sender is due now/,
  });
  await until('a has run', async () => (await counter(look, 'done:sender:note.added')) === 2);
  t.match(await p.here(['parked', 'run-now', 'sender', '--all', '--json']), {
    status: 0,
    stdout: /"moved":2,"held":0/,
  });
  await until('all have run', async () => (await counter(look, 'done:sender:note.added')) === 4);
  const audit = parseLines((await p.here(['audit', '--json'])).stdout);
  t.ok(audit.some(({ action }) => action === 'parked run-now'));
});
