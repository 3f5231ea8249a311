/** An alert: one rule and one series for which the rule holds, or held. */
import { createHash } from 'node:crypto';
import type { AlertSeverity } from './alert-rule.ts';
import { isFigure, labelsKey, type FigureName, type Labels } from './figures.ts';

export interface AlertRecord {
  /** Identity of the alert everywhere: in Redis, in the log, and at each receiver. */
  readonly fingerprint: string;
  readonly name: string;
  readonly severity: AlertSeverity;
  /** All labels, with `alertname` and `severity`. */
  readonly labels: Labels;
  readonly summary: string;
  readonly runbook: string;
  readonly expression: string;
  /** The expression's first figure. */
  readonly figure: FigureName;
  /**
   * - `pending`: the expression holds, but not yet for as long as the rule asks.
   * - `firing`: it has held for that time, and still does.
   * - `resolved`: it holds no more, and some receiver is still to be told.
   */
  readonly state: 'pending' | 'firing' | 'resolved';
  /** Times by the server's clock, ms since 1970. Null: not yet. */
  readonly pendingMs: number;
  readonly firedMs: number | null;
  readonly resolvedMs: number | null;
  /** Last value of `figure`. */
  readonly value: number;
  /** Notifications that have arrived, by the name of the receiver. */
  readonly told: Readonly<Record<string, Told>>;
  /** State of the worst event, as `millrace explain` tells it. Null: there is none. */
  readonly worst: string | null;
}

export interface Told {
  readonly status: 'firing' | 'resolved';
  readonly atMs: number;
}

/**
 * Returns the fingerprint of the labels. Labels of two deployments may be the same, so the
 * deployment is part of it.
 * @param deployment namespace, and time of its creation
 */
export function fingerprintOf(deployment: string, labels: Labels): string {
  return createHash('sha256')
    .update(`${deployment}\n${labelsKey(labels)}`)
    .digest('hex')
    .slice(0, 16);
}

/** Whether some receiver believes that the alert fires. */
export function isBelievedFiring({ told }: Pick<AlertRecord, 'told'>): boolean {
  return Object.values(told).some(({ status }) => status === 'firing');
}

/** Reads a stored alert. Null: it cannot be read, and is to be dropped. */
export function readAlertRecord(text: string): AlertRecord | null {
  try {
    const read = JSON.parse(text) as Partial<AlertRecord>;
    const texts = [read.fingerprint, read.name, read.severity, read.summary, read.runbook];
    const usable =
      [...texts, read.expression].every((one) => typeof one === 'string') &&
      isFigure(String(read.figure)) &&
      ['pending', 'firing', 'resolved'].includes(String(read.state)) &&
      [read.pendingMs, read.value].every((one) => typeof one === 'number') &&
      [read.labels, read.told].every((one) => typeof one === 'object' && one !== null);
    return usable ? (read as AlertRecord) : null;
  } catch {
    return null;
  }
}
