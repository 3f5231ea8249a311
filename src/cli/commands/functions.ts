/**
 * `millrace functions`: lists the functions of the deployment, and removes one that is no longer
 * deployed.
 */
import type { Command } from 'commander';
import { readLag } from '../../lag/lag.ts';
import { removeFunction } from '../../upkeep/remove-function.ts';
import { audited, functionState } from '../audited.ts';
import type { CliContext } from '../context.ts';
import { formatCount, plural } from '../options.ts';
import { safeJson } from '../printable.ts';
import { table } from '../table.ts';

export function registerFunctions(program: Command, context: CliContext): void {
  const functions = program
    .command('functions')
    .description('list or remove the functions that the deployment knows')
    .addHelpText(
      'after',
      `
Examples:
  millrace functions list
  millrace functions remove old-report`,
    );

  functions
    .command('list')
    .description('print every function that was ever started here, with its event counts')
    .option('--json', 'print one JSON object a line')
    .action((flags: { readonly json?: boolean }) => list(flags, context));

  functions
    .command('remove')
    .description(
      'remove a function that is no longer deployed, so that it stops blocking retention',
    )
    .argument('<function>', 'name of the function')
    .option('--discard', 'remove it even with parked, dead or pending events; these are deleted')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
Removal is refused while a dispatcher runs the function. Its events stay in their streams.
A function that is started again under this name begins as a new one.`,
    )
    .action((name: string, flags: { readonly discard?: boolean; readonly json?: boolean }) =>
      remove(name, flags, context),
    );
}

async function list(flags: { readonly json?: boolean }, context: CliContext): Promise<void> {
  const { functions } = await readLag(await context.open({ protoDir: null }));
  const rows = functions.map((fn) => ({
    name: fn.name,
    types: [...new Set(fn.types.map((row) => row.type))],
    lag: fn.lag,
    parked: fn.parked,
    dead: fn.dead - fn.purged,
    purged: fn.purged,
    pending: fn.pending,
  }));
  if (flags.json) for (const row of rows) context.out(safeJson(row));
  else if (rows.length === 0)
    context.err(
      'millrace: no function is registered in this deployment; millrace start registers the functions of a folder',
    );
  else {
    context.out(
      table(
        [
          { title: 'function' },
          { title: 'types' },
          ...['lag', 'parked', 'dead', 'purged', 'pending'].map((title) => ({
            title,
            right: true,
          })),
        ],
        rows.map((row) => [
          row.name,
          row.types.join(', '),
          ...[row.lag, row.parked, row.dead, row.purged, row.pending].map(formatCount),
        ]),
      ),
    );
  }
}

async function remove(
  name: string,
  flags: { readonly discard?: boolean; readonly json?: boolean },
  context: CliContext,
): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  const discard = flags.discard ?? false;
  const gone = await audited(deployment, {
    action: 'functions remove',
    target: name,
    wanted: { discard },
    before: await functionState(deployment, name),
    make: () => removeFunction(deployment, name, discard),
    after: (result) => result,
  });
  if (flags.json) context.out(safeJson({ function: name, ...gone }));
  else
    context.out(
      `${name} is removed, with ${plural(gone.parkedUnits, 'parked subject')}, ${plural(gone.deadLetters, 'dead letter')} and ${plural(gone.pendingEntries, 'pending entry').replace('entrys', 'entries')}`,
    );
}
