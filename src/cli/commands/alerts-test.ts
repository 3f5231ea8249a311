/** `millrace alerts test`: the rules against the deployment as it is, and a test of receivers. */
import type { Command } from 'commander';
import type { AlertRecord } from '../../alerts/alert-record.ts';
import { readAlerts } from '../../alerts/alert-store.ts';
import { evaluateRules } from '../../alerts/evaluate-rules.ts';
import { measure } from '../../alerts/measured.ts';
import {
  headlineOf,
  notificationsFor,
  shownNumber,
  type Sender,
} from '../../alerts/notification.ts';
import { NotificationError, postNotification } from '../../alerts/post-notification.ts';
import { readingsOf } from '../../alerts/readings.ts';
import type { Receiver } from '../../alerts/receiver.ts';
import {
  readAlertSettings,
  receiversWithSecrets,
  type AlertSettings,
} from '../../alerts/rules-file.ts';
import { secretFromEnvironment } from '../../config.ts';
import { packageVersion } from '../../core/package-info.ts';
import { didYouMean } from '../../core/suggest.ts';
import type { Deployment } from '../../deployment.ts';
import { readLag } from '../../lag/lag.ts';
import type { LongRunningContext } from '../context.ts';
import { UsageError } from '../exit-status.ts';
import { plural } from '../options.ts';
import { printable } from '../printable.ts';
import { readSettings } from '../../redis/settings.ts';
import { serverTime } from '../../redis/server-time.ts';

interface TestFlags {
  readonly dryRun?: boolean;
}

export function registerAlertsTest(alerts: Command, context: LongRunningContext): void {
  alerts
    .command('test')
    .description('check the rules against the deployment, and send a test to the receivers')
    .argument('[receiver...]', 'receivers to test (default: all)')
    .option('-n, --dry-run', 'send nothing')
    .addHelpText(
      'after',
      `
The command reads the file in MILLRACE_ALERTS, and tells every problem with its place. It evaluates
each rule once. Changes within a time (increase, delta) count from the looks of the process that
evaluates the rules. Without such looks they are 0.
Each receiver is sent an alert "millrace-test" that fires, and then its end.
Exit status 1 if the file cannot be used, or a receiver does not take the test.

Examples:
  millrace alerts test
  millrace alerts test on-call`,
    )
    .action((names: readonly string[], flags: TestFlags) => test(names, flags, context));
}

async function test(
  names: readonly string[],
  flags: TestFlags,
  context: LongRunningContext,
): Promise<void> {
  const settings = await readAlertSettings(
    context.environment().MILLRACE_ALERTS,
    secretFromEnvironment,
  );
  const receivers = chosen(receiversWithSecrets(settings, secretFromEnvironment), names);
  const deployment = await context.open({ protoDir: null });
  await tellRules(deployment, settings, context);
  if (flags.dryRun) return;
  if (receivers.length === 0)
    context.err('millrace: there are no receivers: alerts go to the log of a dispatcher only');
  const nowMs = await serverTime(deployment);
  const sender = { namespace: deployment.keys.namespace, version: packageVersion(), nowMs };
  const results = await Promise.all(receivers.map((receiver) => tryReceiver(receiver, sender)));
  results.forEach((failure, i) => {
    const { name, type } = receivers[i] as Receiver;
    if (failure === null) context.out(`${name} (${type}): took the test`);
    else {
      context.err(`millrace: ${printable(failure, 500)}`);
      context.fail();
    }
  });
}

/** @throws UsageError for a name that no receiver has */
function chosen(receivers: readonly Receiver[], names: readonly string[]): readonly Receiver[] {
  const known = receivers.map(({ name }) => name);
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(
        `there is no receiver "${name}"${didYouMean(name, known)}; there are: ${known.join(', ') || 'none'}`,
      );
  return names.length === 0 ? receivers : receivers.filter(({ name }) => names.includes(name));
}

/** Evaluates the rules once, and shows the series for which they hold. */
async function tellRules(
  deployment: Deployment,
  { rules, labels }: AlertSettings,
  context: LongRunningContext,
): Promise<void> {
  const nowMs = await serverTime(deployment);
  const [measured, stored, created] = await Promise.all([
    measure({ source: deployment, lag: () => readLag(deployment) }),
    readAlerts(deployment),
    readSettings(deployment.connection, deployment.keys),
  ]);
  const { readings } = readingsOf({
    measured,
    partitions: deployment.partitions,
    nowMs,
    history: stored.history,
    lanes: stored.lanes,
    writesRefused: false,
  });
  const { state } = evaluateRules({
    rules,
    readings,
    state: { alerts: new Map(), history: stored.history },
    nowMs,
    createdMs: Number(created?.created ?? 0),
    deployment: deployment.keys.namespace,
    labels,
  });
  const holding = [...state.alerts.values()];
  context.out(
    `${plural(rules.length, 'rule')} checked, ${plural(holding.length, 'series').replace('seriess', 'series')} beyond a threshold now`,
  );
  for (const alert of holding)
    context.out(
      `  ${printable(headlineOf(alert), 300)} ${alert.expression}: ${shownNumber(alert.value)}`,
    );
  if (readings.unread.size > 0)
    context.err(`millrace: could not be read: ${[...readings.unread].join(', ')}`);
}

/** Sends the test and its end. Returns the failure; null: the receiver took both. */
async function tryReceiver(receiver: Receiver, sender: Sender): Promise<string | null> {
  const fires = testAlert(receiver, sender);
  const ends: AlertRecord = { ...fires, state: 'resolved', resolvedMs: sender.nowMs };
  try {
    for (const alert of [fires, ends])
      for (const notification of notificationsFor(receiver, [alert], sender))
        await postNotification(receiver, notification, new AbortController().signal);
    return null;
  } catch (error) {
    if (error instanceof NotificationError) return error.message;
    throw error;
  }
}

function testAlert({ name, severities }: Receiver, { namespace, nowMs }: Sender): AlertRecord {
  const severity = severities[0] ?? 'info';
  return {
    fingerprint: `test-${namespace}-${name}`,
    name: 'millrace-test',
    severity,
    labels: { alertname: 'millrace-test', severity, deployment: namespace },
    summary: 'This is a test of the receiver. Nothing is wrong.',
    runbook: '',
    expression: 'millrace alerts test',
    figure: 'conserved',
    state: 'firing',
    pendingMs: nowMs,
    firedMs: nowMs,
    resolvedMs: null,
    value: 1,
    told: {},
    worst: null,
  };
}
