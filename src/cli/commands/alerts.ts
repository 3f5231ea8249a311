/** `millrace alerts`: the alerts of the deployment, their rules, receivers and silences. */
import type { Command } from 'commander';
import { readAlerts, readEvaluator, type AlertsState } from '../../alerts/alert-store.ts';
import type { AlertRecord } from '../../alerts/alert-record.ts';
import { shownNumber } from '../../alerts/notification.ts';
import { readAlertSettings } from '../../alerts/rules-file.ts';
import { shownAlert, shownEvaluation, shownState } from '../../alerts/shown-alert.ts';
import { readSilences, type Silence } from '../../alerts/silences.ts';
import type { LongRunningContext } from '../context.ts';
import { plural } from '../options.ts';
import { duration, printable, safeJson } from '../printable.ts';
import { table } from '../table.ts';
import { serverRefusals } from '../../redis/capability.ts';
import { serverTime } from '../../redis/server-time.ts';
import { registerAlertsSilence } from './alerts-silence.ts';
import { registerAlertsTest } from './alerts-test.ts';

export function registerAlerts(program: Command, context: LongRunningContext): void {
  const alerts = program
    .command('alerts')
    .description('show, test and silence the alerts of the deployment')
    .addHelpText('after', '\nExample:\n  millrace alerts list');
  alerts
    .command('list')
    .description('show the alerts that fire or are about to')
    .option('--rules', 'show the rules of this folder instead')
    .option('--json', 'print one JSON object a line')
    .addHelpText(
      'after',
      `
  state   pending: its rule holds, but not for long enough yet. firing. silenced: it fires, and the
          receivers are not told. resolved: a receiver is still to be told of the end.
  since   time since the rule holds

One dispatcher of the deployment evaluates the rules. The command shows its last evaluation.
Where nobody evaluates now, or Redis refuses writes, stderr says so first.
Exit status 1 if an alert fires that is not silenced, or if nobody evaluates a deployment's rules.

Examples:
  millrace alerts list
  millrace alerts list --rules`,
    )
    .action((flags: ListFlags) => list(flags, context));
  registerAlertsTest(alerts, context);
  registerAlertsSilence(alerts, context);
}

interface ListFlags {
  readonly rules?: boolean;
  readonly json?: boolean;
}

async function list(flags: ListFlags, context: LongRunningContext): Promise<void> {
  if (flags.rules) return listRules(flags, context);
  const deployment = await context.open({ protoDir: null });
  const nowMs = await serverTime(deployment);
  const [state, silences, evaluator] = await Promise.all([
    readAlerts(deployment),
    readSilences(deployment, nowMs),
    readEvaluator(deployment),
  ]);
  const doubt = doubtOf({ state, evaluator, nowMs }, serverRefusals(deployment.server).length > 0);
  if (doubt !== null) {
    context.err(`millrace: ${doubt}`);
    if (deployment.settled) context.fail();
  }
  const found = [...state.alerts.values()].sort(bySeverity);
  const evaluated = shownEvaluation(state, evaluator);
  if (flags.json)
    for (const alert of found)
      context.out(safeJson({ ...shownAlert(alert, silences), ...evaluated }));
  else if (found.length === 0)
    context.err(`millrace: no alert ${doubt === null ? 'fires' : 'is stored'}`);
  else context.out(alertTable(found, silences, nowMs));
  if (!flags.json) tellWorst(found, context);
  tellReceivers(state, nowMs, context);
  if (doubt === null) context.err(`millrace: ${lastOf(state, nowMs)}`);
  if (found.some((alert) => shownState(alert, silences) === 'firing')) context.fail();
}

interface Evaluated {
  readonly state: AlertsState;
  readonly evaluator: string | null;
  readonly nowMs: number;
}

function lastOf({ evaluated }: Pick<AlertsState, 'evaluated'>, nowMs: number): string {
  if (evaluated === null) return 'no evaluation was stored';
  const ago = duration(Math.max(0, nowMs - evaluated.atMs));
  return `the rules were last evaluated ${ago} ago, by ${printable(evaluated.by)}`;
}

/** Returns why the list is not that of now. Null: it is. */
function doubtOf({ state, evaluator, nowMs }: Evaluated, refuses: boolean): string | null {
  const last = lastOf(state, nowMs);
  if (refuses)
    return `Redis refuses writes, so no evaluation can be stored: this list may be old; ${last}. The receivers are told all the same`;
  if (evaluator === null)
    return `nobody evaluates the rules now: this list is old; ${last}. Start a dispatcher with MILLRACE_ALERTS other than "off", or: millrace admin --alerts`;
  return null;
}

const ORDER = ['critical', 'warning', 'info'];

function bySeverity(a: AlertRecord, b: AlertRecord): number {
  return ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) || (a.name < b.name ? -1 : 1);
}

function labelsText({ labels }: Pick<AlertRecord, 'labels'>): string {
  return Object.entries(labels)
    .filter(([name]) => !['alertname', 'severity', 'deployment'].includes(name))
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

function alertTable(
  alerts: readonly AlertRecord[],
  silences: readonly Silence[],
  nowMs: number,
): string {
  return table(
    [
      { title: 'alert' },
      { title: 'severity' },
      { title: 'state' },
      { title: 'since', right: true },
      { title: 'value', right: true },
      { title: 'labels' },
    ],
    alerts.map((alert) => [
      alert.name,
      alert.severity,
      shownState(alert, silences),
      duration(Math.max(0, nowMs - alert.pendingMs)),
      shownNumber(alert.value),
      labelsText(alert),
    ]),
  );
}

/** Shows the worst event of each alert that fires. */
function tellWorst(alerts: readonly AlertRecord[], context: LongRunningContext): void {
  for (const { name, state, worst } of alerts)
    if (state === 'firing' && worst !== null)
      context.out(`\n${name}: worst event when it began to fire:\n  ${printable(worst, 2000)}`);
}

/** Tells of receivers that take no notifications. */
function tellReceivers(
  { receivers }: AlertsState,
  nowMs: number,
  context: LongRunningContext,
): void {
  for (const [name, { failures, sinceMs, error }] of receivers)
    context.err(
      `millrace: receiver ${printable(name)} has failed ${plural(failures, 'time')} in a row, for ${duration(Math.max(0, nowMs - sinceMs))}: ${printable(error, 400)}`,
    );
}

async function listRules(flags: ListFlags, context: LongRunningContext): Promise<void> {
  const { rules, off } = await readAlertSettings(context.environment().MILLRACE_ALERTS);
  if (flags.json) {
    for (const { expression, ...rule } of rules)
      context.out(safeJson({ ...rule, expression: expression.text }));
    return;
  }
  context.out(
    table(
      [
        { title: 'rule' },
        { title: 'severity' },
        { title: 'for', right: true },
        { title: 'expression' },
      ],
      rules.map(({ name, severity, forMs, expression }) => [
        name,
        severity,
        forMs === 0 ? '-' : duration(forMs),
        expression.text,
      ]),
      120,
    ),
  );
  if (off.length > 0) context.err(`millrace: switched off: ${off.join(', ')}`);
}
