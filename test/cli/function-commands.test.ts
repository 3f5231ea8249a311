/** The commands over lag, dead letters, rewind and explain, each in the test's own process. */
import { Command, CommanderError } from 'commander';
import t, { type Test } from 'tap';
import { registerDlq } from '../../src/cli/commands/dlq.ts';
import { registerExplain } from '../../src/cli/commands/explain.ts';
import { registerLag } from '../../src/cli/commands/lag.ts';
import { registerRewind } from '../../src/cli/commands/rewind.ts';
import type { LongRunningContext } from '../../src/cli/context.ts';
import { UsageError } from '../../src/cli/exit-status.ts';
import { partitionOf } from '../../src/core/partition.ts';
import { createProject } from './run-cli.ts';
import { dump } from '../../scripts/lab/counters.ts';
import { makeBed, publish, specOf, startLane } from '../pipeline/bare-lane.ts';
import { printable, safeJson } from '../../src/cli/printable.ts';
import { table } from '../../src/cli/table.ts';

t.test('printable', (t) => {
  t.equal(printable('a\u001b[31mred\u001b[0m\nb\u0007\u009b2Jc\u202ed'), 'ared b·c·d');
  t.equal(printable('\u001b]0;title\u0007x'), 'x');
  t.equal(printable('x'.repeat(1e6)).length, 200);
  t.equal(safeJson({ a: '\u009b\u202e\u001b' }), '{"a":"\\u009b\\u202e\\u001b"}');
  t.match(
    table(
      [{ title: 'a' }, { title: 'n', right: true }],
      [
        ['x\u001b[2J', '10'],
        ['long', '5'],
      ],
    ),
    /^a +n\nx +10\nlong +5$/,
  );
  t.end();
});

t.test('bad use is refused before anything is opened', async (t) => {
  const unused = (): never => {
    throw new Error('used');
  };
  const context: LongRunningContext = {
    open: () => Promise.reject(new Error('opened')),
    out: () => {},
    err: () => {},
    takeStop: unused,
    screen: unused,
    environment: unused,
    fail: () => {},
  };
  const id = 'f/0/1-1';
  for (const args of [
    ['dlq', 'what'],
    ['dlq', 'replay'],
    ['dlq', 'purge', '--all'],
    ['dlq', 'purge', '--yes'],
    ['dlq', 'purge', 'nonsense', '--yes'],
    ['dlq', 'replay', id, '--all'],
    ['dlq', 'list', '--limit', '0'],
    ['dlq', 'list', '--what'],
    ['dlq', 'list', '--group', 'mine'],
    ['dlq', 'groups', 'extra'],
    ['dlq', 'edit', id],
    ['dlq', 'edit', 'x', '--data', '{}'],
    ['dlq', 'edit', id, '--data', '{'],
    ['dlq', 'rehearse'],
    ['dlq', 'rehearse', 'x'],
    ['dlq', 'replay', '--all', '--canary', '0'],
    ['dlq', 'replay', '--all', '--resume', '0123456789ab'],
    ['dlq', 'show'],
    ['dlq', 'show', 'x'],
    ['rewind', 'f'],
    ['rewind', '--to', 'start'],
    ['rewind', 'f', '--to', 'soon'],
    ['explain'],
    ['explain', 'a', '--subject', 'b'],
    ['explain', ''],
    ['explain', 'a', '--scan', 'x'],
    ['lag', 'extra'],
  ]) {
    const program = new Command()
      .exitOverride()
      .configureOutput({ writeErr: () => {}, writeOut: () => {} });
    for (const register of [registerLag, registerDlq, registerRewind, registerExplain])
      register(program, context);
    const error: unknown = await program.parseAsync(['node', 'millrace', ...args]).then(
      () => null,
      (e: unknown) => e,
    );
    t.ok(
      error instanceof UsageError || error instanceof CommanderError,
      `${args.join(' ')}: ${String(error)}`,
    );
  }
});

/** Opens a bed whose function `f` has one event done and two dead. */
async function openBed(t: Test) {
  const bed = await makeBed(t, 4);
  await bed.connection.command('HSET', 'mr:registry:settings', 'partitions', 4);
  const p = partitionOf('z', 4);
  const lane = await startLane(bed, specOf('f', ['note.added']), p);
  await publish(bed, p, {
    'note.added': [
      { id: 'one\u001b[31m', subject: 'x\u001b[2J' },
      { id: 'two', subject: 'y' },
      { id: 'three', subject: 'z' },
    ],
  });
  await lane.drain(({ id }) => (id === 'three' ? 'done' : 'dead'));
  const client = bed.redis.client();
  const project = createProject(t, bed.redis.url);
  const ok = async (...args: string[]) => {
    const result = await project.here(args);
    t.equal(result.status, 0, `${args.join(' ')}: ${result.stderr}`);
    t.notMatch(
      result.stdout + result.stderr,
      /\u001b/,
      `${args.join(' ')} prints no control characters`,
    );
    return result.stdout;
  };
  return { p, client, project, ok };
}

