/** The rules of alerts. */
import type { Expression } from './expression.ts';
import type { Labels } from './figures.ts';

export const ALERT_SEVERITIES = ['critical', 'warning', 'info'] as const;
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number];

export interface AlertRule {
  /** Identity of the rule, and label `alertname` of its alerts. */
  readonly name: string;
  readonly expression: Expression;
  /** Time for which the expression must hold before the alert fires, ms. */
  readonly forMs: number;
  readonly severity: AlertSeverity;
  readonly labels: Labels;
  /** Meaning of the alert, in one sentence. */
  readonly summary: string;
  /** Address of the steps to take. Empty: there is none. */
  readonly runbook: string;
}
