/**
 * Options of the API, each declared once: its default, its check, and its line in a table of docs/.
 * `npm run docs` prints the tables.
 */
import { isOptions, shownValue } from './shown.ts';

export interface OptionRule<T> {
  /** Default. */
  readonly value: T;
  /** The default as people read it. */
  readonly unset: string;
  /** Values that the option takes, as people read them; empty: any. */
  readonly range: string;
  /** Meaning, in Markdown. */
  readonly text: string;
  /** Returns what is wrong with a value; null: nothing. */
  readonly problem: (given: unknown) => string | null;
}

export type OptionRules = Readonly<Record<string, OptionRule<unknown>>>;
export type Defaults<R extends OptionRules> = { readonly [K in keyof R]: R[K]['value'] };

/** @param show writes the numbers as people read them */
export function wholeNumberRule(
  [min, max]: readonly [number, number],
  value: number,
  text: string,
  show: (value: number) => string = grouped,
): OptionRule<number> {
  return {
    value,
    unset: show(value),
    range: `${show(min)} … ${show(max)}`,
    text,
    problem: (given) =>
      Number.isInteger(given) && (given as number) >= min && (given as number) <= max
        ? null
        : `must be a whole number from ${min} to ${max}, got ${shownValue(given)}`,
  };
}

export function oneOfRule<const T extends string>(
  names: readonly [T, ...T[]],
  text: string,
): OptionRule<T> {
  return {
    value: names[0],
    unset: `\`${names[0]}\``,
    range: names.map((name) => `\`${name}\``).join(', '),
    text,
    problem: (given) =>
      names.includes(given as T)
        ? null
        : `must be ${names.map((name) => `"${name}"`).join(' or ')}, got ${shownValue(given)}`,
  };
}

/** Reads bytes as people do: 64 KiB, 1 GiB. */
export function binaryUnits(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  for (; bytes % 1024 === 0 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${grouped(bytes)} ${units[unit] as string}`;
}

export function defaultsOf<R extends OptionRules>(rules: R): Defaults<R> {
  return Object.fromEntries(
    Object.entries(rules).map(([name, { value }]) => [name, value]),
  ) as Defaults<R>;
}

/**
 * Checks options, and names those that do not exist.
 * @param of owner of the options, as the problems name it
 */
export function optionProblems(of: string, rules: OptionRules, options: unknown): string[] {
  if (!isOptions(options)) return [`${of} options must be an object, got ${shownValue(options)}`];
  const problems: string[] = [];
  for (const [name, rule] of Object.entries(rules)) {
    const problem = rule.problem(options[name]);
    if (problem !== null) problems.push(`${of} option ${name} ${problem}`);
  }
  for (const name of Object.keys(options))
    if (!Object.hasOwn(rules, name)) problems.push(`${of} option ${name} is unknown`);
  return problems;
}

/**
 * Groups the digits of a whole number by commas. `toLocaleString` loads its tables at the first
 * call, which takes 25 ms of each process.
 */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}
