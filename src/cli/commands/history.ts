/** `millrace history`: the events of one aggregate, or its state at a moment. Reads only. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Aggregate, RecordedEvent } from '../../define/define-aggregate.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { UnknownEventTypeError } from '../../core/errors/input-errors.ts';
import { parseTimeArgument } from '../../core/rfc3339.ts';
import { Millrace } from '../../millrace.ts';
import { compileScript } from '../../pipeline/run/compile-scripts.ts';
import type { EventStore } from '../../store/event-store.ts';
import { plainJson } from '../../wire/payload-json.ts';
import type { CliContext } from '../context.ts';
import { formatEvent } from '../event-json.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { isoTime, printable, safeJson } from '../printable.ts';

interface HistoryFlags {
  readonly at?: string;
  readonly backwards?: boolean;
  readonly limit?: number;
  readonly aggregate?: string;
  readonly json?: boolean;
}

export function registerHistory(program: Command, context: CliContext): void {
  program
    .command('history')
    .description(
      'print the events of an aggregate (what happened, when, by whom and why), or its state',
    )
    .argument('<category>', 'category of the aggregate, e.g. order')
    .argument('<id>', 'id of the aggregate')
    .option(
      '--at <time|revision>',
      "show it as it was after this number of events, or at this RFC 3339 time (of the server's clock)",
    )
    .option('--backwards', 'print the newest event first')
    .option(
      '--limit <n>',
      'print at most this many events',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--aggregate <file>',
      'print the state instead, folded by the aggregate or decider that this file exports',
    )
    .option(
      '--json',
      'events: one CloudEvents JSON object a line, with revision and position; state: one JSON object',
    )
    .addHelpText(
      'after',
      `
"By whom" and "why" are attributes of the event, set when it was appended: its source, and extension
attributes such as actor, commandid and causationid.
Exit status 1 if there is no such history, or if an event cannot be read. An unreadable event is
named, and the others are printed.

Examples:
  millrace history order A-1
  millrace history order A-1 --backwards --limit 5 --json
  millrace history order A-1 --at 2026-03-01T12:00:00Z --aggregate workers/_orders.ts`,
    )
    .action((category: string, id: string, flags: HistoryFlags) =>
      run(category, id, flags, context),
    );
}

async function run(
  category: string,
  id: string,
  flags: HistoryFlags,
  context: CliContext,
): Promise<void> {
  const at = flags.at === undefined ? undefined : parseAt(flags.at);
  if (flags.aggregate !== undefined && (flags.backwards || flags.limit !== undefined))
    throw new UsageError(
      '--backwards and --limit are for events, not for the state: leave them out, or leave out --aggregate',
    );
  const aggregate =
    flags.aggregate === undefined ? null : await loadAggregate(flags.aggregate, category);
  const store = new Millrace(await context.open()).store();
  const revision = await store.revision(category, id);
  if (revision === 0)
    throw new Error(`there is no history ${printable(category)} ${printable(id)}`);
  const asked: Asked = { store, category, id, at, flags, context };
  if (aggregate) await printState(asked, aggregate);
  else await printEvents(asked);
}

interface Asked {
  readonly store: EventStore;
  readonly category: string;
  readonly id: string;
  /** Last moment to show: a revision or a time. Undefined: now. */
  readonly at: number | Date | undefined;
  readonly flags: HistoryFlags;
  readonly context: CliContext;
}

/**
 * Reads the value of --at. Digits alone are a revision.
 * @throws UsageError
 */
function parseAt(text: string): number | Date {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const moment = parseTimeArgument(text);
  if (moment === null)
    throw new UsageError(
      `--at ${printable(text)}: neither a revision (a whole number) nor an RFC 3339 time such as 2026-03-01T12:00:00Z`,
    );
  return new Date(moment.ms);
}

