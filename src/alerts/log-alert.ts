import type { Log } from '../core/log.ts';
import type { AlertRecord } from './alert-record.ts';
import { headlineOf } from './notification.ts';

const LEVELS = { critical: 'error', warning: 'warn', info: 'info' } as const;

/** Logs an alert that fires or has ended. */
export function logAlert(log: Log, alert: AlertRecord): void {
  const { fingerprint, labels, value, worst, firedMs, resolvedMs } = alert;
  const isFiring = alert.state === 'firing';
  log(
    isFiring ? LEVELS[alert.severity] : 'info',
    `ALERT ${isFiring ? 'FIRING' : 'RESOLVED'}: ${headlineOf(alert)}`,
    {
      fingerprint,
      labels,
      value,
      expression: alert.expression,
      ...(alert.runbook === '' ? {} : { runbook: alert.runbook }),
      ...(isFiring && worst !== null ? { worst } : {}),
      ...(!isFiring && firedMs !== null && resolvedMs !== null
        ? { firedForMs: resolvedMs - firedMs }
        : {}),
    },
  );
}
