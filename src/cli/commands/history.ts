/** `millrace history`: the events of one aggregate, or its state at a moment. Reads only. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Aggregate, RecordedEvent } from '../../define/define-aggregate.ts';
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { UnknownEventTypeError } from '../../core/errors/input-errors.ts';
import { isoTime, parseTimeArgument } from '../../core/rfc3339.ts';
import type { Deployment } from '../../deployment.ts';
import { Millrace } from '../../millrace.ts';
import { compileScript } from '../../pipeline/run/compile-scripts.ts';
import { aggregateSteps } from '../../store/aggregate-steps.ts';
import type { EventStore } from '../../store/event-store.ts';
import { readSlider, type Slider, type SliderStep } from '../../store/history-slider.ts';
import { plainJson } from '../../wire/payload-json.ts';
import { changeJson, changeLines } from '../changes.ts';
import type { CliContext } from '../context.ts';
import { formatEvent } from '../event-json.ts';
import { formatMasked, maskedData } from '../masked-event.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { printable, safeJson } from '../printable.ts';

interface HistoryFlags {
  readonly at?: string;
  readonly backwards?: boolean;
  readonly limit?: number;
  readonly aggregate?: string;
  readonly changes?: boolean;
  readonly masked?: boolean;
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
    .option('--changes', 'with --aggregate: print after each event what it changed in the state')
    .option(
      '--masked',
      'leave out the fields that the schemas mask: null, and their paths in "masked"',
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
  millrace history order A-1 --at 2026-03-01T12:00:00Z --aggregate workers/_orders.ts
  millrace history order A-1 --changes --aggregate workers/_orders.ts`,
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
  checkFlags(flags);
  const aggregate =
    flags.aggregate === undefined ? null : await loadAggregate(flags.aggregate, category);
  const deployment = await context.open();
  const store = new Millrace(deployment).store();
  const revision = await store.revision(category, id);
  if (revision === 0)
    throw new Error(`there is no history ${printable(category)} ${printable(id)}`);
  const asked: Asked = { deployment, store, category, id, at, flags, context };
  if (aggregate && flags.changes) await printChanges(asked, aggregate);
  else if (aggregate) await printState(asked, aggregate);
  else await printEvents(asked);
}

/** @throws UsageError */
function checkFlags({ aggregate, backwards, limit, changes, masked, at }: HistoryFlags): void {
  if (changes && aggregate === undefined)
    throw new UsageError('--changes needs the code that folds the state: add --aggregate <file>');
  if (changes && at !== undefined)
    throw new UsageError('--changes and --at do not go together: leave one of them out');
  if (aggregate !== undefined && (backwards || (limit !== undefined && !changes)))
    throw new UsageError(
      '--backwards and --limit are for events, not for the state: leave them out, or leave out --aggregate',
    );
  if (aggregate !== undefined && masked)
    throw new UsageError(
      '--masked goes by schemas, and a state has none: leave out --masked or --aggregate',
    );
}

interface Asked {
  readonly deployment: Deployment;
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

async function printEvents(asked: Asked): Promise<void> {
  const { store, category, id, at, flags, context } = asked;
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
        print(event, asked);
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

function print(event: RecordedEvent, { deployment, flags, context }: Asked): void {
  const header = { ...event, timeMs: event.time.getTime() };
  const { revision, position, type } = event;
  const more = { revision, position };
  const { catalog } = deployment;
  if (flags.json)
    context.out(
      flags.masked
        ? formatMasked(catalog, header, type, event.data, more)
        : formatEvent(header, type, event.data, more),
    );
  else if (flags.masked) {
    const { data, masked } = maskedData(catalog, type, event.data);
    context.out(describe(event, data));
    if (masked.length > 0) context.out(`   masked: ${printable(masked.join(', '), 2000)}`);
  } else context.out(describe(event, event.data));
}

function describe(event: RecordedEvent, data: unknown): string {
  const attributes = Object.entries(event.extensions).map(([name, value]) => `  ${name}=${value}`);
  return [
    printable(
      `${event.revision}  ${isoTime(event.time.getTime()) ?? '-'}  ${event.type}  by ${event.source}${attributes.join('')}  (${event.id} at ${event.position})`,
      1000,
    ),
    `   ${printable(safeJson(plainJson(data)), 2000)}`,
  ].join('\n');
}

/** Prints the changes of each event, a page at a time. The last `limit` events, or all. */
async function printChanges(
  { deployment, store, category, id, flags, context }: Asked,
  aggregate: Aggregate<unknown>,
): Promise<void> {
  const steps = aggregateSteps(store, withoutSnapshots(aggregate));
  const parts = {
    source: deployment,
    shapeOf: () => Promise.resolve(null),
    steps,
    access: 'full',
  } as const;
  const { limit } = flags;
  const revision = await store.revision(category, id);
  let next: number | null = limit === undefined ? 1 : Math.max(1, revision - limit + 1);
  while (next !== null) {
    const page: Slider = await readSlider(parts, category, id, { first: next });
    const problem = page.folded?.problem;
    const end = problem?.revision ?? (problem ? 0 : Infinity);
    for (const step of page.steps) if (step.revision < end) printStep(step, flags, context);
    if (problem)
      throw new Error(
        `the state after revision ${problem.revision ?? next} cannot be folded: ${problem.error.name ?? 'Error'}: ${printable(problem.error.message ?? '', 1000)}`,
      );
    next = page.next;
  }
}

function printStep(
  { revision, event, problem, stateChanges }: SliderStep,
  flags: HistoryFlags,
  context: CliContext,
): void {
  const type = event?.type ?? null;
  if (flags.json) {
    const { changes = [], more = false } = stateChanges ?? {};
    context.out(
      safeJson({
        revision,
        id: event?.id ?? null,
        type,
        changes: changes.map(changeJson),
        more,
      }),
    );
    return;
  }
  context.out(
    printable(
      event === null
        ? `${revision}  cannot be read: ${problem ?? ''}`
        : `${revision}  ${isoTime(event.timeMs) ?? '-'}  ${event.type}  by ${event.source}`,
      1000,
    ),
  );
  if (stateChanges) for (const line of changeLines(stateChanges, 'state')) context.out(line);
}

async function printState(
  { store, id, at, flags, context }: Asked,
  aggregate: Aggregate<unknown>,
): Promise<void> {
  const folded = withoutSnapshots(aggregate);
  const { state, revision } = await store.load(folded, id, at === undefined ? {} : { at });
  if (flags.json) context.out(safeJson({ category: aggregate.category, id, revision, state }));
  else {
    context.out(
      `${printable(aggregate.category)} ${printable(id)} at revision ${revision} (${plural(revision, 'event')})`,
    );
    context.out(safeJson(state, 2));
  }
}

/** A command that looks must not take snapshots, and a snapshot may be wrong. */
function withoutSnapshots(aggregate: Aggregate<unknown>): Aggregate<unknown> {
  const { category, events, initialState, evolve } = aggregate;
  return {
    category,
    events,
    initialState: initialState.bind(aggregate),
    evolve: evolve.bind(aggregate),
  };
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