async function printEvents({ store, category, id, at, flags, context }: Asked): Promise<void> {
  const last = at instanceof Date ? await store.revisionAt(category, id, at) : at;
  if (last === 0) {
    context.err('millrace: the history had no event then');
    return;
  }
  const end = Math.min(last ?? Infinity, await store.revision(category, id));
  const step = flags.backwards ? -1 : 1;
  const bound = flags.backwards ? 1 : end;
  let next = flags.backwards ? end : 1;
  let left = flags.limit ?? Infinity;
  let unreadable = 0;
  while (left > 0 && (bound - next) * step >= 0) {
    try {
      const options = { from: next, to: bound, backwards: flags.backwards ?? false };
      for await (const event of store.read(
        category,
        id,
        left === Infinity ? options : { ...options, limit: left },
      )) {
        next = event.revision + step;
        left--;
        print(event, flags, context);
      }
      break;
    } catch (error) {
      // The unreadable event is the next one behind the last printed event. The others can be read.
      if (!(
        (error instanceof CorruptDataError && error.history !== null) ||
        error instanceof UnknownEventTypeError
      ))
        throw error;
      context.err(`millrace: revision ${next}: ${printable(error.message, 1000)}`);
      unreadable++;
      next += step;
      left--;
    }
  }
  if (unreadable > 0)
    throw new Error(
      `${plural(unreadable, 'event')} of the history cannot be read: see the lines above`,
    );
}

function print(event: RecordedEvent, flags: HistoryFlags, context: CliContext): void {
  const header = { ...event, timeMs: event.time.getTime() };
  const { revision, position } = event;
  context.out(
    flags.json
      ? formatEvent(header, event.type, event.data, { revision, position })
      : describe(event),
  );
}

function describe(event: RecordedEvent): string {
  const attributes = Object.entries(event.extensions).map(([name, value]) => `  ${name}=${value}`);
  return [
    printable(
      `${event.revision}  ${isoTime(event.time.getTime()) ?? '-'}  ${event.type}  by ${event.source}${attributes.join('')}  (${event.id} at ${event.position})`,
      1000,
    ),
    `   ${printable(safeJson(plainJson(event.data)), 2000)}`,
  ].join('\n');
}

async function printState(
  { store, id, at, flags, context }: Asked,
  aggregate: Aggregate<unknown>,
): Promise<void> {
  // Fold without snapshots: a command that looks must not take any, and a snapshot may be wrong.
  const { category, events, initialState, evolve } = aggregate;
  const folded: Aggregate<unknown> = {
    category,
    events,
    initialState: initialState.bind(aggregate),
    evolve: evolve.bind(aggregate),
  };
  const { state, revision } = await store.load(folded, id, at === undefined ? {} : { at });
  if (flags.json) context.out(safeJson({ category: aggregate.category, id, revision, state }));
  else {
    context.out(
      `${printable(aggregate.category)} ${printable(id)} at revision ${revision} (${plural(revision, 'event')})`,
    );
    context.out(safeJson(state, 2));
  }
}

/**
 * Loads the aggregate of the category from the exports of a file.
 * @throws UsageError if the file or the aggregate is not there
 */
async function loadAggregate(file: string, category: string): Promise<Aggregate<unknown>> {
  const path = resolve(file);
  if (!existsSync(path)) throw new UsageError(`--aggregate ${file}: there is no such file`);
  const { url, source } = await compileScript(path, join(dirname(dirname(path)), '.millrace'));
  const exports = Object.values((await import(url)) as Record<string, unknown>).filter(isAggregate);
  const found = exports.find((one) => one.category === category);
  if (found) return found;
  const categories = exports.map((one) => `"${one.category}"`);
  throw new UsageError(
    `--aggregate ${source} exports ${categories.length === 0 ? 'no aggregate or decider' : `aggregates of ${categories.join(', ')}`}, none of "${category}"`,
  );
}

function isAggregate(value: unknown): value is Aggregate<unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const { category, events, initialState, evolve } = value as Record<string, unknown>;
  return (
    typeof category === 'string' &&
    Array.isArray(events) &&
    typeof initialState === 'function' &&
    typeof evolve === 'function'
  );
}
