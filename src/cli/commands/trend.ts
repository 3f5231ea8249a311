/** `millrace trend`: the last hours of a function or of the deployment, with marks. Reads only. */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import type { Deployment } from '../../deployment.ts';
import { readPartitions, requireFunction } from '../../redis/counters.ts';
import { shortBytes, shortCount, shortRate, shortTime } from '../../top/short-figures.ts';
import { sparkline } from '../../top/sparkline.ts';
import { MOST_MARKS } from '../../trend/mark.ts';
import { readMarks, type Marks } from '../../trend/read-marks.ts';
import { readTrend, readTrendFunctions, type Trend } from '../../trend/read-trend.ts';
import {
  DEPLOYMENT_FIGURES,
  FUNCTION_FIGURES,
  type TrendFigure,
  type TrendFigures,
} from '../../trend/trend-figures.ts';
import { MOST_HOURS } from '../../trend/trend-times.ts';
import type { CliContext } from '../context.ts';
import { plural, wholeNumber } from '../options.ts';
import { duration, printable, safeJson } from '../printable.ts';

interface TrendFlags {
  readonly hours: number;
  readonly json?: boolean;
}

/** Characters of a sparkline. */
const WIDTH = 60;
/** Marks and functions that are shown. */
const MOST_SHOWN_MARKS = 20;
const MOST_SHOWN_FUNCTIONS = 30;

/** Figures that are shown in any case. The others are shown where they were above 0. */
const ALWAYS: ReadonlySet<string> = new Set([
  'appended',
  'done',
  'lag',
  'waiting',
  'oldestMs',
  'usedBytes',
  'dispatchers',
  'threads',
  'busy',
]);
/** Figures that are shown in JSON only. */
const HIDDEN: ReadonlySet<string> = new Set(['limitBytes']);

const UNITS: Readonly<Record<string, (value: number) => string>> = {
  'events/min': (value) => `${shortRate(value)}/min`,
  ms: shortTime,
  bytes: shortBytes,
};

export function registerTrend(program: Command, context: CliContext): void {
  program
    .command('trend')
    .description('show the last hours of the deployment or of a function, with what happened')
    .argument('[function]', 'function to show; without it the whole deployment')
    .option('--hours <n>', 'look back this many hours', wholeNumber(1, MOST_HOURS), MOST_HOURS)
    .option('--json', 'print one JSON object, with all figures')
    .addHelpText(
      'after',
      `
Each line has the figure, its course, its last value and its highest one. Rates are events per
minute, the mean of a step. Other figures show the highest value of a step.
A space in a course is a time without a sample. A ▲ marks a step in which something happened: a
deploy, a schema, a rewind, a replay, a loss, a failover, an alert, a dispatcher.

One "millrace start" of a deployment takes a sample once a minute. Redis keeps 3 hours by the
minute, and ${MOST_HOURS} hours by ten minutes.

Examples:
  millrace trend
  millrace trend billing --hours 6
  millrace trend billing --json | jq '.series.lag'`,
    )
    .action((fn: string | undefined, flags: TrendFlags) => trend(fn ?? null, flags, context));
}

async function trend(fn: string | null, flags: TrendFlags, context: CliContext): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  const { hours } = flags;
  const [found, marks, known] = await Promise.all([
    readTrend(deployment, { function: fn, hours, points: WIDTH }),
    readMarks(deployment, { hours, most: MOST_MARKS, function: fn ?? undefined }),
    readTrendFunctions(deployment),
  ]);
  if (fn !== null && found.samples === 0 && !known.functions.includes(fn))
    requireFunction(await readPartitions(deployment), fn);
  if (flags.json) return context.out(safeJson(asJson(found, marks)));
  if (found.samples === 0)
    context.err(
      `millrace: there is no sample of ${fn === null ? 'this deployment' : printable(fn)} in this time. A running millrace start takes one each minute, unless MILLRACE_TREND is off`,
    );
  else for (const line of trendLines(found, marks)) context.out(line);
  if (fn === null) await printFunctions(deployment, hours, known.functions, context);
  printMarks(marks, context);
  if (known.others > 0)
    context.err(`millrace: ${plural(known.others, 'function')} beyond the bound have no trend`);
}

function asJson({ nowMs, times, ...rest }: Trend, { marks, isCut }: Marks): object {
  return {
    at: isoTime(nowMs),
    ...rest,
    times: times.map(isoTime),
    marks: marks.map(({ atMs, ...mark }) => ({ at: isoTime(atMs), ...mark })),
    marksAreCut: isCut,
  };
}

function trendLines(found: Trend, { marks }: Marks): string[] {
  const figures: TrendFigures = found.function === null ? DEPLOYMENT_FIGURES : FUNCTION_FIGURES;
  const shown = Object.entries(figures).filter(([name]) => {
    const values = found.series[name] ?? [];
    return !HIDDEN.has(name) && (ALWAYS.has(name) || values.some((value) => (value ?? 0) > 0));
  });
  const width = Math.max(...shown.map(([name]) => name.length), 'marks'.length);
  const lines = shown.map(([name, figure]) =>
    courseLine(name.padEnd(width), found.series[name] ?? [], figure),
  );
  const row = found.times.map((atMs) =>
    marks.some((mark) => mark.atMs >= atMs && mark.atMs < atMs + found.stepMs) ? '▲' : ' ',
  );
  return [
    `${found.function === null ? 'all functions' : printable(found.function)}: a character is ${duration(found.stepMs)}`,
    ...lines,
    `${'marks'.padEnd(width)}  ${row.join('').padStart(WIDTH)}`.trimEnd(),
  ];
}

function courseLine(
  title: string,
  values: readonly (number | null)[],
  figure: TrendFigure,
): string {
  const text = UNITS[figure.unit] ?? shortCount;
  const known = values.filter((value) => value !== null);
  const last = values.at(-1) ?? null;
  const [now, most] = [last === null ? '-' : text(last), text(Math.max(0, ...known))];
  return `${title}  ${sparkline(values, WIDTH)}  ${now.padStart(11)}  most ${most}`;
}

/** Prints the backlog of each function. */
async function printFunctions(
  deployment: Deployment,
  hours: number,
  functions: readonly string[],
  context: CliContext,
): Promise<void> {
  const shown = functions.slice(0, MOST_SHOWN_FUNCTIONS);
  if (shown.length === 0) return;
  const trends = await Promise.all(
    shown.map((name) => readTrend(deployment, { function: name, hours, points: WIDTH })),
  );
  const width = Math.max(...shown.map((name) => name.length));
  context.out('\nlag by function');
  for (const [i, one] of trends.entries()) {
    const title = printable(shown[i] as string).padEnd(width);
    context.out(courseLine(title, one.series['lag'] ?? [], FUNCTION_FIGURES.lag));
  }
  if (functions.length > shown.length)
    context.err(
      `millrace: ${shown.length} of ${plural(functions.length, 'function')} are shown: name one to see it`,
    );
}

/** Prints the last marks, the newest last. */
function printMarks({ marks }: Marks, context: CliContext): void {
  if (marks.length === 0) return;
  context.out('');
  for (const { atMs, kind, text } of marks.slice(0, MOST_SHOWN_MARKS).reverse())
    context.out(`${isoTime(atMs) ?? '-'}  ${kind.padEnd(10)}  ${printable(text, 300)}`);
  const older = marks.length - MOST_SHOWN_MARKS;
  if (older > 0)
    context.err(`millrace: ${plural(older, 'older mark')} left out; --json prints all of them`);
}
