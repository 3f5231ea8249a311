/** `millrace view`: queries, and a view's versions: status, rebuild, switch, rollback, drop. */
import type { Command } from 'commander';
import { parseTimeArgument } from '../../core/rfc3339.ts';
import { dropGeneration, rollBackView } from '../../views/generations.ts';
import { View, type ListOptions } from '../../views/view-query.ts';
import { readViewStatus, switchView, type GenerationStatus } from '../../views/view-status.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { formatCount, plural, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { registerRebuild } from './view-rebuild.ts';
import { registerViewTrace } from './view-trace.ts';

interface RangeFlags {
  readonly index?: string;
  readonly equals?: string;
  readonly from?: string;
  readonly to?: string;
  readonly json?: boolean;
}

export function registerView(program: Command, context: LongRunningContext): void {
  const view = program
    .command('view')
    .description('query views; rebuild, switch, roll back or drop their versions')
    .addHelpText(
      'after',
      `
Examples:
  millrace view get order-summary o-17
  millrace view list order-summary --index status --equals cancelled --desc
  millrace view trace order-summary o-17 --dir ./workers
  millrace view rebuild order-summary`,
    );

  registerQueries(view, context);
  registerViewTrace(view, context);
  registerStatus(view, context);
  registerRebuild(view, context);
  registerGenerations(view, context);
}

/** get, list, count */
function registerQueries(view: Command, context: LongRunningContext): void {
  view
    .command('get')
    .description('print one row')
    .argument('<view>', 'name of the view')
    .argument('<id>', 'id of the row')
    .option('--json', 'print one JSON object: the row, its position and the lag of the view')
    .action((name: string, id: string, flags: { readonly json?: boolean }) =>
      get(name, id, flags, context),
    );

  const ranged = (command: Command): Command =>
    command
      .argument('<view>', 'name of the view')
      .option('--index <name>', 'index to read (default: all rows, by id)')
      .option('--equals <value>', 'rows with this value in the index')
      .option('--from <number>', 'rows from this number or time on')
      .option('--to <number>', 'rows before this number or time');
  ranged(view.command('list').description('print rows, one JSON object a line'))
    .option('--desc', 'print the largest first')
    .option('--limit <n>', 'print at most this many rows', wholeNumber(1, 1_000_000), 100)
    .option('--cursor <text>', 'go on behind a page; the text that list printed at its end')
    .action(
      (
        name: string,
        flags: RangeFlags & {
          readonly desc?: boolean;
          readonly limit: number;
          readonly cursor?: string;
        },
      ) => list(name, flags, context),
    );
  ranged(view.command('count').description('print the number of rows'))
    .option('--json', 'print one JSON object, with the lag of the view')
    .action((name: string, flags: RangeFlags) => count(name, flags, context));
}

function registerStatus(view: Command, context: LongRunningContext): void {
  view
    .command('status')
    .description('print the views, their versions, the live one, and what is left to fold')
    .option('--json', 'print one JSON object a line')
    .action((flags: { readonly json?: boolean }) => status(flags, context));
}

/** switch, rollback, drop */
function registerGenerations(view: Command, context: LongRunningContext): void {
  view
    .command('switch')
    .description('verify a version and make it live; the version before is kept')
    .argument('<view>', 'name of the view')
    .argument('<version>', 'number of the version', wholeNumber(1, 999_999_999))
    .option('--force', 'switch although the verification has problems')
    .addHelpText(
      'after',
      `
A version is fit when its counts add up, nothing of it is parked or dead, and sampled rows are in
their indexes. Exit status 1 if it is not fit.`,
    )
    .action(async (name: string, version: number, flags: { readonly force?: boolean }) => {
      const deployment = await context.open({ protoDir: null });
      const force = flags.force ?? false;
      const { from, to, verified } = await audited(deployment, {
        action: 'view switch',
        target: `${name}@${version}`,
        wanted: { force },
        make: () => switchView(deployment, name, version, { force }),
        after: (result) => result && { live: result.to, before: result.from },
      });
      for (const problem of verified.problems)
        context.err(`millrace: ${name}@${to}: ${printable(problem, 1000)}`);
      context.out(`${name}: version ${to} is live, no longer ${from}`);
    });

  view
    .command('rollback')
    .description('make the previous version live again')
    .argument('<view>', 'name of the view')
    .action(async (name: string) => {
      const deployment = await context.open({ protoDir: null });
      const { from, to } = await audited(deployment, {
        action: 'view rollback',
        target: name,
        make: () => rollBackView(deployment, name),
        after: (result) => result && { live: result.to, before: result.from },
      });
      context.out(`${name}: version ${to} is live, no longer ${from}`);
    });

  view
    .command('drop')
    .description('remove a version that is not live, with its rows, indexes and lanes')
    .argument('<view>', 'name of the view')
    .argument('<version>', 'number of the version', wholeNumber(1, 999_999_999))
    .action(async (name: string, version: number) => {
      const deployment = await context.open({ protoDir: null });
      const rows = await audited(deployment, {
        action: 'view drop',
        target: `${name}@${version}`,
        make: () => dropGeneration(deployment, name, version),
        after: (removed) => removed !== undefined && { rows: removed },
      });
      context.out(`${name}: version ${version} is removed, with ${plural(rows, 'row')}`);
    });
}

