/**
 * Checks of a function's options. Each check notes its problem, so that all problems are reported
 * at once.
 */
import { shownValue } from '../core/shown.ts';
import { optionsBelow, type RawOptions } from './raw-options.ts';

export class OptionCheck {
  readonly raw: RawOptions;
  readonly label: string;
  readonly problems: string[];
  /** Prefix of the options' names: `retry.` */
  readonly #path: string;

  constructor(raw: RawOptions, label: string, problems: string[] = [], path = '') {
    this.raw = raw;
    this.label = label;
    this.problems = problems;
    this.#path = path;
  }

  /**
   * Returns a check of the options below `key`. No options: the key is missing, or holds another
   * value.
   */
  below(key: string, names: readonly string[]): OptionCheck {
    const raw = optionsBelow(this.raw, key, { label: this.label, names }, this.problems);
    return new OptionCheck(raw, this.label, this.problems, `${key}.`);
  }

  oneOf<T extends string>(key: string, allowed: readonly T[], fallback: T): T {
    const value = this.raw[key] ?? fallback;
    if (!allowed.includes(value as T))
      this.problems.push(
        `${this.label}: ${key} must be ${allowed.join(' or ')}, got ${shownValue(value)}`,
      );
    return value as T;
  }

  integer(key: string, fallback: number, [min, max]: readonly [number, number]): number {
    const value = this.raw[key] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      this.problems.push(
        `${this.label}: ${this.#path}${key} must be a whole number from ${min} to ${max}, got ${shownValue(value)}`,
      );
    }
    return value as number;
  }
}
