/** `millrace scheduled`: events that wait for their time. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { cancelScheduled, listScheduled } from '../../upkeep/scheduled-events.ts';
import { readEvent } from '../../wire/batch-reader.ts';
import { audited } from '../audited.ts';
import type { CliContext, LongRunningContext } from '../context.ts';
import { plural, wholeNumber } from '../options.ts';
import { safeJson } from '../printable.ts';
import { table } from '../table.ts';

export function registerScheduled(program: Command, context: LongRunningContext): void {
  const scheduled = program
    .command('scheduled')
    .description('list or cancel events that wait for their delivery time')
    .addHelpText(
      'after',
      `
Examples:
  millrace scheduled list --limit 20
  millrace scheduled cancel 5f1c2b9d0e3a4c76-4`,
    );

  scheduled
    .command('list')
    .description('print the next events of all partitions, soonest first')
    .option('--limit <n>', 'print at most this many (default 100)', wholeNumber(1, 100_000))
    .option('--json', 'print one JSON object a line')
    .action((flags: { readonly limit?: number; readonly json?: boolean }) => list(flags, context));

  scheduled
    .command('cancel')
    .description('cancel events before they are appended')
    .argument('<ids...>', 'ids of the events')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
Each event is either cancelled or appended, never both.
Exit status 1 if one of the events was not waiting: never scheduled, cancelled, or appended already.`,
    )
    .action((ids: string[], flags: { readonly json?: boolean }) => cancel(ids, flags, context));
}

async function list(
  flags: { readonly limit?: number; readonly json?: boolean },
  context: CliContext,
): Promise<void> {
  const found = await listScheduled(await context.open({ protoDir: null }), flags.limit ?? 100);
  const rows = found.map(({ id, type, partition, dueMs, bytes }) => ({
    id,
    type,
    subject: readEvent(bytes).subject,
    partition,
    due: isoTime(dueMs),
  }));
  if (flags.json) for (const row of rows) context.out(safeJson(row));
  else if (rows.length === 0) context.err('millrace: no event waits for its time');
  else {
    context.out(
      table(
        [
          { title: 'due' },
          { title: 'id' },
          { title: 'type' },
          { title: 'subject' },
          { title: 'partition', right: true },
        ],
        rows.map((row) => [row.due ?? '-', row.id, row.type, row.subject, String(row.partition)]),
      ),
    );
  }
}

async function cancel(
  ids: readonly string[],
  flags: { readonly json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  const missed: string[] = [];
  let done = 0;
  const cancelAll = async (): Promise<void> => {
    for (const id of ids) {
      const cancelled = await cancelScheduled(deployment, id);
      if (cancelled) done++;
      else missed.push(id);
      if (flags.json) context.out(safeJson({ id, cancelled }));
    }
  };
  await audited(deployment, {
    action: 'scheduled cancel',
    target: ids.join(' '),
    make: cancelAll,
    after: () => ({ cancelled: done, missed: missed.length }),
  });
  if (!flags.json && missed.length < ids.length)
    context.out(`${plural(ids.length - missed.length, 'event')} cancelled`);
  if (missed.length > 0) {
    context.err(
      `millrace: not scheduled, cancelled before, or appended already: ${missed.slice(0, 20).join(', ')}`,
    );
    context.fail();
  }
}
