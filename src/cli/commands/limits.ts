/**
 * `millrace limits`: how long events of a type are kept, and how far its functions may fall behind.
 */
import type { Command } from 'commander';
import { TYPE_PATTERN } from '../../core/function-spec.ts';
import {
  InvalidLimitError,
  readTypeLimits,
  setTypeLimits,
  type TypeLimits,
} from '../../upkeep/type-limits.ts';
import { audited } from '../audited.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { requireKnownType } from '../known-types.ts';
import { formatCount, timeSpan, wholeNumber } from '../options.ts';
import { duration, safeJson } from '../printable.ts';
import { table } from '../table.ts';

interface Flags {
  readonly maxAge?: number;
  readonly maxEvents?: number;
  readonly maxBacklog?: number;
  readonly unset?: boolean;
  readonly json?: boolean;
}

const age = timeSpan(1000, 'a second or more, such as 90s, 30m, 12h or 7d');

export function registerLimits(program: Command, context: CliContext): void {
  program
    .command('limits')
    .description(
      'show or set how much of an event type is kept, and how far its functions may fall behind',
    )
    .argument('[type]', 'event type (default: show all types with limits)')
    .option('--max-age <time>', 'trim entries that are older: 90s, 30m, 12h, 7d', age)
    .option(
      '--max-events <n>',
      'keep at most this many events, trim the oldest',
      wholeNumber(0, 1e15),
    )
    .option(
      '--max-backlog <n>',
      'slow publishers down while the slowest function is more events behind',
      wholeNumber(1, 1e15),
    )
    .option('--unset', 'remove all limits of the type')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Dispatchers apply a change within MILLRACE_UPKEEP_MS (10 s), publishers within 10 s.
Event counts are totals over all partitions. Each partition has an equal part.
Retention never trims an entry that a registered function has not settled. The log names this
function ("RETENTION HELD"). Entries are trimmed page by page, oldest first.
Limits without an option stay as they are.

Examples:
  millrace limits order.created --max-age 7d --max-events 50000000
  millrace limits order.created --unset`,
    )
    .action((type: string | undefined, flags: Flags) => limits(type, flags, context));
}

async function limits(type: string | undefined, flags: Flags, context: CliContext): Promise<void> {
  const asked: TypeLimits = {
    ...(flags.maxAge === undefined ? {} : { maxAgeMs: flags.maxAge }),
    ...(flags.maxEvents === undefined ? {} : { maxEvents: flags.maxEvents }),
    ...(flags.maxBacklog === undefined ? {} : { maxBacklog: flags.maxBacklog }),
  };
  const changes = Object.keys(asked).length > 0;
  if (changes && flags.unset) throw new UsageError('give limits or --unset, not both');
  if ((changes || flags.unset) && type === undefined)
    throw new UsageError('name the event type to change the limits of');
  if (type !== undefined && !TYPE_PATTERN.test(type))
    throw new UsageError(
      `"${type}" is not a name of an event type: it must match ${TYPE_PATTERN.source}`,
    );
  const deployment = await context.open({ protoDir: null });
  const known = await readTypeLimits(deployment);
  // A type with limits may be gone from everywhere else. Its limits can still be removed.
  if (type !== undefined && !known.has(type)) await requireKnownType(deployment, type);
  if (type !== undefined && (changes || flags.unset)) {
    const before = known.get(type) ?? {};
    try {
      const after = flags.unset ? {} : { ...before, ...asked };
      await audited(deployment, {
        action: flags.unset ? 'limits unset' : 'limits set',
        target: type,
        wanted: asked,
        before,
        make: () => setTypeLimits(deployment, type, after),
        after: () => after,
      });
    } catch (error) {
      if (error instanceof InvalidLimitError) throw new UsageError(error.message);
      throw error;
    }
  }
  const all = [...(await readTypeLimits(deployment))]
    .filter(([name]) => type === undefined || name === type)
    .sort();
  if (flags.json) context.out(safeJson(Object.fromEntries(all)));
  else if (all.length === 0)
    context.err(
      `millrace: ${type === undefined ? 'no type has limits' : `${type} has no limits`}: all events are kept`,
    );
  else {
    context.out(
      table(
        [
          { title: 'type' },
          ...['max age', 'max events', 'max backlog'].map((title) => ({ title, right: true })),
        ],
        all.map(([name, of]) => [
          name,
          of.maxAgeMs === undefined ? '-' : duration(of.maxAgeMs),
          of.maxEvents === undefined ? '-' : formatCount(of.maxEvents),
          of.maxBacklog === undefined ? '-' : formatCount(of.maxBacklog),
        ]),
      ),
    );
  }
}
