/** `millrace dlq`: dead letters: list, show, replay, purge. */
import { Option, type Command } from 'commander';
import { ENTRY_REASONS, FAILURE_REASONS } from '../../core/thread-protocol.ts';
import { readEvent } from '../../wire/batch-reader.ts';
import type { Deployment } from '../../deployment.ts';
import {
  DeadLetterIdError,
  getDeadLetter,
  listDeadLetters,
  parseLetterId,
  type DeadLetter,
  type DeadLetterFilter,
} from '../../pipeline/dead/dead-letters.ts';
import { purgeDeadLetters, type LetterPlace } from '../../pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../pipeline/dead/replay.ts';
import { plainJson } from '../../wire/payload-json.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural, wholeNumber } from '../options.ts';
import { isoTime, printable, printableLines, safeJson, table } from '../printable.ts';

interface FilterFlags {
  readonly function?: string;
  readonly type?: string;
  readonly subject?: string;
  readonly reason?: string;
  readonly event?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

interface ChangeFlags extends FilterFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/**
 * Rows that are aligned together. A longer list is printed in parts, so that memory stays bounded.
 */
const TABLE_ROWS = 200;
const PURGE_AT_ONCE = 200;
const PROGRESS_LETTERS = 1000;

export function registerDlq(program: Command, context: LongRunningContext): void {
  const dlq = program
    .command('dlq')
    .description('list, show, replay or purge dead letters')
    .addHelpText(
      'after',
      `
The id of a letter, such as inventory/3/1795450694309-0, names its function, its partition and its
entry in the dead letters.

Examples:
  millrace dlq list --function inventory --reason attempts
  millrace dlq show inventory/3/1795450694309-0 --payload
  millrace dlq replay --function inventory --all
  millrace dlq purge --type order.created --dry-run`,
    );

  filtered(
    dlq
      .command('list')
      .description('print dead letters, oldest first for each function and partition'),
  )
    .option('--json', 'print one JSON object a line')
    .action((flags: FilterFlags) => list(flags, context));

  dlq
    .command('show')
    .description(
      'print one dead letter: the place of its event, every attempt, the error with its stack',
    )
    .argument('<id>', 'id of the letter')
    .option(
      '--payload',
      'decode the payload too, by the types under ./proto; it may be confidential',
    )
    .option('--json', 'print one JSON object')
    .action((id: string, flags: { readonly payload?: boolean; readonly json?: boolean }) =>
      show(id, flags, context),
    );

  filtered(
    dlq
      .command('replay')
      .description(
        'try dead events again: each moves to the retries of its function, with all its attempts',
      ),
  )
    .argument('[ids...]', 'ids of letters; without ids, give a filter or --all')
    .option('--all', 'all letters that pass the filters; needed without ids and filters')
    .option('--dry-run', 'count only, change nothing')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
Each letter moves in one step. After an interruption it is in the dead letters or in the retries,
never in both or in neither. Run the command again to go on.
Exit status 1 if a named letter is not there. The other letters are replayed.
A letter of kind "entry" cannot be replayed, because its entry could not be decoded. It is reported,
the other letters are replayed, and the exit status is 1.`,
    )
    .action((ids: string[], flags: ChangeFlags) => replay(ids, flags, context));

  filtered(dlq.command('purge').description('delete dead letters for good'))
    .argument('[ids...]', 'ids of letters; without ids, give a filter or --all')
    .option('--all', 'all letters that pass the filters; needed without ids and filters')
    .option('--dry-run', 'count only, change nothing')
    .option('--yes', 'confirm; needed without --dry-run, because a purge cannot be undone')
    .option('--json', 'print the result as one JSON object')
    .action((ids: string[], flags: ChangeFlags) => purge(ids, flags, context));
}

function filtered(command: Command): Command {
  return command
    .option('--function <name>', 'letters of this function only')
    .option('--type <type>', 'letters of this event type only')
    .option('--subject <subject>', 'letters of this subject only')
    .addOption(
      new Option('--reason <reason>', 'letters with this reason only').choices([
        ...new Set([...FAILURE_REASONS, ...ENTRY_REASONS]),
      ]),
    )
    .option('--event <id>', 'letters of the event with this id only')
    .option('--limit <n>', 'at most this many letters', wholeNumber(1, Number.MAX_SAFE_INTEGER));
}

function filterOf(flags: FilterFlags, ids?: readonly string[]): DeadLetterFilter {
  return {
    function: flags.function,
    type: flags.type,
    subject: flags.subject,
    reason: flags.reason,
    eventId: flags.event,
    limit: flags.limit,
    ...(ids && ids.length > 0 ? { ids: [...new Set(ids)] } : {}),
  };
}

/** Checks that a command without ids and filters has --all. Runs before a deployment is opened. */
function checkScope(ids: readonly string[], flags: ChangeFlags): void {
  const narrowed = [flags.function, flags.type, flags.subject, flags.reason, flags.event].some(
    (value) => value !== undefined,
  );
  if (ids.length === 0 && !narrowed && !flags.all)
    throw new UsageError(
      'give ids of letters, a filter (--function, --type, --subject, --reason, --event), or --all',
    );
  if (ids.length > 0 && flags.all) throw new UsageError('give ids of letters or --all, not both');
  checkIds(ids, 1024);
}

function checkIds(ids: readonly string[], partitions: number): void {
  try {
    for (const id of ids) parseLetterId(id, partitions);
  } catch (error) {
    if (error instanceof DeadLetterIdError) throw new UsageError(error.message);
    throw error;
  }
}

function summary(letter: DeadLetter): Record<string, unknown> {
  return {
    id: letter.id,
    function: letter.function,
    type: letter.type,
    subject: letter.subject,
    eventId: letter.eventId,
    reason: letter.reason,
    error: {
      name: letter.error.name,
      message: letter.error.message,
      ...(letter.error.cause ? { cause: letter.error.cause } : {}),
    },
    attempts: letter.attempts,
    firstFailedAt: isoTime(letter.firstFailedMs),
    lastFailedAt: isoTime(letter.lastFailedMs),
  };
}

async function list(flags: FilterFlags, context: LongRunningContext): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  let count = 0;
  let rows: string[][] = [];
  const flush = (): void => {
    if (rows.length === 0) return;
    const columns = [
      { title: 'id' },
      { title: 'type' },
      { title: 'subject' },
      { title: 'reason' },
      { title: 'error' },
      { title: 'attempts', right: true },
      { title: 'last failed' },
    ];
    const text = table(columns, rows);
    context.out(count > rows.length ? text.slice(text.indexOf('\n') + 1) : text);
    rows = [];
  };
  for await (const letter of listDeadLetters(deployment, filterOf(flags))) {
    count++;
    if (flags.json) {
      context.out(safeJson(summary(letter)));
      continue;
    }
    rows.push([
      letter.id,
      letter.type,
      letter.kind === 'entry' ? `(entry, ${plural(letter.events, 'event')})` : letter.subject,
      letter.reason,
      `${letter.error.name}: ${letter.error.message}`,
      String(letter.attempts),
      isoTime(letter.lastFailedMs) ?? '-',
    ]);
    if (rows.length >= TABLE_ROWS) flush();
  }
  if (flags.json) return;
  flush();
  context.err(
    count === 0 ? 'millrace: no dead letters' : `millrace: ${plural(count, 'dead letter')}`,
  );
}

async function show(
  id: string,
  flags: { readonly payload?: boolean; readonly json?: boolean },
  context: LongRunningContext,
): Promise<void> {
  checkIds([id], 1024);
  const deployment = await context.open(flags.payload ? {} : { protoDir: null });
  const letter = await getDeadLetter(deployment, id);
  const payload = flags.payload ? payloadOf(letter, deployment) : null;
  if (flags.json) {
    context.out(
      safeJson({
        ...summary(letter),
        kind: letter.kind,
        error: letter.error,
        partition: letter.partition,
        entryId: letter.entryId,
        index: letter.index,
        position: letter.position,
        events: letter.events,
        dispatcher: letter.dispatcher,
        version: letter.version,
        history: letter.history.map(({ atMs, ...attempt }) => ({ at: isoTime(atMs), ...attempt })),
        ...(payload ?? {}),
      }),
    );
    return;
  }
  const facts: [string, string][] = [
    ['letter', letter.id],
    [
      'event',
      letter.kind === 'entry'
        ? `a whole entry (${plural(letter.events, 'event')}) that could not be decoded`
        : letter.eventId,
    ],
    ['type', letter.type],
    ['subject', letter.subject],
    ['was at', `${letter.partition}/${letter.entryId}/${letter.position}, index ${letter.index}`],
    ['reason', letter.reason],
    ['attempts', String(letter.attempts)],
    ['first failed', isoTime(letter.firstFailedMs) ?? '-'],
    ['last failed', isoTime(letter.lastFailedMs) ?? '-'],
    ['dispatcher', letter.dispatcher],
    ['code version', letter.version],
    ['error', `${letter.error.name}: ${letter.error.message}`],
  ];
  if (letter.error.cause) facts.push(['caused by', letter.error.cause]);
  for (const [name, value] of facts)
    context.out(`${name.padEnd(13)} ${printable(value, 1000)}`.trimEnd());
  if (letter.error.stack !== '')
    context.out(printableLines(letter.error.stack).replace(/^/gm, '  '));
  for (const attempt of letter.history)
    context.out(
      `attempt ${attempt.attempt} at ${isoTime(attempt.atMs) ?? '-'}: ${printable(attempt.name)}: ${printable(attempt.message, 500)}${attempt.cause ? `; caused by ${printable(attempt.cause, 500)}` : ''}`,
    );
  if (payload === null)
    context.err(`millrace: ${letter.bytes.length} bytes of ${letter.kind}; --payload shows them`);
  else
    context.out(
      `${'payload' in payload ? 'payload' : 'bytes'.padEnd(7)}       ${safeJson('payload' in payload ? payload.payload : payload.bytesBase64, 2)}`,
    );
}

/** Decodes the payload of a letter. If this fails, returns the bytes and the reason. */
function payloadOf(
  letter: DeadLetter,
  deployment: Deployment,
): { payload: unknown } | { bytesBase64: string; undecodable: string } {
  try {
    if (letter.kind !== 'event') throw new Error(`the ${letter.kind} could not be read`);
    const header = readEvent(letter.bytes);
    const type = deployment.catalog.get(letter.type);
    return {
      payload: plainJson(
        type.decode(
          letter.bytes.subarray(header.dataOffset, header.dataOffset + header.dataLength),
        ),
      ),
    };
  } catch (error) {
    return { bytesBase64: letter.bytes.toString('base64'), undecodable: (error as Error).message };
  }
}

async function replay(
  ids: readonly string[],
  flags: ChangeFlags,
  context: LongRunningContext,
): Promise<void> {
  checkScope(ids, flags);
  const deployment = await context.open({ protoDir: null });
  checkIds(ids, deployment.partitions);
  const result = { replayed: 0, gone: 0, notReplayable: 0, dryRun: flags.dryRun === true };
  let seen = 0;
  let progress = 0;
  for await (const letter of listDeadLetters(deployment, filterOf(flags, ids))) {
    seen++;
    if (letter.kind !== 'event') {
      result.notReplayable++;
      context.err(
        `millrace: dead letter ${letter.id} cannot be replayed: its content could not be read (${printable(letter.reason)})`,
      );
    } else if (flags.dryRun) result.replayed++;
    else
      result[(await replayDeadLetter(deployment, letter)) === 'replayed' ? 'replayed' : 'gone']++;
    if (++progress % PROGRESS_LETTERS === 0)
      context.err(`millrace: ${plural(progress, 'letter')} so far`);
  }
  result.gone += missing(ids, seen, flags, context);
  if (flags.json) context.out(safeJson(result));
  else
    context.out(
      `${plural(result.replayed, 'dead letter')} ${flags.dryRun ? 'would be replayed' : 'replayed'}${result.gone > 0 ? `, ${result.gone} gone already` : ''}${result.notReplayable > 0 ? `, ${result.notReplayable} cannot be replayed` : ''}`,
    );
  if (result.notReplayable > 0)
    throw new Error(`${plural(result.notReplayable, 'dead letter')} cannot be replayed`);
}

async function purge(
  ids: readonly string[],
  flags: ChangeFlags,
  context: LongRunningContext,
): Promise<void> {
  checkScope(ids, flags);
  if (!flags.yes && !flags.dryRun)
    throw new UsageError('purging cannot be undone: add --yes, or count first with --dry-run');
  const deployment = await context.open({ protoDir: null });
  checkIds(ids, deployment.partitions);
  let seen = 0;
  let events = 0;
  let purged = 0;
  let places: LetterPlace[] = [];
  const flush = async (): Promise<void> => {
    if (flags.dryRun) purged += places.length;
    else if (places.length > 0) purged += await purgeDeadLetters(deployment, places);
    places = [];
  };
  for await (const letter of listDeadLetters(deployment, filterOf(flags, ids))) {
    seen++;
    events += letter.events;
    places.push({
      function: letter.function,
      partition: letter.partition,
      letterId: letter.letterId,
      type: letter.type,
      events: letter.events,
      subject: letter.subject,
    });
    if (places.length >= PURGE_AT_ONCE) await flush();
    if (seen % PROGRESS_LETTERS === 0) context.err(`millrace: ${plural(seen, 'letter')} so far`);
  }
  await flush();
  const gone = seen - purged + missing(ids, seen, flags, context);
  if (flags.json) context.out(safeJson({ purged, gone, events, dryRun: flags.dryRun === true }));
  else
    context.out(
      `${plural(purged, 'dead letter')} (${plural(events, 'event')}) ${flags.dryRun ? 'would be purged' : 'purged'}${gone > 0 ? `, ${gone} gone already` : ''}`,
    );
}

/**
 * Reports the named letters that were not found, and fails the command. A filter beside the ids may
 * have kept them out.
 * @returns their number
 */
function missing(
  ids: readonly string[],
  seen: number,
  flags: ChangeFlags,
  context: LongRunningContext,
): number {
  const wanted = new Set(ids).size;
  if (wanted <= seen || flags.limit !== undefined) return 0;
  context.err(
    `millrace: ${plural(wanted - seen, 'named letter')} ${wanted - seen === 1 ? 'is' : 'are'} not there: replayed or purged already, or kept out by a filter`,
  );
  context.fail();
  return wanted - seen;
}
