/** `millrace dlq replay` and `purge`: changes of the dead letters that a command line chooses. */
import type { Deployment } from '../../deployment.ts';
import { listDeadLetters } from '../../pipeline/dead/dead-letters.ts';
import { purgeDeadLetters, type LetterPlace } from '../../pipeline/dead/purge.ts';
import { replayDeadLetter } from '../../pipeline/dead/replay.ts';
import { audited } from '../audited.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { printable, safeJson } from '../printable.ts';
import { checkIds, filterOf, type FilterFlags } from './dlq-filter.ts';

const PURGE_AT_ONCE = 200;
/** Letters between two lines of progress. */
const PROGRESS_LETTERS = 1000;

export interface ChangeFlags extends FilterFlags {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
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

interface Chosen {
  readonly ids: readonly string[];
  readonly flags: ChangeFlags;
  readonly deployment: Deployment;
}

/** Makes the change, and records it. A dry run changes nothing, and is not recorded. */
function changing(
  action: string,
  { ids, flags, deployment }: Chosen,
  make: () => Promise<void>,
  after: () => object,
): Promise<void> {
  if (flags.dryRun) return make();
  const { yes: _yes, dryRun: _dryRun, json: _json, ...wanted } = flags;
  const target = flags.function ?? flags.type ?? ids.join(' ');
  return audited(deployment, { action, target, wanted: { ids, ...wanted }, make, after });
}

/** Replays the chosen letters, and prints the result. */
export async function replay(
  ids: readonly string[],
  flags: ChangeFlags,
  context: LongRunningContext,
): Promise<void> {
  checkScope(ids, flags);
  const deployment = await context.open({ protoDir: null });
  checkIds(ids, deployment.partitions);
  const result = { replayed: 0, gone: 0, notReplayable: 0, dryRun: flags.dryRun === true };
  let seen = 0;
  const replayAll = async (): Promise<void> => {
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
      if (seen % PROGRESS_LETTERS === 0) context.err(`millrace: ${plural(seen, 'letter')} so far`);
    }
  };
  await changing('dlq replay', { ids, flags, deployment }, replayAll, () => {
    const { replayed, gone, notReplayable } = result;
    return { replayed, gone, notReplayable };
  });
  result.gone += missing(ids, seen, flags, context);
  if (flags.json) context.out(safeJson(result));
  else
    context.out(
      `${plural(result.replayed, 'dead letter')} ${flags.dryRun ? 'would be replayed' : 'replayed'}${result.gone > 0 ? `, ${result.gone} gone already` : ''}${result.notReplayable > 0 ? `, ${result.notReplayable} cannot be replayed` : ''}`,
    );
  if (result.notReplayable > 0)
    throw new Error(`${plural(result.notReplayable, 'dead letter')} cannot be replayed`);
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
  };
  await changing('dlq purge', { ids, flags, deployment }, purgeAll, () => ({ purged, events }));
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
