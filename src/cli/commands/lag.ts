/** `millrace lag`: the appended events of each function, counted by state. Reads only. */
import type { Command } from 'commander';
import { sleep } from '../../core/clock.ts';
import type { Deployment } from '../../deployment.ts';
import { readLag, type FunctionLag, type LagReport, type TypeLag } from '../../lag/lag.ts';
import { LagWatch } from '../../lag/lag-watch.ts';
import type { BacklogForecast, RatedFunction, RatedLag } from '../../lag/rates.ts';
import { describeUnserved } from '../../lag/unserved.ts';
import { UnknownFunctionError } from '../../redis/counters.ts';
import { readBacklogLimits } from '../../upkeep/type-limits.ts';
import type { CliContext } from '../context.ts';
import { formatCount, wholeNumber } from '../options.ts';
import { duration, safeJson } from '../printable.ts';
import { shownAge, shownCount } from '../state-lag.ts';
import { table, type Column } from '../table.ts';

interface LagFlags {
  readonly function?: string;
  readonly types?: boolean;
  readonly states?: boolean;
  /** Seconds between two looks; true: as many as by default. */
  readonly rates?: number | true;
  readonly json?: boolean;
}

/** Time between the two looks of --rates, s. */
const RATE_SECONDS = 2;

export function registerLag(program: Command, context: CliContext): void {
  program
    .command('lag')
    .description('show for each function how many events are done, parked, dead, pending or unread')
    .option('--function <name>', 'show this function only')
    .option('--types', 'print a row for each type and partition')
    .option('--states', 'print a row for each state with its oldest event; held ones apart')
    .option(
      '--rates [seconds]',
      `look twice, this many seconds apart (default ${RATE_SECONDS}), and print the rates`,
      wholeNumber(1, 3600),
    )
    .option('--json', 'print one JSON object, with types and partitions')
    .addHelpText(
      'after',
      `
  appended   events for the function since its registration or its last rewind
  done       processed
  parked     waiting for a retry, or behind such an event of the same subject
  dead       in the dead letters, or purged from them
  pending    delivered to a dispatcher, not settled yet
  lag        not read yet
  oldest     age of the oldest event that is parked, pending or unread, and not held
  conserved  whether done, parked, dead, pending and lag add up to appended

Held events are parked behind a dead letter of their subject (onDead: 'hold'). They run once the
letter is replayed or purged. --states shows them apart. A figure with ≥ or ≤ is a bound.

Each state is counted independently. "NO" under conserved means that entries were deleted, or that
Redis lost data: see millrace losses.

Examples:
  millrace lag
  millrace lag --states
  millrace lag --rates 10
  millrace lag --json | jq '.functions[] | {name, lag, oldestMs}'`,
    )
    .action((flags: LagFlags) => lag(flags, context));
}

async function lag(flags: LagFlags, context: CliContext): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  const report = await read(deployment, flags.rates);
  const functions =
    flags.function === undefined
      ? report.functions
      : report.functions.filter((fn) => fn.name === flags.function);
  if (flags.function !== undefined && functions.length === 0)
    throw new UnknownFunctionError(
      flags.function,
      report.functions.map((fn) => fn.name),
    );
  if (flags.json) {
    context.out(safeJson({ ...report, functions } satisfies LagReport));
    return;
  }
  if (report.unserved)
    context.err(`millrace: ${describeUnserved(deployment.partitions, report.unserved)}`);
  if (functions.length === 0) {
    context.err(
      'millrace: no function is registered in this deployment; millrace start registers the functions of a folder',
    );
    return;
  }
  if (flags.rates !== undefined) context.out(ratesTable(functions));
  else if (flags.states) context.out(statesTable(functions, flags.types ?? false));
  else context.out(flags.types ? typesTable(functions) : functionsTable(functions));
  for (const fn of functions) {
    const { held } = fn.states;
    if (held.events > 0)
      context.err(
        `millrace: ${shownCount(held)} of the parked events of ${fn.name} are held behind dead letters, the oldest for ${shownAge(held)}. Replay or purge the letters: millrace dlq list --function ${fn.name}`,
      );
    if (!fn.conserved)
      context.err(
        `millrace: the states of ${fn.name} do not add up to its appended events: entries were deleted, or Redis has lost data. See millrace losses`,
      );
    const dead = fn.dead - fn.purged;
    if (fn.letters !== dead) {
      context.err(
        `millrace: the ${formatCount(dead)} dead events of ${fn.name} are in ${formatCount(fn.letters)} letters (millrace dlq list). One letter holds all events of an entry that died as a whole`,
      );
    }
    if (fn.purged > 0)
      context.err(
        `millrace: ${formatCount(fn.purged)} of the dead events of ${fn.name} are purged: their letters are gone`,
      );
    if (fn.skipped > 0)
      context.err(
        `millrace: ${formatCount(fn.skipped)} of the done events of ${fn.name} were skipped, because it had settled events with the same ids before (dedupe)`,
      );
  }
}

