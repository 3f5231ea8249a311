/**
 * A failing downstream as its user sees it: in the log while attempts are made, then in dlq and
 * explain.
 */
import t from 'tap';
import { freePort, startRedis } from '../../scripts/lab/redis-server.ts';
import { counter, createProject, NOTES_PROTO } from './run-cli.ts';
import { untilTold, countersOf, is } from '../../scripts/lab/until.ts';

t.test(
  'each failed attempt is logged, with what it was caused by; the delays keep their minimum',
  async (t) => {
    const redis = await startRedis(t);
    const look = redis.client();
    const port = await freePort();
    const p = createProject(t, redis.url, {
      'proto/notes.proto': NOTES_PROTO,
      'workers/caller.ts': `import { defineFunction } from 'millrace/define';
export default defineFunction({ name: 'caller', on: ['note.added'], retry: { attempts: 4, minDelayMs: 40 },
  async handle() { await fetch('http://127.0.0.1:${port}/'); } });
`,
    });
    const running = p.start(['start'], { LOG_LEVEL: 'info' });
    await running.seen('stderr', /ready:/);
    t.equal(
      (
        await p.here([
          'publish',
          'note.added',
          '--data',
          '{"book":"b","number":1,"text":"t"}',
          '--id',
          'one',
        ])
      ).status,
      0,
    );
    await untilTold(countersOf(look), 'it is dead', async () =>
      is(await counter(look, 'dead:caller:note.added'), 1),
    );
    running.child.kill('SIGTERM');
    const { stdout } = await running.ended;
    const lines = stdout
      .split('\n')
      .filter((line) => line.includes('"eventId":"one"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const why = {
      function: 'caller',
      eventId: 'one',
      type: 'note.added',
      subject: 'b',
      attempts: 4,
      error: 'fetch failed',
      errorName: 'TypeError',
      cause: /ECONNREFUSED/,
      stack: /caller\.ts:3/,
    };
    t.match(lines, [
      {
        level: 40,
        msg: /^attempt 1 of 4 failed, the next one is due in \d+ ms$/,
        attempt: 1,
        ...why,
      },
      { level: 40, attempt: 2, ...why },
      { level: 40, attempt: 3, ...why },
      { level: 40, msg: 'event dead-lettered', attempt: 4, reason: 'attempts', ...why },
    ]);
    t.strictSame(
      lines.slice(0, 3).map(({ nextMs }, i) => (nextMs as number) >= 40 * 2 ** i),
      [true, true, true],
      'never below the minimum',
    );

    const [letter] = (await p.here(['dlq', 'list', '--json'])).stdout.split('\n');
    const { id, error } = JSON.parse(letter as string) as { id: string; error: unknown };
    t.match(error, { name: 'TypeError', message: 'fetch failed', cause: /ECONNREFUSED/ });
    const shown = (await p.here(['dlq', 'show', id])).stdout;
    t.match(shown, /^caused by +.*ECONNREFUSED/m);
    t.match(shown, /^attempt 1 at .*: TypeError: fetch failed; caused by .*ECONNREFUSED/m);
    t.match(JSON.parse((await p.here(['explain', 'one', '--json'])).stdout), {
      events: [
        { functions: [{ error: { cause: /ECONNREFUSED/ }, history: [{ cause: /ECONNREFUSED/ }] }] },
      ],
    });
  },
);
