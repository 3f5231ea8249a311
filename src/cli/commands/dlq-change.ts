/** `millrace dlq purge`, and the shared parts of all changes of chosen dead letters. */
import type { Change } from '../../audit/make-audited.ts';
import { listDeadLetters } from '../../pipeline/dead/dead-letters.ts';
import { letterPlaceOf, purgeDeadLetters, type LetterPlace } from '../../pipeline/dead/purge.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { safeJson } from '../printable.ts';
import { checkIds, filterOf, type FilterFlags } from './dlq-filter.ts';

const PURGE_AT_ONCE = 200;
/** Letters between two lines of progress. */
export const PROGRESS_LETTERS = 1000;

export interface ChangeFlags extends FilterFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** Checks that a command without ids and filters has --all. Runs before a deployment is opened. */
export function checkScope(ids: readonly string[], flags: ChangeFlags): void {
  const { function: fn, type, subject, reason, event, group } = flags;
  const filters = [fn, type, subject, reason, event, group];
  const narrowed = filters.some((value) => value !== undefined);
  if (ids.length === 0 && !narrowed && !flags.all)
    throw new UsageError(
      'give ids of letters, a filter (--function, --type, --subject, --reason, --event, --group), or --all',
    );
  if (ids.length > 0 && flags.all) throw new UsageError('give ids of letters or --all, not both');
  checkIds(ids, 1024);
}

/** Returns the change of chosen letters, for the audit log. */
export function letterChangeOf(
  action: string,
  ids: readonly string[],
  flags: ChangeFlags,
): Pick<Change<never>, 'action' | 'target' | 'wanted'> {
  const { yes: _yes, dryRun: _dryRun, json: _json, ...wanted } = flags;
  const target = flags.function ?? flags.type ?? flags.group ?? ids.join(' ');
  return { action, target, wanted: { ids, ...wanted } };
}

/** Deletes the chosen letters, and prints the result. */
export async function purge(
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
  const purgeAll = async (): Promise<void> => {
    for await (const letter of listDeadLetters(deployment, filterOf(flags, ids))) {
      seen++;
      events += letter.events;
      places.push(letterPlaceOf(letter));
      if (places.length >= PURGE_AT_ONCE) await flush();
      if (seen % PROGRESS_LETTERS === 0) context.err(`millrace: ${plural(seen, 'letter')} so far`);
    }
    await flush();
  };
  // A dry run changes nothing, and is not recorded.
  if (flags.dryRun) await purgeAll();
  else
    await audited(deployment, {
      ...letterChangeOf('dlq purge', ids, flags),
      make: purgeAll,
      after: () => ({ purged, events }),
    });
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
export function missing(
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
