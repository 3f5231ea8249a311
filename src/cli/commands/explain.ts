/**
 * `millrace explain`: where an event is for each function, every attempt, and why it is not
 * running. Reads only.
 */
import type { Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { formatPosition } from '../../core/position.ts';
import {
  explain,
  type Attempt,
  type ExplainedEvent,
  type FunctionState,
  type WaitingEvent,
} from '../../explain/explain.ts';
import type { LagStates } from '../../lag/lag.ts';
import { shownAge, shownCount } from '../state-lag.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { duration, printable, printableLines, safeJson } from '../printable.ts';

interface ExplainFlags {
  readonly subject?: string;
  readonly scan: number;
  readonly limit: number;
  readonly json?: boolean;
}

export function registerExplain(program: Command, context: CliContext): void {
  program
    .command('explain')
    .description(
      'show where an event is for each function, every attempt, and why it is not running',
    )
    .argument('[event-id]', 'id of the event')
    .option('--subject <subject>', 'explain the events of this subject, instead of one id')
    .option(
      '--scan <n>',
      'search at most this many events, newest first',
      wholeNumber(1, 1_000_000_000),
      100_000,
    )
    .option(
      '--limit <n>',
      'with --subject: explain at most this many events, the newest',
      wholeNumber(1, 10_000),
      20,
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
A search by subject is quick, because a subject has one partition. A search by id looks at all
streams, newest events first, then at parked lists, dead letters, schedules and outboxes.
Exit status 1 if nothing was found.

Examples:
  millrace explain 0195f1c2-7a7b-7d3e-9e0c-0f6a3b1c2d4e
  millrace explain --subject order-17`,
    )
    .action((id: string | undefined, flags: ExplainFlags) => run(id, flags, context));
}

async function run(
  id: string | undefined,
  flags: ExplainFlags,
  context: CliContext,
): Promise<void> {
  if (id !== undefined && flags.subject !== undefined)
    throw new UsageError('give an event id or --subject, not both');
  const query =
    id !== undefined
      ? { eventId: id }
      : flags.subject !== undefined
        ? { subject: flags.subject }
        : null;
  if (query === null) throw new UsageError('give an event id, or --subject');
  if ((id ?? flags.subject) === '') throw new UsageError('the event id or subject is empty');
  const deployment = await context.open({ protoDir: null });
  const report = await explain(deployment, query, { scan: flags.scan, limit: flags.limit });
  if (flags.json) {
    const waiting = report.waiting.map(({ dueMs, ...event }) => ({
      ...event,
      dueAt: dueMs === null ? null : isoTime(dueMs),
    }));
    context.out(safeJson({ ...report, events: report.events.map(asJson), waiting }));
  } else if (report.events.length + report.waiting.length > 0) {
    context.out(
      [...report.events.map(describe), ...report.waiting.map(describeWaiting)].join('\n\n'),
    );
  }
  if (report.events.length === 0 && report.waiting.length === 0) {
    const where = `${plural(report.searched.events, 'event')} in ${plural(report.searched.partitions, 'partition')}, the parked lists, the dead letters, the schedules and the outboxes`;
    const { complete, unseen = [], events } = report.searched;
    const scanned = events >= flags.scan || unseen.length === 0;
    const more = complete
      ? 'these are all retained events'
      : [
          ...(unseen.length > 0 ? [`not all was looked at: ${unseen.join('; ')}`] : []),
          ...(scanned ? ['more events are retained: raise --scan, or give the --subject'] : []),
        ].join('; ');
    throw new Error(
      `${id !== undefined ? `event ${printable(id)}` : `subject ${printable(flags.subject as string)}`} was not found in ${where}; ${more}`,
    );
  }
}

function asJson(event: ExplainedEvent): unknown {
  const { appendedMs, functions, ...rest } = event;
  return {
    ...rest,
    appendedAt: isoTime(appendedMs),
    functions: functions.map((fn) =>
      'history' in fn
        ? {
            ...fn,
            history: fn.history.map(({ atMs, ...attempt }) => ({ at: isoTime(atMs), ...attempt })),
          }
        : fn,
    ),
  };
}

function describe(event: ExplainedEvent): string {
  const lines = [
    `event ${printable(event.id)}  ${printable(event.type)}  subject ${printable(event.subject)}`,
    `  at ${formatPosition(event)}, index ${event.index}, appended ${isoTime(event.appendedMs) ?? '-'}${event.inStream ? '' : ' (its entry was not read: it is trimmed, or beyond --scan)'}`,
  ];
  if (event.functions.length === 0) lines.push(`  no function consumes ${printable(event.type)}`);
  for (const fn of event.functions) {
    lines.push(`  ${fn.function}: ${fn.state}${detail(fn)}`, `    ${printable(fn.why, 600)}`);
    if (fn.unsettled) lines.push(`    ${unsettledLine(event, fn.unsettled)}`);
    if ('setup' in fn && fn.setup.stack !== '')
      lines.push(
        ...printableLines(fn.setup.stack)
          .split('\n')
          .slice(1, 9)
          .map((line) => `    ${line}`),
      );
    if ('history' in fn)
      for (const attempt of fn.history) lines.push(`    ${attemptLine(attempt)}`);
  }
  return lines.join('\n');
}

/** Tells the unsettled events of the function, the oldest of each state. */
function unsettledLine({ type, partition }: ExplainedEvent, states: LagStates): string {
  const parts = (['lag', 'pending', 'parked', 'held'] as const)
    .filter((state) => states[state].events > 0)
    .map(
      (state) => `${state} ${shownCount(states[state])}, the oldest ${shownAge(states[state])} old`,
    );
  return `all of ${printable(type)} in partition ${partition}: ${parts.join('; ') || 'settled since'}`;
}

function describeWaiting({ id, type, subject, partition, where, why }: WaitingEvent): string {
  const head = `event ${printable(id)}  ${printable(type)}  subject ${printable(subject)}`;
  return [
    head,
    `  in no stream yet, for partition ${partition}: ${where}`,
    `    ${printable(why, 600)}`,
  ].join('\n');
}

function detail(fn: FunctionState): string {
  switch (fn.state) {
    case 'parked':
      return `, ${plural(fn.attempts, 'attempt')}, ${fn.dueInMs === null ? 'no due time' : fn.dueInMs > 0 ? `due in ${duration(fn.dueInMs)}` : 'due now'}`;
    case 'dead':
      return `, ${plural(fn.attempts, 'attempt')}, ${printable(fn.reason)}`;
    case 'lag':
      return fn.eventsBefore === null ? '' : `, ${plural(fn.eventsBefore, 'event')} before it`;
    case 'pending':
      return `, delivered ${duration(fn.deliveredMsAgo)} ago`;
    default:
      return '';
  }
}

function attemptLine(attempt: Attempt): string {
  return `attempt ${attempt.attempt} at ${isoTime(attempt.atMs) ?? '-'}: ${printable(attempt.name)}: ${printable(attempt.message, 300)}${attempt.cause ? `; caused by ${printable(attempt.cause, 500)}` : ''}`;
}
