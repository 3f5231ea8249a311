/**
 * The language of alert rules: comparisons of a figure with a number, joined by `and`.
 *
 *     lag_events{function="mail"} > 1000 and delta(lag_events[10m]) > 0
 *
 *     rule       = comparison { "and" comparison }
 *     comparison = operand ( ">" | ">=" | "<" | "<=" | "==" | "!=" ) number
 *     operand    = figure [ selector ]
 *                | ( "increase" | "delta" ) "(" figure [ selector ] "[" duration "]" ")"
 *     selector   = "{" label ( "=" | "!=" ) string { "," label ( "=" | "!=" ) string } "}"
 *     number     = decimal [ "%" | "ms" | "s" | "m" | "h" | "d" ]
 *
 * It is a small part of PromQL, so that rules look familiar. A library for PromQL would parse much
 * that Millrace cannot answer. Times are in seconds, as the figures are.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { didYouMean } from '../core/suggest.ts';
import { FIGURES, isFigure, type FigureName, type Labels, type FigureSample } from './figures.ts';

const SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };
const MOST_LETTERS = 1000;
const MOST_COMPARISONS = 8;
/** Bounds of the window of `increase` and `delta`, s. */
const WINDOW = { least: 10, most: 86_400 } as const;
const METRIC_PREFIX = 'millrace_';

interface Matcher {
  readonly label: string;
  readonly equal: boolean;
  readonly value: string;
}

/** A figure, or its change within a window. */
export interface Operand {
  readonly figure: FigureName;
  readonly matchers: readonly Matcher[];
  /** `increase`: the sum of all rises. `delta`: the difference between end and start. */
  readonly change: { readonly kind: 'increase' | 'delta'; readonly windowMs: number } | null;
}

const COMPARE = {
  '>': (a: number, b: number) => a > b,
  '>=': (a: number, b: number) => a >= b,
  '<': (a: number, b: number) => a < b,
  '<=': (a: number, b: number) => a <= b,
  '==': (a: number, b: number) => a === b,
  '!=': (a: number, b: number) => a !== b,
} as const;
type Operator = keyof typeof COMPARE;

interface Comparison {
  readonly operand: Operand;
  readonly operator: Operator;
  readonly threshold: number;
}

export interface Expression {
  readonly text: string;
  readonly comparisons: readonly [Comparison, ...Comparison[]];
}

/** An expression that cannot be read. `column` counts from 1. */
export class ExpressionError extends MillraceError {
  readonly code = 'ALERT_EXPRESSION';
  readonly column: number;
  readonly problem: string;
  constructor(text: string, column: number, problem: string) {
    super(`column ${column}: ${problem}, in ${JSON.stringify(text.slice(0, 200))}`);
    this.column = column;
    this.problem = problem;
  }
}

/** @throws ExpressionError */
export function parseExpression(text: string): Expression {
  return new Parser(text).parse();
}

/** Values of an operand. Values of a change come from the history of its figure. */
export type ValuesOf = (operand: Operand) => readonly FigureSample[];

/**
 * Finds the series for which all comparisons hold. Comparisons belong together where their common
 * labels agree. Labels and value are those of the first comparison.
 */
export function matchesOf({ comparisons }: Expression, valuesOf: ValuesOf): FigureSample[] {
  const [first, ...others] = comparisons.map(({ operand, operator, threshold }) =>
    valuesOf(operand).filter(
      ({ labels, value }) => selects(operand, labels) && COMPARE[operator](value, threshold),
    ),
  ) as [FigureSample[], ...FigureSample[][]];
  return first.filter(({ labels }) =>
    others.every((samples) => samples.some((other) => agree(labels, other.labels))),
  );
}

function selects({ matchers }: Operand, labels: Labels): boolean {
  return matchers.every(({ label, equal, value }) => (labels[label] === value) === equal);
}

function agree(a: Labels, b: Labels): boolean {
  return Object.entries(a).every(([name, value]) => b[name] === undefined || b[name] === value);
}

type TokenKind = 'name' | 'number' | 'string' | 'sign' | 'end';

interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /\s*(?:([a-zA-Z_][\w]*)|(-?\d+(?:\.\d+)?(?:ms|[smhd%])?(?![\w.]))|("(?:[^"\\]|\\.)*")|(>=|<=|==|!=|[><={}()[\],]))/y;

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const from = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) {
      const rest = text.slice(from);
      const at = from + (rest.length - rest.trimStart().length);
      if (at < text.length)
        throw new ExpressionError(
          text,
          at + 1,
          `cannot read ${JSON.stringify(text.slice(at, at + 20))}`,
        );
      tokens.push({ kind: 'end', text: 'the end', at });
      return tokens;
    }
    const [, name, number, string, sign] = found;
    const kind = name ? 'name' : number ? 'number' : string ? 'string' : 'sign';
    const token = (name ?? number ?? string ?? sign) as string;
    tokens.push({ kind, text: token, at: TOKEN.lastIndex - token.length });
  }
}

