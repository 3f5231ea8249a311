/** `millrace alerts silence`: has the receivers not told of some alerts until a time. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { isoTime } from '../../core/rfc3339.ts';
import { readAlerts, type RuleLabels } from '../../alerts/alert-store.ts';
import { labelsOfRules, silenceFault } from '../../alerts/known-rules.ts';
import { AlertRulesError, parseAlertTime, readAlertSettings } from '../../alerts/rules-file.ts';
import {
  addSilence,
  MOST_SILENCE_MS,
  readSilences,
  removeSilence,
  type Silence,
} from '../../alerts/silences.ts';
import { audited } from '../audited.ts';
import type { Deployment } from '../../deployment.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { serverTime } from '../../redis/server-time.ts';

interface SilenceFlags {
  readonly for?: number;
  readonly label: Readonly<Record<string, string>>;
  readonly comment: string;
  readonly all?: boolean;
  readonly list?: boolean;
  readonly remove?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerAlertsSilence(alerts: Command, context: LongRunningContext): void {
  alerts
    .command('silence')
    .description('have the receivers not told of some alerts until a time')
    .argument('[alert]', 'name of the rule')
    .option('--all', 'silence every rule')
    .option('--for <time>', 'length of the silence: 30m, 2h, 1d', silenceTime)
    .option('--label <name=value>', 'only alerts with this label (may be repeated)', label, {})
    .option('--comment <text>', 'reason, for other people', '')
    .option('--list', 'show the silences')
    .option('--remove <id>', 'end a silence at once')
    .option('--force', 'silence a rule or label that nobody knows, too')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
A silenced alert is evaluated and listed all the same. If it still fires at the end of its silence,
the receivers are told then. The end of an alert that they know is told during a silence too.
A rule that nobody knows, or a label that its alerts do not have, is refused without --force.

Examples:
  millrace alerts silence oldest-event --for 2h --label function=mail --comment "mail moves today"
  millrace alerts silence --list`,
    )
    .action((alert: string | undefined, flags: SilenceFlags) => silence(alert, flags, context));
}

function silenceTime(text: string): number {
  const ms = parseAlertTime(text);
  if (ms === null || ms < 1000 || ms > MOST_SILENCE_MS)
    throw new InvalidArgumentError('It must be a time from 1s to 366d, such as 30m, 2h or 1d.');
  return ms;
}

function label(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be name=value, such as function=mail.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

async function silence(
  alert: string | undefined,
  flags: SilenceFlags,
  context: LongRunningContext,
): Promise<void> {
  const ways = [alert !== undefined, flags.all, flags.list, flags.remove !== undefined];
  if (ways.filter(Boolean).length !== 1)
    throw new UsageError('give the name of a rule, or one of --all, --list and --remove');
  const adds = alert !== undefined || flags.all === true;
  if (adds && flags.for === undefined)
    throw new UsageError('give the length of the silence: --for 2h');
  const deployment = await context.open({ protoDir: null });
  if (flags.remove !== undefined) {
    const { remove: id } = flags;
    const removed = await audited(deployment, {
      action: 'alerts silence --remove',
      target: id,
      make: () => removeSilence(deployment, id),
      problemOf: (found) => (found ? null : 'there is no such silence'),
    });
    if (!removed)
      throw new Error(`there is no silence ${printable(id)}: alerts silence --list shows them`);
    context.err(`millrace: silence ${flags.remove} has ended`);
  } else if (adds) {
    const wanted = { alert: alert ?? null, labels: flags.label, comment: flags.comment };
    if (flags.force !== true) await checkKnown(deployment, wanted, context);
    const added = await audited(deployment, {
      action: 'alerts silence',
      target: alert ?? '',
      wanted: { ...wanted, forMs: flags.for },
      make: () => addSilence(deployment, wanted, flags.for as number),
      after: (result) => result,
    });
    show([added], flags, context);
  } else {
    const silences = await readSilences(deployment, await serverTime(deployment));
    if (silences.length === 0 && !flags.json) context.err('millrace: there are no silences');
    else show(silences, flags, context);
  }
}

/**
 * Where no evaluation was stored, its rules are not known, and a fault is a warning only.
 * @throws UsageError for a silence that would match no alert
 */
async function checkKnown(
  deployment: Deployment,
  wanted: Pick<Silence, 'alert' | 'labels'>,
  context: LongRunningContext,
): Promise<void> {
  const state = await readAlerts(deployment);
  const fault = silenceFault(wanted, state, await rulesHere(context));
  if (fault === null) return;
  if (state.rules.size > 0) throw new UsageError(`${fault}. To silence it all the same: --force`);
  context.err(
    `millrace: warning: ${fault}. No evaluation was stored, so other rules are not known`,
  );
}

/** Rules of this folder's file. A file that cannot be used here names none. */
async function rulesHere(context: LongRunningContext): Promise<RuleLabels> {
  try {
    return labelsOfRules(await readAlertSettings(context.environment().MILLRACE_ALERTS));
  } catch (error) {
    if (error instanceof AlertRulesError) return new Map();
    throw error;
  }
}

function show(
  silences: readonly Silence[],
  flags: SilenceFlags,
  context: LongRunningContext,
): void {
  if (flags.json) {
    for (const { fromMs, untilMs, ...rest } of silences)
      context.out(safeJson({ ...rest, from: isoTime(fromMs), until: isoTime(untilMs) }));
    return;
  }
  context.out(
    table(
      ['id', 'alert', 'labels', 'until', 'comment'].map((title) => ({ title })),
      silences.map(({ id, alert, labels, untilMs, comment }) => [
        id,
        alert ?? 'every rule',
        Object.entries(labels)
          .map((pair) => pair.join('='))
          .join(' ') || '-',
        isoTime(untilMs) ?? '-',
        comment === '' ? '-' : comment,
      ]),
    ),
  );
}
