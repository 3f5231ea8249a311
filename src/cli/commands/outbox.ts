/** `millrace outbox`: emitted events that wait to be brought to another partition. Reads only. */
import type { Command } from 'commander';
import { readOutboxes } from '../../outbox/outbox-state.ts';
import type { CliContext } from '../context.ts';
import { formatCount } from '../options.ts';
import { duration, safeJson, table } from '../printable.ts';

export function registerOutbox(program: Command, context: CliContext): void {
  program
    .command('outbox')
    .description('show what functions have emitted to other partitions and is not there yet')
    .option('--json', 'one JSON object a line, for each partition')
    .addHelpText(
      'after',
      `
  from      partition of the function that emitted     to      partition the events are for
  flushes   what one turn emitted to one partition     oldest  how long the oldest flush has waited

Normally empty: dispatchers relay within milliseconds. What stays does so because no dispatcher owns a lane in "from", or because "to"
takes nothing (its log says why). Looks into the oldest 1,024 flushes of a partition. Exit status 0, whatever waits.

Example:
  millrace outbox --json | jq 'select(.oldestMs > 60000)'`,
    )
    .action((flags: { readonly json?: boolean }) => outbox(flags, context));
}

async function outbox(flags: { readonly json?: boolean }, context: CliContext): Promise<void> {
  const states = await readOutboxes(await context.open({ protoDir: null }));
  if (flags.json) {
    for (const state of states) context.out(safeJson(state));
    return;
  }
  const waiting = states.filter(({ entries }) => entries > 0);
  if (waiting.length === 0) {
    context.err('millrace: nothing waits in the outboxes');
    return;
  }
  const right = (title: string) => ({ title, right: true });
  context.out(
    table(
      [right('from'), right('to'), right('flushes'), right('events'), right('oldest')],
      waiting.flatMap(({ partition, targets }) =>
        targets.map((to) => [
          String(partition),
          String(to.partition),
          formatCount(to.entries),
          formatCount(to.events),
          duration(to.oldestMs),
        ]),
      ),
    ),
  );
  for (const { partition, entries, targets } of waiting) {
    const looked = targets.reduce((sum, target) => sum + target.entries, 0);
    if (looked < entries)
      context.err(
        `millrace: partition ${partition} holds ${formatCount(entries)} flushes, of which the oldest ${formatCount(looked)} are shown`,
      );
  }
}
