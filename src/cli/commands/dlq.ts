/** `millrace dlq`: dead letters. */
import { Option, type Command } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { readEvent } from '../../wire/batch-reader.ts';
import type { Deployment } from '../../deployment.ts';
import {
  getDeadLetter,
  listDeadLetters,
  type DeadLetter,
} from '../../pipeline/dead/dead-letters.ts';
import { GROUPS } from '../../pipeline/dead/letter-groups.ts';
import { showError } from '../../payload/show-error.ts';
import { plainJson } from '../../wire/payload-json.ts';
import type { LongRunningContext } from '../context.ts';
import { maskedData } from '../masked-event.ts';
import { plural } from '../options.ts';
import { printable, printableLines, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { purge, type ChangeFlags } from './dlq-change.ts';
import type { EditFlags } from './dlq-edit.ts';
import { printGroups, type GroupsFlags } from './dlq-groups.ts';
import type { RehearseFlags } from './dlq-rehearse.ts';
import { paced, replay, type ReplayFlags } from './dlq-replay.ts';
import { checkIds, filtered, filterOf, type FilterFlags } from './dlq-filter.ts';

/**
 * Rows that are aligned together. A longer list is printed in parts, so that memory stays bounded.
 */
const TABLE_ROWS = 200;

export function registerDlq(program: Command, context: LongRunningContext): void {
  const dlq = program
    .command('dlq')
    .description('list, group, show, rehearse, edit, replay or purge dead letters')
    .addHelpText(
      'after',
      `
The id of a letter, such as inventory/3/1795450694309-0, names its function, its partition and its
entry in the dead letters.

Examples:
  millrace dlq groups
  millrace dlq list --function inventory --reason attempts
  millrace dlq show inventory/3/1795450694309-0 --payload
  millrace dlq rehearse --group 3f0c6a1be29d --limit 3
  millrace dlq replay --group 3f0c6a1be29d --canary 10 --stop-at 5%
  millrace dlq purge --type order.created --dry-run`,
    );
  registerLooks(dlq, context);
  registerMending(dlq, context);
  registerChanges(dlq, context);
}

/** Commands that only look. */
function registerLooks(dlq: Command, context: LongRunningContext): void {
  filtered(
    dlq
      .command('list')
      .description('print dead letters, oldest first for each function and partition'),
  )
    .option('--json', 'print one JSON object a line')
    .action((flags: FilterFlags) => list(flags, context));

  dlq
    .command('groups')
    .description('print dead letters by fault: how many, since when, and how many in each hour')
    .option('--function <name>', 'letters of this function only')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Letters of a group have the same function, event type, schema, error name, message without its ids
and numbers, and top frames of the stack. The counts are kept: no letter is read.
"other": letters of a function with more than 100 groups in a partition.
"unclassified": letters that an older version wrote.`,
    )
    .action((flags: GroupsFlags) => printGroups(flags, context));

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
    .option(
      '--masked',
      'leave out what may be confidential: masked fields, messages and causes of errors',
    )
    .option('--json', 'print one JSON object')
    .action((id: string, flags: ShowFlags) => show(id, flags, context));
}

/** Commands over the event of a letter. Their modules are loaded when needed: they are large. */
function registerMending(dlq: Command, context: LongRunningContext): void {
  filtered(
    dlq
      .command('rehearse')
      .description(
        'run dead events through the functions as they are now, and write nothing to Redis',
      ),
  )
    .argument('[ids...]', 'ids of letters; without ids, give a filter or --all')
    .option('--all', 'all letters that pass the filters; needed without ids and filters')
    .option('--dir <dir>', 'folder of the function files', './workers')
    .option('--proto <dir>', 'folder of the .proto files that declare the event types', './proto')
    .option(
      '--external-effects-happen',
      'confirm that the handlers run, with all their effects outside Millrace',
    )
    .option('--yes', 'the same as --external-effects-happen')
    .option('--json', 'print one JSON object a line, for each event')
    .addHelpText(
      'after',
      `
The command shows the outcome, and the failure if there is one. It shows the rows that a view would
write as a difference, the events that would be emitted, and logs and prints of the function.
Without ids and --limit it takes 10 letters.
A rehearsal cannot catch what a handler does by itself: requests, writes to other databases and
files HAPPEN. So the command counts first, and runs with --external-effects-happen only.
Exit status 1 if an event is not done.`,
    )
    .action(async (ids: string[], flags: RehearseFlags) =>
      (await import('./dlq-rehearse.ts')).rehearse(ids, flags, context),
    );

  dlq
    .command('edit')
    .description('give a dead event other data, checked and encoded by the schema of its type')
    .argument('<id>', 'id of the letter')
    .requiredOption('--data <json>', 'new data as JSON, or @file')
    .addOption(
      new Option(
        '--schema <which>',
        'schema of the new data: the type under ./proto, or the schema that the event was written with',
      ).choices(['local', 'writer']),
    )
    .option('--dry-run', 'check and show the difference only, change nothing')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
The letter is replaced by a new one, whose id is printed. The event keeps its id, subject, source,
time and position. The letter keeps the bytes of the event before its first edit, and notes the edit
in its history. Default of --schema: local where ./proto declares the type.

Example:
  millrace dlq edit inventory/3/1795450694309-0 --data @fixed.json --dry-run`,
    )
    .action(async (id: string, flags: EditFlags) =>
      (await import('./dlq-edit.ts')).edit(id, flags, context),
    );
}

