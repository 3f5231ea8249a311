/** The choice of dead letters on a command line: filters and ids. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { ENTRY_REASONS, FAILURE_REASONS } from '../../core/thread-protocol.ts';
import {
  DeadLetterIdError,
  parseLetterId,
  type DeadLetterFilter,
} from '../../pipeline/dead/dead-letters.ts';
import { checkGroup, LetterGroupError } from '../../pipeline/dead/letter-groups.ts';
import { UsageError } from '../exit-status.ts';
import { wholeNumber } from '../options.ts';

export interface FilterFlags {
  readonly function?: string;
  readonly type?: string;
  readonly subject?: string;
  readonly reason?: string;
  readonly event?: string;
  readonly group?: string;
  readonly limit?: number;
  readonly json?: boolean;
}

/** Adds the filters to a command. */
export function filtered(command: Command): Command {
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
    .option('--group <group>', 'letters of this group only; dlq groups prints them', groupName)
    .option('--limit <n>', 'at most this many letters', wholeNumber(1, Number.MAX_SAFE_INTEGER));
}

function groupName(text: string): string {
  try {
    checkGroup(text);
    return text;
  } catch (error) {
    if (error instanceof LetterGroupError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** Returns the filter of the flags, and of ids if there are any. */
export function filterOf(flags: FilterFlags, ids?: readonly string[]): DeadLetterFilter {
  return {
    function: flags.function,
    type: flags.type,
    subject: flags.subject,
    reason: flags.reason,
    eventId: flags.event,
    group: flags.group,
    limit: flags.limit,
    ...(ids && ids.length > 0 ? { ids: [...new Set(ids)] } : {}),
  };
}

/** @throws UsageError for an id that is malformed, or of a partition that does not exist */
export function checkIds(ids: readonly string[], partitions: number): void {
  try {
    for (const id of ids) parseLetterId(id, partitions);
  } catch (error) {
    if (error instanceof DeadLetterIdError) throw new UsageError(error.message);
    throw error;
  }
}
