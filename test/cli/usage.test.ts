import { CommanderError } from 'commander';
import t from 'tap';
import { UsageError } from '../../src/cli/exit-status.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { startRedis } from '../../scripts/lab/redis-server.ts';
import { bareContext, type Text } from './bare-context.ts';
import { createProject } from './run-cli.ts';

const WRONG: [what: string, args: string[], stderr: RegExp][] = [
  ['no command', [], /Usage: millrace/],
  [
    'an unknown command',
    ['pubish'],
    /^millrace: unknown command 'pubish'\n\(Did you mean publish\?\)\n$/,
  ],
  [
    'an unknown option',
    ['publish', 'note.added', '--bogus'],
    /^millrace: unknown option '--bogus'\n/,
  ],
  ['an excess argument', ['tail', 'a', 'b'], /^millrace: too many arguments/],
  ['tail without a type', ['tail'], /^millrace: missing required argument 'type'\n$/],
  [
    'tail --limit 0',
    ['tail', 'note.added', '--limit', '0'],
    /^millrace: .*--limit.*whole number from 1/,
  ],
  [
    'tail --limit x',
    ['tail', 'note.added', '--limit', '1e3'],
    /^millrace: .*--limit.*whole number/,
  ],
  [
    'tail --from middle',
    ['tail', 'note.added', '--from', 'middle'],
    /^millrace: .*Allowed choices are start, end/,
  ],
  [
    'tail that can print nothing',
    ['tail', 'note.added', '--from', 'end', '--no-follow'],
    /^millrace: --from end prints new events only/,
  ],
  [
    'tail beyond the partitions',
    ['tail', 'note.added', '--partition', '4'],
    /^millrace: --partition 4: this deployment has the partitions 0 to 3\n$/,
  ],
  [
    'publish of nothing',
    ['publish', 'note.added'],
    /^millrace: give one of --data JSON, --file FILE and - \(stdin\)\n$/,
  ],
  [
    'publish from two places',
    ['publish', 'note.added', '--data', '{}', '--file', 'x'],
    /^millrace: give only one of/,
  ],
  [
    'publish --data without a type',
    ['publish', '--data', '{}'],
    /^millrace: --data needs the event type/,
  ],
  [
    'publish of no JSON',
    ['publish', 'note.added', '--data', '{book'],
    /^millrace: --data is not JSON: .*\n$/,
  ],
  [
    'publish --file --id',
    ['publish', '--file', 'x', '--id', 'y'],
    /^millrace: --id goes with --data/,
  ],
  [
    'publish --data --skip-bad',
    ['publish', 'note.added', '--data', '{}', '--skip-bad'],
    /^millrace: --skip-bad goes with --file/,
  ],
  [
    'publish of a missing file',
    ['publish', '--file', 'missing.ndjson'],
    /^millrace: --file missing.ndjson cannot be read: it does not exist\n$/,
  ],
  [
    'publish of a folder',
    ['publish', '--file', '.'],
    /^millrace: --file \. cannot be read: it is a folder\n$/,
  ],
  [
    'dlq --reason nonsense',
    ['dlq', 'list', '--reason', 'nonsense'],
    /^millrace: .*Allowed choices are attempts, non-retryable, .*missing\.\n$/,
  ],
  [
    'publish with a stray argument',
    ['publish', 'note.added', '{}'],
    /^millrace: unexpected argument "\{\}"/,
  ],
  ['bench of nothing', ['bench', '--events', '0'], /^millrace: .*--events.*whole number from 1/],
  ['init without a folder', ['init'], /^millrace: missing required argument 'dir'\n$/],
];

/**
 * The cases that run the whole binary: those that need a deployment, and one of each kind of error.
 * The other cases run in this process.
 */
const WHOLE = new Set([
  'no command',
  'an unknown command',
  'tail beyond the partitions',
  'tail --limit 0',
  'publish of no JSON',
]);