/** @param rates seconds between two looks; true: as many as by default. Undefined: one look */
async function read(
  deployment: Deployment,
  rates: number | true | undefined,
): Promise<LagReport | RatedLag> {
  if (rates === undefined) return readLag(deployment);
  const watch = new LagWatch(deployment, () => readBacklogLimits(deployment));
  await watch.read();
  await sleep(1000 * (rates === true ? RATE_SECONDS : rates));
  return watch.read();
}

const COUNTS: readonly Column[] = [
  'appended',
  'done',
  'parked',
  'dead',
  'pending',
  'lag',
  'oldest',
].map((title) => ({ title, right: true }));

function cells(row: FunctionLag | TypeLag): string[] {
  return [
    ...[row.appended, row.done, row.parked, row.dead, row.pending, row.lag].map(formatCount),
    shownAge(row),
  ];
}

function functionsTable(functions: readonly FunctionLag[]): string {
  return table(
    [{ title: 'function' }, ...COUNTS, { title: 'conserved' }],
    functions.map((fn) => [fn.name, ...cells(fn), fn.conserved ? 'yes' : 'NO']),
  );
}

function typesTable(functions: readonly FunctionLag[]): string {
  return table(
    [{ title: 'function' }, { title: 'type' }, { title: 'partition', right: true }, ...COUNTS],
    functions.flatMap((fn) =>
      fn.types.map((row) => [fn.name, row.type, String(row.partition), ...cells(row)]),
    ),
  );
}

function statesTable(functions: readonly FunctionLag[], byType: boolean): string {
  const rowsOf = (row: FunctionLag | TypeLag, titles: readonly string[]): string[][] =>
    (['lag', 'pending', 'parked', 'held'] as const).map((name) => {
      const state = row.states[name];
      return [...titles, name, shownCount(state), shownAge(state)];
    });
  const states: readonly Column[] = [
    { title: 'state' },
    { title: 'events', right: true },
    { title: 'oldest', right: true },
  ];
  return byType
    ? table(
        [{ title: 'function' }, { title: 'type' }, { title: 'partition', right: true }, ...states],
        functions.flatMap((fn) =>
          fn.types.flatMap((row) => rowsOf(row, [fn.name, row.type, String(row.partition)])),
        ),
      )
    : table(
        [{ title: 'function' }, ...states],
        functions.flatMap((fn) => rowsOf(fn, [fn.name])),
      );
}

function ratesTable(functions: readonly (FunctionLag | RatedFunction)[]): string {
  return table(
    [
      { title: 'function' },
      ...['arrivals/s', 'settled/s', 'waiting', 'drained in'].map((title) => ({
        title,
        right: true,
      })),
      { title: 'backlog limit' },
    ],
    functions.map((fn) => {
      const { lag, pending, parked } = fn.states;
      const waiting = formatCount(lag.events + pending.events + parked.events);
      const rate = 'rate' in fn ? fn.rate : null;
      if (rate === null) return [fn.name, '-', '-', waiting, '-', '-'];
      const { arrivalPerSecond, servicePerSecond, drainMs, backlogLimit } = rate;
      return [
        fn.name,
        perSecond(arrivalPerSecond),
        perSecond(servicePerSecond),
        waiting,
        drainMs === null ? 'never' : duration(drainMs),
        backlogLimit === undefined ? '-' : limitOf(backlogLimit),
      ];
    }),
  );
}

function perSecond(rate: number): string {
  return rate < 10 ? rate.toFixed(1) : formatCount(Math.round(rate));
}

function limitOf({ type, partition, events, limit, reachedInMs }: BacklogForecast): string {
  const when = reachedInMs === 0 ? 'reached' : `reached in ${duration(reachedInMs ?? 0)}`;
  return `${type}, partition ${partition}: ${formatCount(events)} of ${formatCount(limit)}, ${reachedInMs === null ? 'not growing' : when}`;
}