t.test('lag, dlq, explain, rewind', { timeout: 115_000 }, async (t) => {
  const { p, client, project, ok } = await openBed(t);
  const letters = (await ok('dlq', 'list', '--json'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const id = String(letters[1]?.['id']);

  await t.test('lag: by function and by type', async (t) => {
    t.match(JSON.parse(await ok('lag', '--json')), {
      functions: [
        {
          name: 'f',
          appended: 3,
          done: 1,
          parked: 0,
          dead: 2,
          pending: 0,
          lag: 0,
          oldestMs: null,
          conserved: true,
          types: [{ type: 'note.added', partition: p, appended: 3, done: 1, dead: 2 }],
        },
      ],
    });
    t.match(await ok('lag'), /^f +3 +1 +0 +2 +0 +0 +- +yes$/m);
    t.match(
      await ok('lag', '--types', '--function', 'f'),
      new RegExp(`^f +note\\.added +${p} +3`, 'm'),
    );
    t.match(await ok('lag', '--rates', '1'), /^f +0\.0 +0\.0 +0 +0 ms +-$/m);
    t.match(JSON.parse(await ok('lag', '--rates', '1', '--json')), {
      functions: [{ rate: { arrivalPerSecond: 0, drainMs: 0, types: [{ type: 'note.added' }] } }],
    });
    t.match(
      await ok('lag', '--states', '--types'),
      new RegExp(`^f +note\\.added +${p} +held +0 +-$`, 'm'),
    );
  });

  await t.test('dlq list and show: the letters, and their payload when asked', async (t) => {
    t.match(letters, [
      {
        id: /^f\/\d\/\d+-\d+$/,
        function: 'f',
        type: 'note.added',
        subject: 'x\u001b[2J',
        eventId: 'one\u001b[31m',
        reason: 'non-retryable',
        error: { name: 'TestError' },
        attempts: 1,
        firstFailedAt: /^\d{4}-.*Z$/,
        lastFailedAt: /^\d{4}-.*Z$/,
      },
      { eventId: 'two' },
    ]);
    t.match(await ok('dlq', 'list'), /^f\/\d\/\S+ +note\.added +x/m);
    const shown = await ok('dlq', 'show', id);
    t.match(shown, /^event +two$/m);
    t.notMatch(shown, 'payload  ');
    t.match(JSON.parse(await ok('dlq', 'show', id, '--json', '--payload')), {
      id,
      kind: 'event',
      history: [{ attempt: 1 }],
    });
  });

  await t.test('dlq groups: letters by fault, and the choice of a group', async (t) => {
    const { groups, ...counts } = JSON.parse(await ok('dlq', 'groups', '--json')) as {
      groups: { group: string; example: string }[];
    };
    t.strictSame(counts, { letters: 2, vanished: 0, damaged: [] });
    t.match(groups, [
      { function: 'f', letters: 1, partitions: [p], error: { name: 'TestError' } },
      { function: 'f', letters: 1, firstAt: /Z$/, lastAt: /Z$/ },
    ]);
    t.match(await ok('dlq', 'groups'), /^[0-9a-f]{12} +1 .+ f +note\.added +TestError: no/m);
    for (const { group, example } of groups) {
      const line = await ok('dlq', 'list', '--group', group, '--json');
      t.match(JSON.parse(line), { id: example, group }, 'one line');
      t.match(await ok('dlq', 'show', example), new RegExp(`^group +${group}$`, 'm'));
      t.match(
        await ok('dlq', 'purge', '--group', group, '--dry-run'),
        /^1 dead letter \(1 event\) would be purged/,
      );
    }
  });

  await t.test('explain: an event, and those of a subject', async (t) => {
    t.match(await ok('explain', 'two'), /f: dead, 1 attempt, non-retryable\n/);
    t.match(JSON.parse(await ok('explain', '--subject', 'z', '--json')), {
      events: [{ id: 'three', functions: [{ function: 'f', state: 'done' }] }],
    });
  });

  await t.test('a name that is not there fails; a dry run changes nothing', async (t) => {
    const before = await dump(client);
    for (const args of [
      ['dlq', 'show', 'f/0/1-1'],
      ['rewind', 'g', '--to', 'end'],
      ['explain', 'nowhere'],
    ])
      t.equal((await project.here(args)).status, 1, args.join(' '));
    t.match(JSON.parse(await ok('dlq', 'purge', '--all', '--dry-run', '--json')), {
      purged: 2,
      events: 2,
      dryRun: true,
    });
    t.match(
      await ok('dlq', 'replay', '--function', 'f', '--dry-run'),
      /^2 dead letters would be replayed/,
    );
    t.strictSame(await dump(client), before, 'none of these has changed anything');
  });

  await t.test('dlq replay and purge, rewind: told, and done', async (t) => {
    t.match(JSON.parse(await ok('dlq', 'replay', id, '--json')), { replayed: 1, gone: 0 });
    const again = await project.here(['dlq', 'replay', id, '--json']);
    t.equal(again.status, 1, 'a named letter that is not there');
    t.match(JSON.parse(again.stdout), { replayed: 0, gone: 1 });
    t.match(await ok('dlq', 'purge', '--all', '--yes'), /^1 dead letter \(1 event\) purged/);
    t.match(await ok('rewind', 'f', '--to', 'start'), /3 events to be delivered/);
    t.match(JSON.parse(await ok('lag', '--json')), {
      functions: [{ lag: 3, parked: 1, dead: 1, done: 0, conserved: true }],
    });
    t.match(
      await ok('explain', 'two'),
      new RegExp(`^ +all of note\\.added in partition ${p}: lag 3, the oldest .+ old; parked`, 'm'),
    );
  });
});
