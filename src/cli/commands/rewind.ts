/** `millrace rewind`: sets the place from which a function goes on. */
import type { Command } from 'commander';
import {
  parseRewindTarget,
  rewindFunction,
  RewindTargetError,
  type RewindTarget,
} from '../../rewind/rewind.ts';
import { audited, functionState } from '../audited.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { safeJson } from '../printable.ts';

export function registerRewind(program: Command, context: CliContext): void {
  program
    .command('rewind')
    .description('move a function to a place in its streams: it handles all events from there on')
    .argument('<function>', 'name of the function')
    .requiredOption('--to <target>', 'start, end, a time, an entry id or a position')
    .option('--force', 'rewind even a function that must not see events again (replaySafe: false)')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
Targets:
  start                 the oldest retained event
  end                   behind the last event: unread events are skipped
  2026-01-31T12:00:00Z  events appended at this time or later (server time); also a day, or ms
                        since 1970
  1795450694309-0       this entry and later ones, in every partition
  3/1795450694309-0/17  the same in partition 3 only; "tail", "dlq show" and "explain" print such
                        positions

An entry is delivered as a whole, with its events before the position.
A rewind works while dispatchers run: their running turns are discarded, and the lanes go on from
the target. Counting starts anew. Parked events and dead letters stay as they are.
A view cannot be rewound. Build it anew with millrace view rebuild.

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
  const report = await audited(deployment, {
    action: 'rewind',
    target: fn,
    wanted: { to: flags.to, force: flags.force ?? false },
    before: await functionState(deployment, fn),
    make: () => rewindFunction(deployment, fn, target, flags.force),
    after: (result) => result && { partitions: result.partitions.length, events: result.events },
  });
  if (flags.json) context.out(safeJson(report));
  else
    context.out(
      `${fn} goes on at ${flags.to} in ${plural(report.partitions.length, 'partition')}: ${plural(report.events, 'event')} to be delivered`,
    );
}
