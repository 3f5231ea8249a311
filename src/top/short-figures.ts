/** Numbers in few characters, for the columns of `millrace top`. */
import { grouped } from '../core/option-rule.ts';

/** Returns a count in at most 7 characters: `12,345`, `1.2M`. */
export function shortCount(count: number): string {
  const rounded = Math.round(count);
  if (Math.abs(rounded) < 100_000) return grouped(rounded);
  const units = ['k', 'M', 'G', 'T', 'P'];
  let value = rounded / 1000;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Math.abs(value) < 10 ? value.toFixed(1) : Math.round(value)}${units[unit] ?? ''}`;
}

/** Returns a rate: `0.4`, `12`, `1,204`. Null: there is no rate yet. */
export function shortRate(rate: number | null): string {
  if (rate === null) return '-';
  return rate > 0 && rate < 10 ? rate.toFixed(1) : shortCount(rate);
}

/** Returns a time in at most 6 characters: `350ms`, `12.3s`, `5m`, `3h`, `12d`. */
export function shortTime(ms: number | null): string {
  if (ms === null) return '-';
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 100_000) return `${(ms / 1000).toFixed(1)}s`;
  if (ms < 5_400_000) return `${Math.round(ms / 60_000)}m`;
  if (ms < 129_600_000) return `${Math.round(ms / 3_600_000)}h`;
  return `${Math.round(ms / 86_400_000)}d`;
}

export function shortBytes(count: number): string {
  return `${shortCount(Math.round(count / 1_048_576))} MiB`;
}
