/** `millrace find`: events of which an expression is true, newest first. Reads only. */
import { Option, type Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { EventExpression } from '../../find/event-expression.ts';
import { EXAMPLE, FindExpressionError } from '../../find/find-errors.ts';
import type { FoundEvent } from '../../find/found-event.ts';
import { searchEvents, type SearchEnd, type SearchProgress } from '../../find/search-events.ts';
import { serverTime } from '../../redis/server-time.ts';
import { plainJson } from '../../wire/payload-json.ts';
import type { LongRunningContext } from '../context.ts';
import { formatEvent } from '../event-json.ts';
import { UsageError } from '../exit-status.ts';
import { formatCount, plural, timeSpan, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';

interface FindFlags {
  readonly type: readonly string[];
  readonly since?: number;
  readonly limit: number;
  readonly maxEvents: number;
  readonly maxTime: number;
  readonly masked?: boolean;
  readonly json?: boolean;
}

/** Time between two lines of progress, ms. */
const PROGRESS_MS = 2000;

export function registerFind(program: Command, context: LongRunningContext): void {
  program
    .command('find')
    .description('find the events of which an expression is true, newest first')
    .argument('<expression>', 'condition on attributes and data, in CEL')
    .addOption(
      new Option('--type <type>', 'search this event type; may be given again')
        .argParser((type: string, before: readonly string[]) => [...before, type])
        .default([], 'all types'),
    )
    .option(
      '--since <time>',
      'search back to so long ago: 90s, 30m, 12h, 7d',
      timeSpan(1, 'at least 1ms, such as 90s, 30m, 12h or 7d'),
    )
    .option('--limit <n>', 'end after this many matches', wholeNumber(1, 1_000_000), 20)
    .option(
      '--max-events <n>',
      'end after searching this many events',
      wholeNumber(1, 1_000_000_000),
      1_000_000,
    )
    .addOption(
      new Option('--max-time <time>', 'end after so long')
        .argParser(timeSpan(1, 'at least 1ms, such as 90s, 30m or 12h'))
        .default(60_000, '60s'),
    )
    .option(
      '--masked',
      'leave out the fields that schemas mask, for the expression too: they are absent',
    )
    .option('--json', 'print the matches as CloudEvents NDJSON')
    .addHelpText('after', HELP)
    .action((expression: string, flags: FindFlags) => find(expression, flags, context));
}

const HELP = `
Names: id, type, subject, source, time, appended, partition, position, extensions, data.
Fields of data have the names that functions see, such as data.orderId. Integers are exact, enums
are names, Timestamps are CEL timestamps. A field that is not set is absent: use has(data.note).
An event of which the expression cannot judge, because a field is absent, is counted and is no
match. Redis gives at most a tenth of its time. Ctrl-C ends the search and prints its extent.
Exit status 1 if nothing was found.

Examples:
  millrace find '${EXAMPLE}'
  millrace find 'data.status == "LATE" && time > timestamp("2026-11-29T00:00:00Z")' --since 1h
  millrace find 'extensions.correlationid == "o-17"' --type order.created --type order.paid --json`;

async function find(
  expression: string,
  flags: FindFlags,
  context: LongRunningContext,
): Promise<void> {
  refuseWrong(expression);
  const stop = context.takeStop();
  const deployment = await context.open({ failFast: 'first' });
  const sinceMs =
    flags.since === undefined ? null : Math.max(0, (await serverTime(deployment)) - flags.since);
  const steps = searchEvents(deployment, expression, {
    types: flags.type,
    ...(sinceMs === null ? {} : { sinceMs }),
    limit: flags.limit,
    maxEvents: flags.maxEvents,
    maxMs: flags.maxTime,
    progressMs: PROGRESS_MS,
    masked: flags.masked ?? false,
    signal: stop.first,
  });
  for await (const { match, progress } of steps) {
    if (match) context.out(flags.json ? jsonOf(match, flags) : describe(match));
    else tell(progress, context);
  }
}

/** Checks the expression before the server is reached. @throws UsageError */
function refuseWrong(expression: string): void {
  try {
    new EventExpression(expression);
  } catch (error) {
    throw error instanceof FindExpressionError ? new UsageError(error.message) : error;
  }
}

function tell(progress: SearchProgress, context: LongRunningContext): void {
  const { searched, retained, matches, end } = progress;
  context.err(
    `millrace: searched ${formatCount(searched)} of ${plural(retained, 'event')}: ${matches === 1 ? '1 match' : `${matches} matches`}${end === null ? '' : `; ${endText(end, progress)}`}`,
  );
  if (end === null) return;
  tellUnsure('could not be judged', progress.unjudged, progress.firstUnjudged, context);
  tellUnsure('could not be read', progress.unreadable, progress.firstUnreadable, context);
  if (matches === 0) context.fail();
}

function tellUnsure(
  what: string,
  events: number,
  first: string | null,
  context: LongRunningContext,
): void {
  if (events === 0) return;
  context.err(
    `millrace: ${plural(events, 'event')} ${what}, such as ${printable(first ?? '', 500)}`,
  );
}

function endText(end: SearchEnd, { reachedMs }: SearchProgress): string {
  const reached = reachedMs === null ? '' : `, back to ${isoTime(reachedMs) ?? reachedMs}`;
  switch (end) {
    case 'all':
      return 'these are all retained events';
    case 'since':
      return 'these are all events since then';
    case 'matches':
      return `--limit is reached${reached}`;
    case 'events':
      return `--max-events is reached${reached}`;
    case 'time':
      return `--max-time is reached${reached}`;
    case 'aborted':
      return `it was ended${reached}`;
  }
}

function jsonOf(event: FoundEvent, flags: FindFlags): string {
  const { where, appendedMs, masked, problem } = event;
  return formatEvent(event, event.type, event.data, {
    position: where,
    appendedat: isoTime(appendedMs),
    ...(flags.masked ? { masked } : {}),
    ...(problem === null ? {} : { problem }),
  });
}

function describe(event: FoundEvent): string {
  const { appendedMs, type, id, subject, where, data, problem } = event;
  return [
    printable(
      `${isoTime(appendedMs) ?? '-'}  ${type}  ${id}  subject ${subject}  at ${where}`,
      1000,
    ),
    `   ${printable(problem ?? safeJson(plainJson(data)), 2000)}`,
  ].join('\n');
}
