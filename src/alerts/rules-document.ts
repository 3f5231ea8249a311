/**
 * A YAML document whose faults bear their places. The only user of the library `yaml`, which parses
 * YAML 1.2 and keeps the place of each node.
 */
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { didYouMean } from '../core/suggest.ts';
import { isOptions, shownValue } from '../core/shown.ts';

/** Way to a value: keys of mappings, and places in lists. */
export type DocumentPath = readonly (string | number)[];

/** Returns what is wrong with a value; null: nothing. */
export type ValueCheck = (value: unknown) => string | null;

const MOST_LETTERS = 256 * 1024;

export class RulesDocument {
  readonly #file: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;
  readonly #problems: string[] = [];
  /** The whole document as a value. Undefined: it is empty, or no YAML. */
  readonly value: unknown;

  /** @param file name of the file in problems */
  constructor(file: string, text: string) {
    this.#file = file;
    const whole = text.length <= MOST_LETTERS ? text : '';
    if (whole !== text) this.#problems.push(`${file}: it has more than ${MOST_LETTERS} characters`);
    this.#document = parseDocument(whole, { lineCounter: this.#lines, prettyErrors: false });
    for (const { message, pos } of [...this.#document.errors, ...this.#document.warnings])
      this.#problems.push(`${this.#place(pos[0])}: ${message}`);
    this.value = this.#problems.length > 0 ? undefined : this.#asValue();
  }

  /** All problems found so far, each with file, line and column. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  problem(path: DocumentPath, text: string): void {
    this.#problems.push(`${this.#place(this.#offsetOf(path))}: ${text}`);
  }

  /**
   * Checks a mapping: its fields, and that there are no others.
   * @param of the mapping, as problems name it
   * @returns its fields; null: it is no mapping
   */
  fields(
    path: DocumentPath,
    of: string,
    checks: Readonly<Record<string, ValueCheck>>,
    required: readonly string[] = [],
  ): Readonly<Record<string, unknown>> | null {
    const value = this.#at(path);
    if (!isOptions(value)) {
      this.problem(path, `${of} must be a mapping of names to values, got ${shownValue(value)}`);
      return null;
    }
    for (const [name, given] of Object.entries(value)) {
      if (!Object.hasOwn(checks, name)) {
        const known = Object.keys(checks);
        const text = `${of} has no field "${name}"${didYouMean(name, known)}; there are ${known.join(', ')}`;
        this.problem([...path, name], text);
        continue;
      }
      const fault = (checks[name] as ValueCheck)(given);
      if (fault !== null) this.problem([...path, name], `${of}: ${name} ${fault}`);
    }
    for (const name of required)
      if (!Object.hasOwn(value, name)) this.problem(path, `${of} needs the field "${name}"`);
    return value;
  }

  /** Returns the paths of a list's items. No list: a problem, and no items. */
  items(path: DocumentPath): DocumentPath[] {
    const value = this.#at(path);
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value.map((_, at) => [...path, at]);
    this.problem(path, `${path.join('.')} must be a list, got ${shownValue(value)}`);
    return [];
  }

  #asValue(): unknown {
    try {
      // Bounds what aliases may unfold to.
      return this.#document.toJS({ maxAliasCount: 100 }) as unknown;
    } catch (error) {
      this.#problems.push(`${this.#file}: ${(error as Error).message}`);
      return undefined;
    }
  }

  #at(path: DocumentPath): unknown {
    let value: unknown = this.value;
    for (const step of path)
      value = (value as Record<string | number, unknown> | undefined)?.[step];
    return value;
  }

  /** Offset of a value's key, or of the value itself; of its parent where it is missing. */
  #offsetOf(path: DocumentPath): number {
    if (path.length === 0) return 0;
    const parent: unknown = this.#document.getIn(path.slice(0, -1), true);
    const last = path.at(-1);
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last);
      if (pair && isScalar(pair.key)) return pair.key.range?.[0] ?? 0;
    }
    const node = this.#document.getIn(path, true) as
      { readonly range?: [number, number, number] } | undefined;
    return node?.range?.[0] ?? this.#offsetOf(path.slice(0, -1));
  }

  #place(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
}