/** A parser by recursive descent over the tokens of one expression. */
class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    if (text.length > MOST_LETTERS)
      throw new ExpressionError(text, 1, `it is longer than ${MOST_LETTERS} letters`);
    this.#tokens = tokensOf(text);
  }

  parse(): Expression {
    const first = this.#comparison();
    const others: Comparison[] = [];
    while (this.#next.text === 'and' && others.length + 1 < MOST_COMPARISONS) {
      this.#at++;
      others.push(this.#comparison());
    }
    if (this.#next.kind !== 'end') this.#fail('expected "and" or the end');
    return { text: this.#text.trim(), comparisons: [first, ...others] };
  }

  get #next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  /** @throws ExpressionError naming the place and the token there */
  #fail(problem: string, { at, kind, text } = this.#next): never {
    const found = kind === 'end' ? text : JSON.stringify(text);
    throw new ExpressionError(this.#text, at + 1, `${problem}, found ${found}`);
  }

  #take(kind: TokenKind, what: string): Token {
    const token = this.#next;
    if (token.kind !== kind) this.#fail(`expected ${what}`);
    this.#at++;
    return token;
  }

  #sign(sign: string): void {
    if (this.#next.text !== sign) this.#fail(`expected "${sign}"`);
    this.#at++;
  }

  #comparison(): Comparison {
    const operand = this.#operand();
    const { text } = this.#next;
    if (!Object.hasOwn(COMPARE, text))
      this.#fail(`expected one of ${Object.keys(COMPARE).join(' ')}`);
    this.#at++;
    return { operand, operator: text as Operator, threshold: this.#number() };
  }

  #operand(): Operand {
    const { text } = this.#next;
    if (text !== 'increase' && text !== 'delta') return { ...this.#figure(), change: null };
    this.#at++;
    this.#sign('(');
    const figure = this.#figure();
    this.#sign('[');
    const windowMs = this.#window() * 1000;
    this.#sign(']');
    this.#sign(')');
    return { ...figure, change: { kind: text, windowMs } };
  }

  #window(): number {
    const token = this.#next;
    const seconds = this.#number();
    if (token.text.endsWith('%') || seconds < WINDOW.least || seconds > WINDOW.most)
      this.#fail(`expected a time from ${WINDOW.least} s to ${WINDOW.most} s`, token);
    return seconds;
  }

  #figure(): Pick<Operand, 'figure' | 'matchers'> {
    const token = this.#take('name', 'a figure');
    // Names of metrics are names of figures, too.
    const name = token.text.startsWith(METRIC_PREFIX)
      ? token.text.slice(METRIC_PREFIX.length)
      : token.text;
    if (!isFigure(name)) {
      const known = Object.keys(FIGURES);
      this.#fail(
        `there is no such figure${didYouMean(name, known)}; there are ${known.join(', ')}`,
        token,
      );
    }
    return { figure: name, matchers: this.#next.text === '{' ? this.#selector(name) : [] };
  }

  #selector(figure: FigureName): Matcher[] {
    const matchers: Matcher[] = [];
    this.#sign('{');
    for (;;) {
      matchers.push(this.#matcher(figure));
      if (this.#next.text !== ',') break;
      this.#at++;
    }
    this.#sign('}');
    return matchers;
  }

  #matcher(figure: FigureName): Matcher {
    const token = this.#take('name', 'a label');
    const labels: readonly string[] = FIGURES[figure].labels;
    if (!labels.includes(token.text))
      this.#fail(
        `${figure} has ${labels.length === 0 ? 'no labels' : `the labels ${labels.join(', ')}`}`,
        token,
      );
    const { text } = this.#next;
    if (text !== '=' && text !== '!=') this.#fail('expected "=" or "!="');
    this.#at++;
    const value = this.#take('string', 'a text in double quotes').text;
    return { label: token.text, equal: text === '=', value: this.#unquoted(value) };
  }

  #unquoted(quoted: string): string {
    return quoted.slice(1, -1).replace(/\\(.)/g, '$1');
  }

  #number(): number {
    const { text } = this.#take('number', 'a number');
    const [, digits, unit] = /^([-\d.]+)(.*)$/.exec(text) as RegExpExecArray;
    const value = Number(digits);
    if (unit === '%') return value / 100;
    return unit === '' || unit === undefined ? value : value * (SECONDS[unit] as number);
  }
}
