/** `millrace trace`: what caused an event, and what the event caused. Reads only. */
import { Option, type Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { parsePosition } from '../../core/position.ts';
import type { EventTree, TracedEvent, TraceNode, TraceStep } from '../../find/event-tree.ts';
import { FindOptionError } from '../../find/find-errors.ts';
import { traceEvent } from '../../find/trace-event.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural, timeSpan, wholeNumber } from '../options.ts';
import { duration, printable, safeJson } from '../printable.ts';

interface TraceFlags {
  readonly maxEvents: number;
  readonly maxTime: number;
  readonly most: number;
  readonly json?: boolean;
}

export function registerTrace(program: Command, context: LongRunningContext): void {
  program
    .command('trace')
    .description('show what caused an event, and what the event caused, as a tree')
    .argument('<event>', 'id of the event, or its position: 3/1795450694309-0/17')
    .option(
      '--max-events <n>',
      'search at most this many events in each direction',
      wholeNumber(1, 1_000_000_000),
      200_000,
    )
    .addOption(
      new Option('--max-time <time>', 'end the search after so long')
        .argParser(timeSpan(1, 'at least 1ms, such as 90s or 5m'))
        .default(20_000, '20s'),
    )
    .option('--most <n>', 'show at most this many effects', wholeNumber(1, 10_000), 200)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
An event names its cause, but not the place of the cause. So the streams are searched, back and
forward from the event. The position of an event is found at once, an id is searched, newest first.

Millrace stores no time of a run. The tree has bounds: an event that a function emitted bears the
time of the emit, and the time of its append. The first is by the clock of the dispatcher, the
second by that of the server.

Examples:
  millrace trace order-17-paid
  millrace trace 3/1795450694309-0/17 --json`,
    )
    .action((event: string, flags: TraceFlags) => trace(event, flags, context));
}

async function trace(event: string, flags: TraceFlags, context: LongRunningContext): Promise<void> {
  if (event === '') throw new UsageError('the event id is empty');
  const stop = context.takeStop();
  const deployment = await context.open({ protoDir: null, failFast: 'first' });
  const where = parsePosition(event) === null ? { eventId: event } : { position: event };
  const { maxEvents, maxTime: maxMs, most } = flags;
  const tree = await traceEvent(deployment, where, {
    maxEvents,
    maxMs,
    most,
    signal: stop.first,
  }).catch((error: unknown) => {
    throw error instanceof FindOptionError ? new UsageError(error.message) : error;
  });
  context.out(flags.json ? safeJson(tree) : describe(tree).join('\n'));
  for (const note of tree.notes) context.err(`millrace: ${printable(note, 500)}`);
}

function describe(tree: EventTree): string[] {
  const { causes, complete, root, events, totalMs, searched } = tree;
  const lines: string[] = [];
  if (!complete) lines.push('… (an earlier cause was not found)');
  causes.forEach((cause, i) => {
    const next = causes[i + 1] ?? root.event;
    lines.push(headOf(cause), `  └ ${printable(next.source)}: ${hopOf(cause, next)}`);
  });
  lines.push(...nodeLines(root, ''));
  lines.push(
    `${plural(causes.length, 'cause')}, ${plural(events - 1, 'effect')}${totalMs === null ? '' : `, ${spanOf(totalMs)} from the first to the last`}; searched ${plural(searched.back, 'event')} back, ${plural(searched.forward, 'event')} forward`,
  );
  return lines;
}

/** Tells the time between a cause and its effect. */
function hopOf(cause: TracedEvent, effect: TracedEvent): string {
  if (cause.appendedMs === null || effect.appendedMs === null) return 'its time is not known';
  return `${spanOf(effect.appendedMs - cause.appendedMs)} until its event was appended`;
}

function nodeLines(node: TraceNode, indent: string): string[] {
  const { event, untilAppendMs, again, steps } = node;
  const lines = [`${indent}${headOf(event)}`];
  const notes = [
    ...(untilAppendMs === null ? [] : [`appended ${spanOf(untilAppendMs)} after its time`]),
    ...(again ? ['emitted once more, by a replay or a rewind'] : []),
    ...(event.waits ? [waitOf(event.waits)] : []),
  ];
  if (notes.length > 0) lines.push(`${indent}  ${notes.join('; ')}`);
  for (const step of steps) {
    lines.push(`${indent}  └ ${printable(step.function)}: ${stepOf(step)}`);
    for (const one of step.emitted) lines.push(...nodeLines(one, `${indent}      `));
  }
  return lines;
}

function headOf({ id, type, subject, partition, where }: TracedEvent): string {
  const at = where ?? `partition ${partition}, not appended yet`;
  return printable(`${type}  ${id}  subject ${subject}  at ${at}`, 1000);
}

function waitOf({ kind, dueMs }: NonNullable<TracedEvent['waits']>): string {
  if (dueMs !== null) return `it waits until ${isoTime(dueMs) ?? dueMs}`;
  return kind === 'outbox' ? 'it waits in the outbox' : 'it waits in the schedule';
}

function stepOf({ state, unasked, untilEmitMs, doneWithinMs }: TraceStep): string {
  return [
    state === null ? `not asked: ${printable(unasked ?? '', 300)}` : stateText(state),
    ...(untilEmitMs === null ? [] : [`emitted after ${spanOf(untilEmitMs)}`]),
    ...(doneWithinMs === null ? [] : [`done within ${spanOf(doneWithinMs)}`]),
  ].join(', ');
}

function stateText({ state, why }: NonNullable<TraceStep['state']>): string {
  return state === 'done' || state === 'skipped' ? state : `${state} (${printable(why, 300)})`;
}

/** Differences of clocks may be negative. */
function spanOf(ms: number): string {
  return ms < 0 ? `-${duration(-ms)}` : duration(ms);
}
