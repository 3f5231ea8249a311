/** `millrace losses`: what the deployment has found missing. Reads only. */
import type { Command } from 'commander';
import { readLosses } from '../../lag/losses.ts';
import type { CliContext } from '../context.ts';
import { formatCount } from '../options.ts';
import { isoTime, safeJson, table } from '../printable.ts';

export function registerLosses(program: Command, context: CliContext): void {
  program
    .command('losses')
    .description(
      'show the loss ledger: entries that vanished, groups that were gone, flushes that Redis lost',
    )
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      `
  entries          vanished from a stream although retention did not take them
  pending          vanished while a function had them pending: in its dead letters, reason "missing"
  acknowledgement  no longer pending when the outcome was committed: nothing of it was applied
  group            a consumer group was gone and was made again behind the last commit
  parked           events that are counted as parked are in no list
  wedged           a parked subject had no reason to wait; it has been set free, nothing was lost
  sequence         Redis lost flushes it had acknowledged to a producer

Found by running dispatchers and by "millrace lag". The last 1,000 or so of each partition are kept. Exit status 0, losses or none.

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