/** Runs the command in this process, as main.ts does. Nothing is opened. */
async function parse(args: readonly string[]): Promise<Text & { readonly error: unknown }> {
  const text = { stdout: '', stderr: '' };
  const program = await buildProgram(bareContext(text), args[0]);
  for (const command of [
    program,
    ...program.commands,
    ...program.commands.flatMap((c) => c.commands),
  ])
    command.configureOutput({
      writeOut: (piece) => void (text.stdout += piece),
      writeErr: (piece) => void (text.stderr += piece),
    });
  const error: unknown = await program.parseAsync(['node', 'millrace', ...args]).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof UsageError) text.stderr += `millrace: ${error.message}\n`;
  return { error, ...text };
}

t.test('what is wrong on the command line is said in a line, status 2', async (t) => {
  const project = createProject(t, (await startRedis(t)).url);
  await Promise.all(
    WRONG.filter(([what]) => WHOLE.has(what)).map(async ([what, args, stderr]) => {
      const result = await project.run(args);
      t.equal(result.status, 2, what);
      t.match(result.stderr, stderr, what);
      t.equal(result.stdout, '', `${what}: nothing on stdout`);
    }),
  );
  for (const [what, args, stderr] of WRONG.filter(([name]) => !WHOLE.has(name))) {
    const result = await parse(args);
    t.ok(
      result.error instanceof UsageError || result.error instanceof CommanderError,
      `${what}: ${String(result.error)}`,
    );
    t.match(result.stderr, stderr, what);
    t.equal(result.stdout, '', `${what}: nothing on stdout`);
  }
});

t.test('the help and the version are printed on stdout', async (t) => {
  const project = createProject(t, undefined);
  const help = await project.run(['lag', '--help']);
  t.match(help, { status: 0, stdout: /^Usage: millrace lag /, stderr: '' });
  const version = await project.run(['--version']);
  t.match(version, { status: 0, stdout: /^\d+\.\d+\.\d+\n$/, stderr: '' });
});

t.test('failures are a line without a stack, status 1', async (t) => {
  const redis = await startRedis(t);
  const project = createProject(t, redis.url);
  const unknown = await project.run(['publish', 'note.lost', '--data', '{}']);
  t.equal(unknown.status, 1);
  t.match(
    unknown.stderr,
    /^millrace: event type "note.lost" is not declared; declared are: note.added, note.removed\..*\n$/,
  );

  const bad = await project.run([
    'publish',
    'note.added',
    '--data',
    '{"book":"b","number":"many"}',
  ]);
  t.equal(bad.status, 1);
  t.match(bad.stderr, /^millrace: event "note.added", field number: .*Nothing was sent\n$/);

  const stack = await project.run(['publish', 'note.lost', '--data', '{}'], {
    env: { LOG_LEVEL: 'debug' },
  });
  t.equal(stack.status, 1);
  t.match(stack.stderr, /UnknownEventTypeError: .*\n +at /);

  const settings = await project.run(['tail', 'note.added'], {
    env: { WORKERS: 'many', MILLRACE_PARTITION: '3', MILLRACE_DRAIN_MS: '1.5', LOG_LEVEL: 'loud' },
  });
  t.equal(settings.status, 1);
  t.match(
    settings.stderr,
    /^millrace: cannot start, 4 problems:\n  - WORKERS: must be a whole number from 1 to 256 \(got "many"\)\n  - LOG_LEVEL: must be one of trace, debug, .*\(got "loud"\)\n  - MILLRACE_DRAIN_MS: must be a whole number from 0 to 3600000 \(got "1.5"\)\n  - MILLRACE_PARTITION: no such setting.*\n$/,
  );

  const other = await project.run(['tail', 'note.added', '--no-follow'], {
    env: { MILLRACE_PARTITIONS: '8' },
  });
  t.equal(other.status, 1);
  t.match(other.stderr, /MILLRACE_PARTITIONS is 8, but this deployment .* was started with 4/);

  await redis.stop();
  const gone = await project.run(['tail', 'note.added']);
  t.equal(gone.status, 1);
  t.match(
    gone.stderr,
    /^millrace: Redis at unix:.* cannot be reached: connect .*Without REDIS_URL, Millrace runs its own server$/m,
  );
  t.notMatch(gone.stderr, /\n +at /);
});
