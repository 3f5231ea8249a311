/** `millrace losses`: the losses that the deployment has found. Reads only. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { readLosses } from '../../lag/losses.ts';
import type { CliContext } from '../context.ts';
import { formatCount } from '../options.ts';
import { safeJson } from '../printable.ts';
import { table } from '../table.ts';

export function registerLosses(program: Command, context: CliContext): void {
  program
    .command('losses')
    .description(
      'show the loss ledger: vanished entries, lost consumer groups, flushes that Redis lost',
    )
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
  entries          entries vanished from a stream, although retention did not trim them
  pending          entries vanished while a function had them pending; they are in its dead letters,
                   with the reason "missing"
  acknowledgement  entries were no longer pending at their commit; no outcome of them was applied
  group            a consumer group was gone; it was made again behind the last commit
  parked           events are counted as parked, but no list holds them
  wedged           a parked subject waited without a reason; it was set free, nothing was lost
  sequence         Redis lost flushes that it had acknowledged to a producer
  counts           a counter held no number; it counts on from 0

Running dispatchers and "millrace lag" find losses. Each partition keeps about its last 1,000.
The exit status is 0, with or without losses.

Example:
  millrace losses --json | jq 'select(.kind == "entries")'`,
    )
    .action((flags: { readonly json?: boolean }) => losses(flags, context));
}

async function losses(flags: { readonly json?: boolean }, context: CliContext): Promise<void> {
  const found = await readLosses(await context.open({ protoDir: null }));
  if (flags.json) {
    for (const { id, partition, atMs, ...loss } of found)
      context.out(safeJson({ id: `${partition}/${id}`, at: isoTime(atMs), partition, ...loss }));
    return;
  }
  if (found.length === 0) {
    context.err('millrace: nothing is known to be lost');
    return;
  }
  context.out(
    table(
      [
        { title: 'at' },
        { title: 'kind' },
        { title: 'function' },
        { title: 'type' },
        { title: 'partition', right: true },
        { title: 'count', right: true },
        { title: 'from' },
        { title: 'to' },
      ],
      found.map((loss) => [
        isoTime(loss.atMs) ?? '-',
        loss.kind,
        loss.function ?? '',
        loss.type ?? '',
        String(loss.partition),
        loss.count === 0 ? '' : formatCount(loss.count),
        loss.from,
        loss.to,
      ]),
    ),
  );
}
