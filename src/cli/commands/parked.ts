/** `millrace parked`: events that wait for their next attempt. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { formatLetterId } from '../../pipeline/dead/dead-letters.ts';
import { readWaitingUnits } from '../../pipeline/retry/waiting-units.ts';
import { runAllNow, runUnitNow } from '../../pipeline/retry/run-now.ts';
import { readPartitions, requireFunction } from '../../redis/counters.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';

interface ListFlags {
  readonly limit?: number;
  readonly json?: boolean;
}

interface RunFlags {
  readonly subject?: string;
  readonly all?: boolean;
  readonly json?: boolean;
}

export function registerParked(program: Command, context: LongRunningContext): void {
  const parked = program
    .command('parked')
    .description('list events that wait for their next attempt, or try them at once')
    .addHelpText(
      'after',
      `
Examples:
  millrace parked list mail
  millrace parked run-now mail --subject A-1
  millrace parked run-now mail --all`,
    );

  parked
    .command('list')
    .description('print the subjects of a function with parked events, those due first in front')
    .argument('<function>', 'name of the function')
    .option('--limit <n>', 'print at most this many (default 100)', wholeNumber(1, 10_000))
    .option('--json', 'print one JSON object a line')
    .action((fn: string, flags: ListFlags) => list(fn, flags, context));

  parked
    .command('run-now')
    .description('try parked events at once, e.g. after a downstream service is back')
    .argument('<function>', 'name of the function')
    .option('--subject <subject>', "this subject (ordering 'none': the event with this id)")
    .option('--all', 'all subjects of the function')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
The first event of each subject runs at once, and the others follow in order. An attempt counts as
any other. Subjects that a dead letter holds stay: replay or purge the letter.
Dispatchers find the events within a second. An interrupted command has moved a part. Run it again.
Exit status 1 if the subject is not parked, or is held.`,
    )
    .action((fn: string, flags: RunFlags) => runNow(fn, flags, context));
}

async function list(fn: string, flags: ListFlags, context: LongRunningContext): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  requireFunction(await readPartitions(deployment), fn);
  const limit = flags.limit ?? 100;
  const units = await readWaitingUnits(deployment, fn, { ofPartition: limit, most: limit });
  const rows = units.map(({ unit, partition, dueMs, events, head, letter }) => ({
    subject: unit,
    partition,
    due: dueMs === null ? null : isoTime(dueMs),
    events,
    head: head === null ? null : head.eventId,
    attempts: head?.attempts ?? null,
    error: head?.error ?? null,
    heldBy: letter === null ? null : formatLetterId(fn, partition, letter),
  }));
  if (flags.json) for (const row of rows) context.out(safeJson(row));
  else if (rows.length === 0) context.err(`millrace: no event of ${fn} is parked`);
  else
    context.out(
      table(
        [
          { title: 'due' },
          { title: 'subject' },
          { title: 'events', right: true },
          { title: 'head' },
          { title: 'attempts', right: true },
          { title: 'last error' },
        ],
        rows.map(({ due, subject, events, head, attempts, error, heldBy }) => [
          heldBy === null ? (due ?? '-') : `held by ${heldBy}`,
          printable(subject, 80),
          String(events),
          printable(head ?? '-', 80),
          String(attempts ?? '-'),
          printable(error ?? '-', 120),
        ]),
      ),
    );
}

async function runNow(fn: string, flags: RunFlags, context: LongRunningContext): Promise<void> {
  const { subject, all = false } = flags;
  if ((subject === undefined) === !all)
    throw new UsageError('give --subject or --all: one of both, and not both');
  const deployment = await context.open({ protoDir: null });
  requireFunction(await readPartitions(deployment), fn);
  const stop = context.takeStop();
  const { moved, held } = await audited(deployment, {
    action: 'parked run-now',
    target: fn,
    wanted: subject === undefined ? { all } : { subject },
    make: async () =>
      subject === undefined
        ? { moved: await runAllNow(deployment, fn, { signal: stop.first }), held: 0 }
        : runUnitNow(deployment, fn, subject),
    after: (result) => result,
  });
  if (flags.json) context.out(safeJson({ function: fn, moved, held }));
  else if (held > 0)
    context.err('millrace: a dead letter holds this subject: replay or purge the letter');
  else if (moved === 0)
    context.err(
      subject === undefined
        ? `millrace: nothing of ${fn} waits for its time`
        : `millrace: "${printable(subject, 80)}" is not parked for ${fn}, or is due already`,
    );
  else context.out(`${plural(moved, 'subject')} of ${fn} ${moved === 1 ? 'is' : 'are'} due now`);
  if (subject !== undefined && moved === 0) context.fail();
}
