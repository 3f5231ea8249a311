/** An alert as JSON: for `millrace alerts list --json` and `/api/alerts`. */
import type { AlertRecord } from './alert-record.ts';
import type { AlertsState } from './alert-store.ts';
import { isSilenced, type Silence } from './silences.ts';

/** `silenced`: it fires, and the receivers are not told. */
export function shownState(
  alert: AlertRecord,
  silences: readonly Silence[],
): AlertRecord['state'] | 'silenced' {
  return alert.state === 'firing' && isSilenced(alert, silences) ? 'silenced' : alert.state;
}

export function shownAlert(
  alert: AlertRecord,
  silences: readonly Silence[],
): Record<string, unknown> {
  const { pendingMs, firedMs, resolvedMs, told, state: _state, ...rest } = alert;
  const receivers = Object.entries(told).map(([name, { status, atMs }]) => [
    name,
    { status, at: isoOrNull(atMs) },
  ]);
  return {
    ...rest,
    state: shownState(alert, silences),
    since: isoOrNull(pendingMs),
    firedAt: isoOrNull(firedMs),
    resolvedAt: isoOrNull(resolvedMs),
    told: Object.fromEntries(receivers) as Record<string, unknown>,
  };
}

/**
 * The last evaluation, as JSON.
 * @param evaluator process that has the lease; null: none
 */
export function shownEvaluation(
  { evaluated }: Pick<AlertsState, 'evaluated'>,
  evaluator: string | null,
): Record<string, unknown> {
  return {
    evaluatedAt: isoOrNull(evaluated?.atMs ?? null),
    evaluatedBy: evaluated?.by ?? null,
    evaluator,
  };
}

/** Null: there is no time, or the stored number is none. */
function isoOrNull(ms: number | null): string | null {
  return ms !== null && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : null;
}
