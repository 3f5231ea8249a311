/** dlq rehearse, edit and the paces of dlq replay, as their user sees them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { partitionOf } from '../../src/core/partition.ts';
import { readAudit } from '../../src/audit/read-audit.ts';
import { makeBed, specOf, startLane, type BareLane } from '../pipeline/bare-lane.ts';
import { createProject, NOTES_PROTO } from './run-cli.ts';

const FUNCTION = `import { defineFunction } from 'millrace/define';
export default defineFunction({
  name: 'f',
  on: ['note.added'],
  async handle(event, ctx) {
    ctx.logger.info('\\u001b[31mworking');
    if (event.data.number !== 7) throw new Error('no number ' + event.data.number);
    ctx.emit('note.removed', { book: event.data.book });
  },
});
`;

const VIEW = `import { defineView } from 'millrace/define';
export default defineView({
  name: 'v',
  version: 1,
  on: ['note.added'],
  evolve: (row) => ({ notes: (row?.notes ?? 0) + 1 }),
});
`;

/** A project whose function has dead letters of one book. */
async function openProject(t: Test, ids: readonly string[], fn = 'f') {
  const bed = await makeBed(t, 4);
  const project = createProject(t, bed.redis.url, {
    'proto/notes.proto': NOTES_PROTO,
    'workers/f.js': FUNCTION,
    'workers/v.js': VIEW,
    'package.json': '{"type":"module"}',
  });
  const ok = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await project.here(args);
    t.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    t.notMatch(stdout + stderr, /\u001b/, `${args.join(' ')} prints no control characters`);
    return stdout;
  };
  for (const id of ids)
    await ok('publish', 'note.added', '--data', '{"book":"b","number":"1","text":"x"}', '--id', id);
  const lane = await startLane(bed, specOf(fn, ['note.added']), partitionOf('b', 4));
  await lane.drain(() => 'dead');
  const letters = async (): Promise<string[]> =>
    (await ok('dlq', 'list', '--json'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { id: string }).id);
  return { bed, project, ok, lane, letters };
}

/** Works in the background. @returns ends it */
function keepWorking(lane: BareLane, choice: 'done' | 'dead'): () => Promise<void> {
  let on = true;
  const working = (async () => {
    while (on) {
      await lane.drain(() => choice);
      await nextTurn();
    }
  })();
  return async () => {
    on = false;
    await working;
  };
}

