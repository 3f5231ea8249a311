/**
 * Decides which alerts a receiver is to be told of. Pure: it compares the state of each alert with
 * the state that the receiver knows. So a restart neither repeats nor forgets, and a receiver that
 * was down learns the present state only.
 */
import { nextDelayMs, type RetryPolicy } from '../core/retry-policy.ts';
import type { AlertRecord } from './alert-record.ts';
import type { ReceiverState } from './alert-store.ts';
import type { Receiver } from './receiver.ts';
import { isSilenced, type Silence } from './silences.ts';

export interface DueOptions {
  readonly alerts: Iterable<AlertRecord>;
  readonly silences: readonly Silence[];
  readonly nowMs: number;
  /** Time after which a firing alert is told again, ms. */
  readonly repeatMs: number;
}

export function dueAlerts(
  { name, severities }: Pick<Receiver, 'name' | 'severities'>,
  { alerts, silences, nowMs, repeatMs }: DueOptions,
): AlertRecord[] {
  const due: AlertRecord[] = [];
  for (const alert of alerts) {
    const told = Object.hasOwn(alert.told, name) ? alert.told[name] : undefined;
    const knowsFiring = told?.status === 'firing';
    if (alert.state !== 'firing') {
      // The end is told although the alert is silenced: the receiver believes that it fires.
      if (knowsFiring) due.push(alert);
      continue;
    }
    if (!severities.includes(alert.severity) || isSilenced(alert, silences)) continue;
    if (!knowsFiring || nowMs - told.atMs >= repeatMs) due.push(alert);
  }
  return due;
}

/** Notes that the receiver knows the alert's state. */
export function asTold(
  alert: AlertRecord,
  receiver: string,
  told: AlertRecord,
  atMs: number,
): AlertRecord {
  const status = told.state === 'firing' ? 'firing' : 'resolved';
  return { ...alert, told: { ...alert.told, [receiver]: { status, atMs } } };
}

/** Back-off of a receiver: without an end, because a forgotten alert is worse than a late one. */
export const RECEIVER_RETRY: RetryPolicy = {
  attempts: Infinity,
  minDelayMs: 5_000,
  maxDelayMs: 600_000,
  factor: 2,
  jitter: true,
};

/**
 * Returns the state of a receiver after another failure.
 * @param leastMs time that the receiver asks to be left alone, ms
 */
export function backedOff(
  before: ReceiverState | undefined,
  error: string,
  nowMs: number,
  options: { readonly retry: RetryPolicy; readonly leastMs: number },
): ReceiverState {
  const failures = (before?.failures ?? 0) + 1;
  const delayMs = nextDelayMs(options.retry, Math.min(failures, 100)) ?? options.retry.maxDelayMs;
  return {
    failures,
    sinceMs: before?.sinceMs ?? nowMs,
    nextMs: nowMs + Math.max(delayMs, options.leastMs),
    error,
  };
}