async function get(
  name: string,
  id: string,
  flags: { readonly json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const got = await new View(await context.open({ protoDir: null }), name).get(id);
  if (flags.json) context.out(safeJson(got));
  if (!got.found) {
    if (!flags.json) context.err(`millrace: view "${name}" has no row ${id}${behind(got.lag)}`);
    context.fail();
  } else if (!flags.json) {
    context.out(safeJson(got.found.row, 2));
    context.err(
      `millrace: ${plural(got.found.revision, 'event')}, last ${got.found.position}${behind(got.lag)}`,
    );
  }
}

const behind = (lag: number): string =>
  lag === 0 ? '' : `; ${plural(lag, 'event')} not folded yet`;

function rangeOf(flags: RangeFlags): Pick<ListOptions, 'index' | 'equals' | 'from' | 'to'> {
  const bound = (option: string, text: string | undefined): number | undefined => {
    if (text === undefined) return undefined;
    if (/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) return Number(text);
    const moment = parseTimeArgument(text);
    if (moment === null)
      throw new UsageError(
        `${option} is neither a number nor an RFC 3339 time such as 2026-03-01T12:00:00Z: ${text}`,
      );
    return moment.ms;
  };
  const [from, to] = [bound('--from', flags.from), bound('--to', flags.to)];
  return {
    ...(flags.index === undefined ? {} : { index: flags.index }),
    ...(flags.equals === undefined ? {} : { equals: flags.equals }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  };
}

async function list(
  name: string,
  flags: RangeFlags & { readonly desc?: boolean; readonly limit: number; readonly cursor?: string },
  context: LongRunningContext,
): Promise<void> {
  const view = new View(await context.open({ protoDir: null }), name);
  let cursor = flags.cursor ?? null;
  let left = flags.limit;
  do {
    const page = await view.list({
      ...rangeOf(flags),
      order: flags.desc ? 'desc' : 'asc',
      limit: Math.min(1000, left),
      ...(cursor === null ? {} : { cursor }),
    });
    for (const row of page.rows) context.out(safeJson(row));
    for (const { problem } of page.unreadable) context.err(`millrace: ${problem}`);
    if (page.unreadable.length > 0) context.fail();
    left -= page.rows.length;
    cursor = page.cursor;
  } while (cursor !== null && left > 0);
  if (cursor !== null) context.err(`millrace: more rows follow: go on with --cursor ${cursor}`);
}

async function count(name: string, flags: RangeFlags, context: LongRunningContext): Promise<void> {
  const counted = await new View(await context.open({ protoDir: null }), name).count(
    rangeOf(flags),
  );
  context.out(flags.json ? safeJson(counted) : String(counted.count));
}

async function status(
  flags: { readonly json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  const views = await readViewStatus(await context.open({ protoDir: null }));
  if (flags.json) {
    for (const { view, generations } of views)
      for (const { name: _name, uncounted, ...generation } of generations)
        context.out(
          safeJson({ view, ...generation, ...(uncounted.length > 0 ? { uncounted } : {}) }),
        );
    return;
  }
  const rows = views.flatMap(({ view, generations }) =>
    generations.map((generation) => [
      view,
      String(generation.version),
      stateOf(generation),
      formatCount(generation.rows),
      formatCount(generation.left),
      generation.types.join(', '),
      generation.indexes.join(', '),
    ]),
  );
  if (rows.length === 0)
    context.err(
      'millrace: no view is known in this deployment; millrace start registers the views of a folder',
    );
  else
    context.out(
      table(
        [
          { title: 'view' },
          { title: 'version', right: true },
          { title: '' },
          { title: 'rows', right: true },
          { title: 'to fold', right: true },
          { title: 'types' },
          { title: 'indexes' },
        ],
        rows,
      ),
    );
}

function stateOf({ live, previous, build }: GenerationStatus): string {
  if (live) return 'live';
  if (build !== null)
    return `being built: ${formatCount(build.folded)} of ${plural(build.events, 'event')}`;
  return previous ? 'previous' : '';
}
