/** `millrace view trace`: a row with the events that made it. Reads only. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { isoTime } from '../../core/rfc3339.ts';
import type { Deployment } from '../../deployment.ts';
import { plainShown } from '../../payload/plain-shown.ts';
import { DataShapes } from '../../registry/data-shapes.ts';
import { findGeneration, type Generation } from '../../views/generations.ts';
import { traceRow, type RowTrace } from '../../views/row-trace.ts';
import { showTrace, type ShownTrace } from '../../views/show-trace.ts';
import { ViewGenerationError } from '../../views/view-errors.ts';
import { changeJson, changeLines } from '../changes.ts';
import type { LongRunningContext } from '../context.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { ownFiles } from './start.ts';

interface Flags {
  readonly dir?: string;
  readonly proto: string;
  readonly version?: number;
  readonly category?: readonly string[];
  readonly scan: number;
  readonly masked?: boolean;
  readonly json?: boolean;
}

export function registerViewTrace(view: Command, context: LongRunningContext): void {
  view
    .command('trace')
    .description('print a row with the events that made it')
    .argument('<view>', 'name of the view')
    .argument('<id>', 'id of the row')
    .option('--dir <dir>', 'folder with the view: fold the events, and print what each one changed')
    .option('--proto <dir>', 'with --dir: folder of the .proto files', './proto')
    .option(
      '--version <n>',
      'version to look at (default: the live one)',
      wholeNumber(1, 999_999_999),
    )
    .option(
      '--category <names...>',
      'categories of histories to look into (default: those that the names of the types begin with)',
    )
    .option('--scan <n>', 'most events of the streams to look at', wholeNumber(1, 1_000_000), 5000)
    .option('--masked', 'leave out the row, its changes, and the fields that the schemas mask')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
The events come from the subject's histories, else from the streams, the newest first. The row tells
how many events it was folded from. Events that were not found are counted: retention took them, or
the search ended before them. Exit status 1 if there is no row, or if a fold leads to another one.

Examples:
  millrace view trace order-summary A-1
  millrace view trace order-summary A-1 --dir ./workers --json`,
    )
    .action((name: string, id: string, flags: Flags) => run(name, id, flags, context));
}

async function run(
  name: string,
  id: string,
  flags: Flags,
  context: LongRunningContext,
): Promise<void> {
  const deployment = await context.open({ protoDir: flags.dir === undefined ? null : flags.proto });
  const generation = await findGeneration(deployment, name, flags.version);
  const trace = await traced(deployment, generation, id, flags);
  const shapes = new DataShapes(deployment.registry, deployment.catalog);
  const shown = await showTrace(trace, shapes.find, flags.masked ? 'masked' : 'full');
  if (flags.json) context.out(safeJson(asJson(shown, trace, flags.masked ?? false)));
  else print(shown, trace, flags.masked ?? false, context);
  if (shown.row === null || shown.folded?.same === false) context.fail();
}

async function traced(
  deployment: Deployment,
  generation: Generation,
  id: string,
  { dir, category, scan }: Flags,
): Promise<RowTrace> {
  const options = { scan, ...(category === undefined ? {} : { categories: category }) };
  if (dir === undefined) return traceRow(deployment, generation, id, { ...options, fold: null });
  // The pool is loaded only where it is needed.
  const { openViewFolds } = await import('../../dispatcher/open-view-folds.ts');
  const { folds, close } = await openViewFolds(deployment, {
    functionsDir: resolve(dir),
    skipFiles: ownFiles(dir),
  });
  try {
    const fold = folds.find(({ spec }) => spec.name === generation.name);
    if (!fold)
      throw new ViewGenerationError(
        generation.view,
        `${dir} does not hold version ${generation.version}: leave out --dir, or name another folder`,
      );
    return await traceRow(deployment, generation, id, { ...options, fold });
  } finally {
    await close();
  }
}

function asJson(shown: ShownTrace, { row }: RowTrace, isMasked: boolean): object {
  const { events, ...rest } = shown;
  return {
    ...rest,
    row: row && { ...row, value: isMasked ? null : row.value },
    events: events.map(({ data, changes, timeMs, ...event }) => {
      const plain = plainShown(data);
      return {
        ...event,
        at: isoTime(timeMs),
        data: plain.data,
        ...(isMasked ? { masked: plain.masked } : {}),
        ...(changes ? { changes: changes.changes.map(changeJson), more: changes.more } : {}),
      };
    }),
  };
}

function print(
  { view, version, id, events, missing, searched, damaged, folded, row: seen }: ShownTrace,
  { row }: RowTrace,
  isMasked: boolean,
  context: LongRunningContext,
): void {
  if (damaged !== null) context.err(`millrace: the row cannot be read: ${printable(damaged, 500)}`);
  else if (!seen) context.err(`millrace: view "${view}" has no row ${printable(id)}`);
  for (const event of events) {
    const from = event.history ? `  ${event.history.category} ${event.history.revision}` : '';
    const state = event.later ? '  (not in the row)' : '';
    context.out(
      printable(
        `${event.position}  ${isoTime(event.timeMs) ?? '-'}  ${event.type}  by ${event.source}${from}${state}`,
        1000,
      ),
    );
    context.out(`   ${printable(safeJson(plainShown(event.data).data), 2000)}`);
    if (event.changes) for (const line of changeLines(event.changes, 'row')) context.out(line);
  }
  if (row && !isMasked) context.out(safeJson(row.value, 2));
  if (seen)
    context.err(
      `millrace: ${view}@${version} ${printable(id)}: ${plural(seen.revision, 'event')}, last ${seen.position}`,
    );
  if (missing > 0)
    context.err(
      `millrace: ${plural(missing, 'event')} or more not found: looked into the histories of ${searched.categories.join(', ') || 'no category'} and at ${formatCount(searched.scanned)} events of the streams${searched.complete ? ', which is all of them' : ''}`,
    );
  if (folded?.problem)
    context.err(
      `millrace: the event at ${folded.problem.position} cannot be folded: ${folded.problem.error.name ?? 'Error'}: ${printable(folded.problem.error.message ?? '(masked)', 500)}`,
    );
  else if (folded && !folded.same)
    context.err('millrace: a fold of these events leads to another row than the stored one');
}
