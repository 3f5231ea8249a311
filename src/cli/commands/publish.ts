/** `millrace publish`: one event from the command line, or NDJSON (publish-file.ts). */
import type { Command } from 'commander';
import { Millrace } from '../../millrace.ts';
import { createJsonReader } from '../../wire/payload-json.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { wholeNumber } from '../options.ts';
import { publishFile, type FileFlags } from './publish-file.ts';

interface PublishFlags extends FileFlags {
  readonly data?: string;
  readonly file?: string;
  readonly subject?: string;
  readonly id?: string;
}

export function registerPublish(program: Command, context: LongRunningContext): void {
  program
    .command('publish')
    .description('publish one event, or the events of an NDJSON file')
    .argument('[type]', 'event type; with --file or -, the type of lines without one')
    .argument('[-]', 'a dash: read NDJSON from stdin')
    .option('--data <json>', 'payload of one event, as JSON')
    .option('--file <path>', 'NDJSON file, one CloudEvents JSON object a line; - is stdin')
    .option(
      '--subject <text>',
      'with --data: the ordering key (default: the subject field of the payload)',
    )
    .option('--id <text>', 'with --data: the event id (default: a new one)')
    .option('--skip-bad', 'with --file: report bad lines and go on')
    .option(
      '--deadline <ms>',
      'give up after this time without an answer of the server',
      wholeNumber(1, 3_600_000),
      30_000,
    )
    .option('--json', 'print the result as one JSON object')
    .addHelpText(
      'after',
      `
A bad line is reported on stderr with its number. A line is bad if it is not JSON, not a CloudEvent,
of an unknown type, or longer than 2 MiB. Data that does not fit the schema is bad too.
Without --skip-bad the first bad line ends the command with exit status 1. Nothing from that line on
is sent.
With --skip-bad all bad lines are left out and counted, and the exit status is 0.

Examples:
  millrace publish order.created --data '{"orderId":"A-1","country":"GB","total":{"amount":1250,"currency":"GBP"}}'
  millrace publish --file events.ndjson --skip-bad
  millrace tail order.created --no-follow | MILLRACE_NAMESPACE=copy millrace publish -`,
    )
    .action((type: string | undefined, dash: string | undefined, flags: PublishFlags) =>
      publish(type, dash, flags, context),
    );
}

async function publish(
  first: string | undefined,
  second: string | undefined,
  flags: PublishFlags,
  context: LongRunningContext,
): Promise<void> {
  const { type, file } = checkUse(first, second, flags);
  if (file !== undefined) return publishFile(file, type, flags, context);

  let data: unknown;
  try {
    data = JSON.parse(flags.data as string);
  } catch (error) {
    throw new UsageError(`--data is not JSON: ${(error as Error).message}`);
  }
  const deployment = await context.open({ settleSchemas: true });
  const publisher = new Millrace(deployment).publisher({
    deadlineMs: flags.deadline,
    whenRefused: 'reject',
    whenFull: 'reject',
  });
  const published = await publisher.publish(
    type as string,
    createJsonReader(deployment.catalog)(type as string, data),
    {
      ...(flags.subject === undefined ? {} : { subject: flags.subject }),
      ...(flags.id === undefined ? {} : { id: flags.id }),
    },
  );
  await publisher.close();
  context.out(
    flags.json ? JSON.stringify(published) : `published ${published.id} at ${published.position}`,
  );
}

/** @throws UsageError */
function checkUse(
  first: string | undefined,
  second: string | undefined,
  flags: PublishFlags,
): { type: string | undefined; file: string | undefined } {
  if (second !== undefined && second !== '-')
    throw new UsageError(
      `unexpected argument "${second}"; payloads go into --data, files into --file`,
    );
  const dash = first === '-' || second === '-';
  if (first === '-' && second === '-') throw new UsageError('stdin is given twice: give one dash');
  const type = first === '-' ? undefined : first;
  const given = [flags.data !== undefined, flags.file !== undefined, dash].filter(Boolean).length;
  if (given !== 1)
    throw new UsageError(
      `give ${given === 0 ? '' : 'only '}one of --data JSON, --file FILE and - (stdin)`,
    );
  if (flags.data !== undefined) {
    if (type === undefined)
      throw new UsageError('--data needs the event type: millrace publish TYPE --data JSON');
    if (flags.skipBad) throw new UsageError('--skip-bad goes with --file');
    return { type, file: undefined };
  }
  for (const name of ['subject', 'id'] as const) {
    if (flags[name] !== undefined)
      throw new UsageError(`--${name} goes with --data; a line of NDJSON names its own`);
  }
  return { type, file: dash ? '-' : (flags.file as string) };
}