/** Commands that take letters away. */
function registerChanges(dlq: Command, context: LongRunningContext): void {
  paced(
    filtered(
      dlq
        .command('replay')
        .description(
          'try dead events again: each moves to the retries of its function, with all its attempts',
        ),
    ),
  )
    .argument('[ids...]', 'ids of letters; without ids, give a filter, --all or --resume')
    .option('--all', 'all letters that pass the filters; needed without ids and filters')
    .option('--dry-run', 'count, and show some letters; change nothing')
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
Each letter moves in one step. After an interruption it is in the dead letters or in the retries,
never in both or in neither. Only letters that were there at the start are replayed.
The options --canary and --stop-at follow the events: one that dies again, or is parked again after
an attempt, has failed. The share of failures counts from 20 outcomes on, and at the end.
A replay that stops, or is interrupted by Ctrl-C, prints its --resume. It is kept for seven days.
Exit status 1 if the replay stopped, or if a named letter is not there. The other letters are
replayed.
A letter of kind "entry" cannot be replayed, because its entry could not be decoded. It is reported,
the other letters are replayed, and the exit status is 1.

Example:
  millrace dlq replay --function inventory --canary 10 --rate 50/s --stop-at 5%`,
    )
    .action((ids: string[], flags: ReplayFlags) => replay(ids, flags, context));

  filtered(dlq.command('purge').description('delete dead letters for good'))
    .argument('[ids...]', 'ids of letters; without ids, give a filter or --all')
    .option('--all', 'all letters that pass the filters; needed without ids and filters')
    .option('--dry-run', 'count only, change nothing')
    .option('--yes', 'confirm; needed without --dry-run, because a purge cannot be undone')
    .option('--json', 'print the result as one JSON object')
    .action((ids: string[], flags: ChangeFlags) => purge(ids, flags, context));
}

interface ShowFlags {
  readonly payload?: boolean;
  readonly masked?: boolean;
  readonly json?: boolean;
}

/**
 * Returns the letter without texts that may quote data. These are messages and causes of errors,
 * and lines of the stack that name no place in the code.
 */
function maskedLetter(letter: DeadLetter): DeadLetter {
  const hidden = (error: { readonly name: string; readonly stack?: string }) => {
    const { name, stack } = showError({ message: '', ...error }, 'masked');
    return { name: name ?? 'Error', message: MASKED_TEXT, stack: stack.join('\n') };
  };
  return {
    ...letter,
    error: hidden(letter.error),
    history: letter.history.map(({ atMs, attempt, name }) => {
      const { name: shown, message } = hidden({ name });
      return { atMs, attempt, name: shown, message };
    }),
  };
}
const MASKED_TEXT = '(masked)';

function summary(letter: DeadLetter): Record<string, unknown> {
  return {
    id: letter.id,
    function: letter.function,
    type: letter.type,
    subject: letter.subject,
    eventId: letter.eventId,
    reason: letter.reason,
    ...(letter.fingerprint === '' ? {} : { group: letter.fingerprint }),
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

async function show(id: string, flags: ShowFlags, context: LongRunningContext): Promise<void> {
  checkIds([id], 1024);
  const deployment = await context.open(flags.payload ? {} : { protoDir: null });
  const found = await getDeadLetter(deployment, id);
  const letter = flags.masked ? maskedLetter(found) : found;
  const payload = flags.payload ? payloadOf(letter, deployment, flags.masked ?? false) : null;
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
        edits: letter.edits.map(({ atMs, ...one }) => ({ at: isoTime(atMs), ...one })),
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
    ['group', letter.fingerprint === '' ? GROUPS.unclassified : letter.fingerprint],
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
  for (const { atMs, by, bytesBefore, bytesAfter } of letter.edits)
    context.out(
      `edited at ${isoTime(atMs) ?? '-'} by ${printable(by)}: ${bytesBefore} bytes before, ${bytesAfter} after`,
    );
  if (payload === null)
    context.err(`millrace: ${letter.bytes.length} bytes of ${letter.kind}; --payload shows them`);
  else
    context.out(
      `${'payload' in payload ? 'payload' : 'bytes'.padEnd(7)}       ${safeJson('payload' in payload ? payload.payload : payload.bytesBase64, 2)}`,
    );
}

/**
 * Decodes the payload of a letter. If this fails, returns the reason, and the bytes unless they are
 * to be masked.
 */
function payloadOf(
  letter: DeadLetter,
  deployment: Deployment,
  isMasked: boolean,
):
  | { payload: unknown; masked?: readonly string[] }
  | { bytesBase64: string | null; undecodable: string } {
  const { catalog } = deployment;
  try {
    if (letter.kind !== 'event') throw new Error(`the ${letter.kind} could not be read`);
    const { dataOffset, dataLength } = readEvent(letter.bytes);
    const data = catalog
      .get(letter.type)
      .decode(letter.bytes.subarray(dataOffset, dataOffset + dataLength));
    if (!isMasked) return { payload: plainJson(data) };
    const { data: left, masked } = maskedData(catalog, letter.type, data);
    return { payload: plainJson(left), masked };
  } catch (error) {
    return {
      bytesBase64: isMasked ? null : letter.bytes.toString('base64'),
      undecodable: (error as Error).message,
    };
  }
}