t.test('rehearse, edit, rehearse again, replay', { timeout: 115_000 }, async (t) => {
  const { bed, project, ok, lane, letters } = await openProject(t, ['one', 'two']);
  const [first = ''] = await letters();

  await t.test('a rehearsal counts before handlers run', async (t) => {
    const { status, stdout, stderr } = await project.here(['dlq', 'rehearse', '--function', 'f']);
    t.equal(status, 2);
    t.equal(stdout, '');
    t.match(stderr, /2 events of dead letters \(f: 2\).*NOT caught.*--external-effects-happen/s);
  });

  await t.test('a rehearsal shows the fault', async (t) => {
    const args = [
      'dlq',
      'rehearse',
      '--function',
      'f',
      '--limit',
      '1',
      '--external-effects-happen',
    ];
    const { status, stdout, stderr } = await project.here(args);
    t.equal(status, 1, 'the event is not done');
    t.match(stdout, new RegExp(`^${first} note\\.added one: failed by f `, 'm'));
    t.match(stdout, /attempts, another fault: Error: no number 1/);
    t.match(stdout, /1 event rehearsed: 0 done, 1 failed/);
    t.match(stderr, /were not caught: they have happened/);
    t.notMatch(stdout + stderr, /\u001b/);
    t.equal((await letters()).length, 2);
  });

  const data = ['--data', '{"book":"b","number":"7","text":"x"}'];
  await t.test('an edit is tried out, refused, made', async (t) => {
    t.match(
      await ok('dlq', 'edit', first, ...data, '--dry-run'),
      /number: 1 -> 7\n.*would be edited/s,
    );
    t.equal((await project.here(['dlq', 'edit', first, '--data', '{'])).status, 2);
    t.equal((await project.here(['dlq', 'edit', first, '--data', '@nowhere.json'])).status, 2);
    const moved = await project.here(['dlq', 'edit', first, '--data', '{"book":"c"}']);
    t.match(moved, { status: 1, stderr: /its subject is "b"/ });
    project.write('data.json', data[1] as string);
    const { letter, replaces } = JSON.parse(
      await ok('dlq', 'edit', first, '--data', '@data.json', '--json'),
    ) as { letter: string; replaces: string };
    t.equal(replaces, first);
    t.match(await ok('dlq', 'show', letter), /^edited at .* bytes before/m);
    t.match(await ok('dlq', 'show', letter, '--json'), /"name":"Edited"/);
    const rehearsed = JSON.parse(await ok('dlq', 'rehearse', letter, '--yes', '--json')) as Record<
      string,
      unknown
    >;
    t.match(rehearsed, {
      letter,
      outcome: 'done',
      emitted: [{ type: 'note.removed', subject: 'b', data: { book: 'b' } }],
    });
  });

  await t.test('a replay with a canary that nobody runs can be resumed', async (t) => {
    t.match(
      await ok('dlq', 'replay', '--all', '--dry-run'),
      /^2 dead letters would be replayed\nsome of them/,
    );
    const args = ['dlq', 'replay', '--all', '--canary', '1', '--within', '1s'];
    const { status, stdout, stderr } = await project.here(args);
    t.equal(status, 1);
    t.match(stdout, /^1 dead letter replayed; 0 done, 0 dead again, 1 without an outcome yet/);
    const [, id = ''] = /dlq replay --resume ([0-9a-f]{12})/.exec(stderr) ?? [];
    await lane.drain(() => 'done');
    const stop = keepWorking(lane, 'done');
    const resumed = JSON.parse(
      await ok('dlq', 'replay', '--resume', id, '--within', '30s', '--json'),
    ) as Record<string, unknown>;
    await stop();
    t.match(resumed, { replayed: 2, end: 'finished', replay: id });
    t.equal(
      (await ok('dlq', 'replay', '--resume', id)).trim(),
      '2 dead letters replayed; of the 1 followed: 1 done, 0 dead again',
      'a finished replay has nothing left',
    );
  });

  const audited = await readAudit({ connection: bed.connection, keys: bed.keys }, 20);
  t.match(
    audited.map(({ action, outcome }) => `${action} ${outcome}`),
    [
      'dlq replay done',
      'dlq replay done',
      'dlq replay failed',
      'dlq rehearse done',
      'dlq edit done',
      'dlq rehearse done',
    ],
  );
  t.match(
    audited.find(({ action }) => action === 'dlq edit'),
    {
      target: first,
      wanted: { fields: 1 },
      data: { before: { number: 1 }, after: { number: 7 }, more: false },
    },
  );
});

t.test('events that die again are told, and audited with the replay', async (t) => {
  const { bed, project, lane, letters } = await openProject(t, ['one', 'two']);
  const stop = keepWorking(lane, 'dead');
  const args = ['dlq', 'replay', '--all', '--stop-at', '100%'];
  const { status, stdout, stderr } = await project.here(args);
  await stop();
  t.equal(status, 0);
  t.match(stdout, /^2 dead letters replayed; 0 done, 2 dead again$/m);
  t.match(stderr, /events that failed again are not replayed by the same replay/);
  t.equal((await letters()).length, 2);
  const [change] = await readAudit({ connection: bed.connection, keys: bed.keys }, 1);
  const { replay } = change?.after as { readonly replay: string };
  t.match(change, { action: 'dlq replay', wanted: { all: true, replay }, after: { dead: 2 } });
});

t.test('a rehearsal of a view has no effects outside', async (t) => {
  const { project } = await openProject(t, ['one'], 'v@1');
  const { status, stdout, stderr } = await project.here(['dlq', 'rehearse', '--all', '--yes']);
  t.equal(status, 0);
  t.match(stdout, /row b \(0 -> 1 events\):\n    all: \(none\) -> \{"notes":1\}\n/);
  t.notMatch(stderr, /they have happened/);
});

t.test('wrong paces are refused', async (t) => {
  const { project } = await openProject(t, []);
  for (const args of [
    ['--all', '--canary', '0'],
    ['--all', '--rate', 'fast'],
    ['--all', '--rate', '0'],
    ['--all', '--stop-at', '5'],
    ['--all', '--stop-at', '101%'],
    ['--all', '--within', '1'],
    ['--all', '--resume', '0123456789ab'],
    ['f/0/1-1', '--resume', '0123456789ab'],
  ])
    t.equal((await project.here(['dlq', 'replay', ...args])).status, 2, args.join(' '));
  const unknown = await project.here(['dlq', 'replay', '--resume', '0123456789ab']);
  t.match(unknown, { status: 1, stderr: /there is no replay "0123456789ab"/ });
});
