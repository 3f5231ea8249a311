/** `millrace dlq`: dead letters: list, show, replay, purge. */
import type { Command } from 'commander';
import { readEvent } from '../../wire/batch-reader.ts';
import type { Deployment } from '../../deployment.ts';
import {
  getDeadLetter,
  listDeadLetters,
  type DeadLetter,
} from '../../pipeline/dead/dead-letters.ts';
import { plainJson } from '../../wire/payload-json.ts';
import type { LongRunningContext } from '../context.ts';
import { plural } from '../options.ts';
import { isoTime, printable, printableLines, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { purge, replay, type ChangeFlags } from './dlq-change.ts';
import { checkIds, filtered, filterOf, type FilterFlags } from './dlq-filter.ts';

/**
 * Rows that are aligned together. A longer list is printed in parts, so that memory stays bounded.
 */
const TABLE_ROWS = 200;

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
