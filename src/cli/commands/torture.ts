/**
 * `millrace torture`: kills, freezes and cuts off dispatchers that run the functions of a folder,
 * and reports the damage.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { TORTURES, type Torture } from '../../torture/faults.ts';
import { torture, type TortureReport } from '../../torture/torture.ts';
import type { LongRunningContext } from '../context.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { table } from '../table.ts';
import { ownFiles } from './start.ts';

interface Flags {
  readonly proto: string;
  readonly seed: number;
  readonly seconds: number;
  readonly fault: readonly Torture[];
  readonly json?: boolean;
}

export function registerTorture(program: Command, context: LongRunningContext): void {
  program
    .command('torture')
    .description(
      'run the functions of a folder under faults; report losses, doubles, order breaks, recovery time',
    )
    .argument('[dir]', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that declare the event types', './proto')
    .option(
      '--seconds <n>',
      'time during which faults are injected, in seconds',
      wholeNumber(1, 3600),
      20,
    )
    .option(
      '--seed <n>',
      'seed of the published events and of the faults',
      wholeNumber(1, 2 ** 31),
      1,
    )
    .addOption(
      new Option('--fault <names>', `faults to inject, comma separated: ${TORTURES.join(', ')}`)
        .argParser(parseFaults)
        .default(TORTURES, 'all'),
    )
    .option('--json', 'print the report as one JSON object')
    .addHelpText(
      'after',
      `
Your handlers really run, with made-up events of their types. Point the services that they call at
something that may be written to.
The data of the deployment is left alone: torture works in a namespace of its own and removes it at
the end. Delays between attempts are cut short.

Faults:
  kill       a dispatcher is killed (kill -9)
  freeze     a dispatcher is stopped beyond its lease (SIGSTOP), then goes on (SIGCONT)
  cut        connections are reset
  duplicate  replies are lost, so that everything under way is sent again

The faults cut and duplicate need a single server without TLS. Elsewhere they are left out, and the
report says so.
Doubles are events whose handler succeeded more than once. Millrace allows them: make effects
idempotent with ctx.idempotencyKey.
Exit status 0: nothing was lost, out of order or uncounted. 1: something was, or torture could not
run.

Example:
  millrace torture ./workers --seconds 30 --seed 7`,
    )
    .action((dir: string, flags: Flags) => run(dir, flags, context));
}

function parseFaults(text: string): readonly Torture[] {
  const names = text.split(',').map((name) => name.trim());
  for (const name of names)
    if (!(TORTURES as readonly string[]).includes(name))
      throw new InvalidArgumentError(`"${name}" is none of ${TORTURES.join(', ')}.`);
  return names as Torture[];
}

async function run(dir: string, flags: Flags, context: LongRunningContext): Promise<void> {
  const stop = context.takeStop();
  const deployment = await context.open({
    protoDir: flags.proto,
    name: 'torture',
    anew: true,
    failFast: 'first',
  });
  context.err(`millrace: the handlers of ${dir} run with made-up events for ${flags.seconds} s`);
  const report = await torture({
    deployment,
    functionsDir: dir,
    skipFiles: ownFiles(dir),
    protoDir: flags.proto,
    seed: flags.seed,
    seconds: flags.seconds,
    faults: flags.fault,
    log: (level, message, fields) => {
      if (level === 'warn' || level === 'error')
        context.err(`millrace: ${message} ${JSON.stringify(fields)}`);
    },
    signal: stop.first,
    progress: (fault) => {
      if (process.stderr.isTTY) context.err(`millrace: ${fault}`);
    },
  });
  if (flags.json) context.out(JSON.stringify(report));
  else print(report, context);
  if (report.violations.length > 0) context.fail();
}

function print(report: TortureReport, context: LongRunningContext): void {
  const { takeover, faults } = report;
  context.out(
    `${plural(report.published, 'event')} published, ${report.acknowledged} acknowledged; ${Object.entries(
      faults,
    )
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')}`,
  );
  const columns = [
    { title: 'function' },
    ...['handled', 'dead', 'lost', 'doubles', 'order breaks'].map((title) => ({
      title,
      right: true,
    })),
  ];
  context.out(
    table(
      columns,
      report.functions.map((fn) => [
        fn.name,
        ...[fn.handled, fn.dead, fn.lost, fn.doubles, fn.orderBreaks].map(formatCount),
      ]),
    ),
  );
  const measured =
    takeover.worstMs === null
      ? 'not measured'
      : `${takeover.worstMs} ms at worst of ${takeover.measured}`;
  context.out(
    `lanes of a dead dispatcher taken over: ${measured}; promised: ${takeover.formula} = ${takeover.boundMs} ms`,
  );
  context.out(
    report.settledMs === null
      ? 'not everything was settled in time'
      : `everything settled ${report.settledMs} ms after the last fault`,
  );
  if (report.leftOut !== null)
    context.out(`left out: ${report.leftOut.faults.join(', ')}, because ${report.leftOut.why}`);
  for (const { rule, what } of report.violations.slice(0, 50))
    context.out(`VIOLATION ${rule}: ${what}`);
}
