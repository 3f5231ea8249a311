/**
 * Checks and formats of option values, shared by the commands. A failed check is a usage error
 * (exit status 2).
 */
import { InvalidArgumentError } from 'commander';
import { grouped } from '../core/option-rule.ts';

/** Returns a parser of whole numbers for commander. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

const SPANS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Returns a parser of times for commander: `90s`, `30m`, `12h`, `7d` -> ms.
 * @param fitting the times that fit, after "It must be a time of"
 */
export function timeSpan(minMs: number, fitting: string): (text: string) => number {
  return (text) => {
    const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? [];
    const ms = Number(amount) * (SPANS[unit ?? ''] ?? Number.NaN);
    if (!Number.isSafeInteger(ms) || ms < minMs)
      throw new InvalidArgumentError(`It must be a time of ${fitting}.`);
    return ms;
  };
}

export function formatCount(value: number): string {
  return grouped(Math.round(value));
}

export function plural(count: number, one: string): string {
  return `${formatCount(count)} ${one}${count === 1 ? '' : 's'}`;
}
