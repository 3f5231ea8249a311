/** `millrace rewind`: where a function goes on. */
import type { Command } from 'commander';
import {
  parseRewindTarget,
  rewindFunction,
  RewindTargetError,
  type RewindTarget,
} from '../../rewind/rewind.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { safeJson } from '../printable.ts';

export function registerRewind(program: Command, context: CliContext): void {
  program
    .command('rewind')
    .description('set where a function goes on: everything from there is delivered to it (again)')
    .argument('<function>', 'its name')
    .requiredOption('--to <target>', 'start, end, a time, an entry id or a position')
    .option('--force', 'also a function that says it must not see events again (replaySafe: false)')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
Targets:
  start                      the oldest event that is retained
  end                        behind everything: what has not been read yet is passed over
  2026-01-31T12:00:00Z       events appended then or later (server time); also a day, or ms since 1970
  1795450694309-0            this entry and later ones, in every partition
  3/1795450694309-0/17       the same in partition 3 only, as "tail", "dlq show" and "explain" print it. An entry is delivered as a
                             whole: also the events of it before the position

Works while dispatchers run: their turns under way are thrown away and the lanes go on from the target. Counting starts anew;
parked events and dead letters stay what they are. A view is not rewound but built anew: millrace view rebuild.

Examples:
  millrace rewind analytics --to start
  millrace rewind analytics --to 2026-01-31T12:00:00Z`,
    )
    .action((fn: string, flags: RewindFlags) => rewind(fn, flags, context));
}

interface RewindFlags {
  readonly to: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

async function rewind(fn: string, flags: RewindFlags, context: CliContext): Promise<void> {
  let target: RewindTarget;
  try {
    target = parseRewindTarget(flags.to);
  } catch (error) {
    if (error instanceof RewindTargetError) throw new UsageError(error.message);
    throw error;
  }
  const deployment = await context.open({ protoDir: null });
  const report = await rewindFunction(deployment, fn, target, flags.force);
  if (flags.json) context.out(safeJson(report));
  else
    context.out(
      `${fn} goes on at ${flags.to} in ${plural(report.partitions.length, 'partition')}: ${plural(report.events, 'event')} to be delivered`,
    );
}
