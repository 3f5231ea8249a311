/** Starts the evaluation of alerts in a process that has a deployment. */
import { Alerts } from '../alerts/alerts.ts';
import { readAlertSettings, receiversWithSecrets } from '../alerts/rules-file.ts';
import { secretFromEnvironment } from '../config.ts';
import { packageVersion } from '../core/package-info.ts';
import { processName } from '../core/process-name.ts';
import type { Deployment } from '../deployment.ts';
import type { LagReport } from '../lag/lag.ts';
import { readSettings } from '../redis/settings.ts';

/** Value of MILLRACE_ALERTS that evaluates no alerts. */
const OFF = 'off';

/**
 * Starts the alerts. One process of the deployment evaluates them, however many start them.
 * @returns null: MILLRACE_ALERTS is `off`
 * @throws AlertRulesError naming every problem of the file; RedisReplyError, UnknownOutcomeError
 */
export async function startAlerts(
  deployment: Deployment,
  lag: () => Promise<LagReport>,
): Promise<Alerts | null> {
  const { environment, connection, keys, partitions, log } = deployment;
  if (environment.MILLRACE_ALERTS === OFF) return null;
  const settings = await readAlertSettings(environment.MILLRACE_ALERTS, secretFromEnvironment);
  const receivers = receiversWithSecrets(settings, secretFromEnvironment);
  const alerts = new Alerts({
    source: { connection, keys, partitions },
    settings,
    receivers,
    owner: processName(),
    created: async () => (await readSettings(connection, keys))?.created ?? '',
    version: packageVersion(),
    log,
    lag,
  });
  alerts.start();
  return alerts;
}
