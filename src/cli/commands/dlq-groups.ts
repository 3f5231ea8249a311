/** `millrace dlq groups`: dead letters by fault, with counts that cost no look at the letters. */
import { isoTime } from '../../core/rfc3339.ts';
import type { GroupAbout } from '../../core/letter-fingerprint.ts';
import {
  GROUPS,
  readLetterGroups,
  type LetterGroup,
  type LetterGroupsReport,
} from '../../pipeline/dead/letter-groups.ts';
import { sparkline } from '../../top/sparkline.ts';
import type { CliContext } from '../context.ts';
import { formatCount, plural } from '../options.ts';
import { safeJson } from '../printable.ts';
import { table } from '../table.ts';

export interface GroupsFlags {
  readonly function?: string;
  readonly json?: boolean;
}

/** Hours of a trend that are drawn. */
const TREND = 24;

export async function printGroups(flags: GroupsFlags, context: CliContext): Promise<void> {
  const deployment = await context.open({ protoDir: null });
  const report = await readLetterGroups(deployment, { function: flags.function });
  if (flags.json) context.out(safeJson(groupsJson(report)));
  else if (report.groups.length > 0) context.out(groupsTable(report.groups));
  for (const key of report.damaged)
    context.err(
      `millrace: ${key} is of another type: another program has written it. millrace doctor tells the cure`,
    );
  if (report.vanished > 0)
    context.err(
      `millrace: ${plural(report.vanished, 'counted letter')} ${report.vanished === 1 ? 'is' : 'are'} not there: another program has deleted letters`,
    );
  if (flags.json) return;
  context.err(
    report.groups.length === 0
      ? 'millrace: no dead letters'
      : `millrace: ${plural(report.letters, 'dead letter')} in ${plural(report.groups.length, 'group')}`,
  );
}

function groupsJson({ groups, ...more }: LetterGroupsReport): object {
  return {
    ...more,
    groups: groups.map(({ firstMs, lastMs, about, ...group }) => ({
      ...group,
      firstAt: firstMs === null ? null : isoTime(firstMs),
      lastAt: lastMs === null ? null : isoTime(lastMs),
      error: about,
    })),
  };
}

function groupsTable(groups: readonly LetterGroup[]): string {
  return table(
    [
      { title: 'group' },
      { title: 'letters', right: true },
      { title: 'last 24 h' },
      { title: 'function' },
      { title: 'type' },
      { title: 'error' },
      { title: 'last' },
      { title: 'example' },
    ],
    groups.map(({ group, letters, hours, function: fn, about, lastMs, example }) => [
      group,
      formatCount(letters),
      hours === null ? '' : sparkline(hours, TREND),
      fn,
      about?.type ?? '',
      about === null ? meaning(group) : errorOf(about),
      (lastMs === null ? null : isoTime(lastMs)) ?? '-',
      example ?? '-',
    ]),
  );
}

function errorOf({ name, message, frames }: GroupAbout): string {
  return `${name}: ${message}${frames[0] === undefined ? '' : ` at ${frames[0]}`}`;
}

function meaning(group: string): string {
  if (group === GROUPS.other) return '(beyond 100 groups)';
  if (group === GROUPS.unclassified) return '(of an older version)';
  return '';
}
