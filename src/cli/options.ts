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

export function formatCount(value: number): string {
  return grouped(Math.round(value));
}

export function plural(count: number, one: string): string {
  return `${formatCount(count)} ${one}${count === 1 ? '' : 's'}`;
}
