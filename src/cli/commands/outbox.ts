/** `millrace outbox`: emitted events on their way to another partition. Reads only. */
import type { Command } from 'commander';
import { readOutboxes } from '../../outbox/outbox-state.ts';
import type { CliContext } from '../context.ts';
import { formatCount } from '../options.ts';
import { duration, safeJson } from '../printable.ts';
import { table } from '../table.ts';

export function registerOutbox(program: Command, context: CliContext): void {
  program
    .command('outbox')
    .description('show emitted events that have not reached their partition yet')
    .option('--json', 'print one JSON object a line, for each partition')
    .addHelpText(
      'after',
      `
  from     partition of the emitting function
  to       partition that the events are for
  flushes  waiting flushes; a turn emits one flush to each partition
  oldest   waiting time of the oldest flush

Outboxes are normally empty: dispatchers relay within milliseconds. A flush stays if no dispatcher
owns a lane in "from", or if "to" accepts nothing. The dispatcher's log says why.
The command looks at the oldest 1,024 flushes of a partition. The exit status is always 0.

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
