/**
 * Expressions over events, in CEL (https://cel.dev). The names that an expression may use are in
 * EXPRESSION_NAMES. An expression is checked before anything is read: its syntax, its names, the
 * types of attributes, and that it gives true or false.
 */
import { Environment, type ParseResult } from '@marcbachmann/cel-js';
import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';
import { formatPosition, entryIdTime } from '../core/position.ts';
import { didYouMean } from '../core/suggest.ts';
import { cut } from '../core/well-formed.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { TypedForms } from '../wire/exact-type.ts';
import { FindExpressionError, type PlaceInText } from './find-errors.ts';

/** An event as an expression sees it. */
export interface JudgedEvent {
  readonly header: Pick<
    EventHeader,
    'id' | 'subject' | 'source' | 'timeMs' | 'position' | 'extensions'
  >;
  readonly type: string;
  readonly partition: number;
  readonly entryId: string;
  /** Typed data (src/wire/exact-type.ts). Null where the expression does not use it. */
  readonly data: ReadonlyMap<string, unknown> | null;
}

interface ExpressionName {
  /** Its type, in CEL. */
  readonly type: string;
  readonly text: string;
  /** Undefined: the event has no such value, and an expression that uses it cannot judge. */
  readonly of: (event: JudgedEvent) => unknown;
}

const TIMESTAMP = 'google.protobuf.Timestamp';

/** The names of an expression, for documents and help, too. */
export const EXPRESSION_NAMES: Readonly<Record<string, ExpressionName>> = {
  id: { type: 'string', text: 'id of the event', of: ({ header }) => header.id },
  type: { type: 'string', text: 'event type', of: ({ type }) => type },
  subject: { type: 'string', text: 'subject', of: ({ header }) => header.subject },
  source: {
    type: 'string',
    text: 'source; of an emitted event the function',
    of: ({ header }) => header.source,
  },
  time: {
    type: TIMESTAMP,
    text: 'time that the publisher gave, to the millisecond',
    of: ({ header: { timeMs } }) => (timeMs > 0 ? new Date(timeMs) : undefined),
  },
  appended: {
    type: TIMESTAMP,
    text: 'time of its entry, by the clock of the server',
    of: ({ entryId }) => new Date(entryIdTime(entryId)),
  },
  partition: { type: 'int', text: 'partition', of: ({ partition }) => BigInt(partition) },
  position: {
    type: 'string',
    text: 'position, such as `3/1795450694309-0/17`',
    of: ({ partition, entryId, header: { position } }) =>
      formatPosition({ partition, entryId, position }),
  },
  extensions: {
    type: 'map<string, string>',
    text: 'extension attributes, such as `extensions.correlationid`',
    of: ({ header }) => new Map(Object.entries(header.extensions ?? {})),
  },
  data: {
    type: 'map<string, dyn>',
    text: 'payload, decoded with the schema of its writer',
    of: ({ data }) => data ?? undefined,
  },
};

/** Classes of CEL for values that JavaScript has no type for. */
export const CEL_FORMS: TypedForms = {
  duration: (seconds, nanos) => new Duration(seconds, nanos),
  unsigned: (value) => new UnsignedInt(value),
};

/** Longest expression, in UTF-16 units, and its limits as a tree. */
const MOST_LETTERS = 4096;
const LIMITS = {
  maxAstNodes: 2000,
  maxDepth: 64,
  maxListElements: 1000,
  maxMapEntries: 100,
  maxCallArguments: 16,
} as const;

/**
 * CEL has a constant `type`, so the attribute is registered under a name of the same length. Places
 * in the text stay as they are.
 */
const TYPE_ALIAS = '_typ';

let environment: Environment | null = null;

/** A new environment costs more than an expression. */
function sharedEnvironment(): Environment {
  if (environment !== null) return environment;
  const made = new Environment({ limits: LIMITS, homogeneousAggregateLiterals: false });
  for (const [name, { type }] of Object.entries(EXPRESSION_NAMES))
    made.registerVariable(name === 'type' ? TYPE_ALIAS : name, type);
  return (environment = made);
}

export class EventExpression {
  readonly text: string;
  /** Whether the expression uses the payload. Other expressions need no decoding. */
  readonly usesData: boolean;
  /**
   * Whether its time is bounded by the size of the event. Macros may nest, patterns may backtrack,
   * and sums of lists copy lists.
   */
  readonly isQuick: boolean;
  readonly #judge: ParseResult;
  /** Names that the expression uses, each with its name in the environment. */
  readonly #names: readonly (readonly [alias: string, name: ExpressionName])[];

  /** @throws FindExpressionError */
  constructor(text: string) {
    this.text = text;
    this.#judge = compile(text);
    const code = withoutComments(text);
    const words = wordsOf(code);
    this.usesData = words.has('data');
    this.isQuick = ![...words].some((word) => SLOW_CALL.test(word)) && !sumsUp(code);
    this.#names = Object.entries(EXPRESSION_NAMES)
      .filter(([name]) => words.has(name))
      .map(([name, of]) => [name === 'type' ? TYPE_ALIAS : name, of] as const);
  }

  /** Judges an event. A text says why the event cannot be judged, such as a missing field. */
  judge(event: JudgedEvent): boolean | string {
    const context: Record<string, unknown> = {};
    for (const [alias, { of }] of this.#names) {
      const value = of(event);
      if (value !== undefined) context[alias] = value;
    }
    let verdict: unknown;
    try {
      verdict = this.#judge(context);
    } catch (error) {
      // Attributes that the event lacks are left out of the context.
      return summaryOf(error).replace(/^Unknown variable: /, 'the event has no ');
    }
    return typeof verdict === 'boolean' ? verdict : 'the expression gives neither true nor false';
  }
}

/** @throws FindExpressionError */
function compile(text: string): ParseResult {
  if (text.trim() === '')
    throw new FindExpressionError(text, 'it is empty', null, 'Write a condition on events');
  if (text.length > MOST_LETTERS) {
    throw new FindExpressionError(
      text,
      `it has ${text.length} characters, the limit is ${MOST_LETTERS}`,
      null,
      'Write a shorter one',
    );
  }
  const code = withoutComments(text);
  refuseBind(text, code);
  let parsed: ParseResult;
  try {
    parsed = sharedEnvironment().parse(withAlias(code));
  } catch (error) {
    throw refused(text, error);
  }
  const { valid, type = 'dyn', error } = parsed.check();
  if (!valid) throw refused(text, error);
  if (type !== 'bool' && !type.startsWith('dyn')) {
    throw new FindExpressionError(
      text,
      `it gives ${type}, not true or false`,
      null,
      'Compare the value with another one',
    );
  }
  return parsed;
}

/**
 * Refuses `cel.bind`, by which a short expression may double a list again and again.
 * @throws FindExpressionError
 */
function refuseBind(text: string, code: string): void {
  const found = [...code.matchAll(TOKEN)].find(([token]) => BIND.test(token));
  if (found === undefined) return;
  const place = placeIn(text, found.index);
  throw new FindExpressionError(text, 'cel.bind() is not allowed', place, 'Write the value out');
}

interface CelError {
  readonly code?: unknown;
  readonly summary?: unknown;
  readonly message?: unknown;
  readonly range?: { readonly start: number };
}

function refused(text: string, error: unknown): FindExpressionError {
  const { range, code } = error as CelError;
  const summary = summaryOf(error);
  const place = range === undefined ? null : placeIn(text, range.start);
  return new FindExpressionError(text, summary, place, cureOf(code, summary));
}

function cureOf(code: unknown, summary: string): string {
  const known = Object.keys(EXPRESSION_NAMES);
  const unknown = /^Unknown variable: (.*)$/.exec(summary)?.[1];
  if (code !== 'unknown_variable' || unknown === undefined)
    return 'See https://cel.dev for the language, and millrace find --help for the names';
  return `Names are ${known.join(', ')}${didYouMean(unknown, known)}. Fields of the payload are in data: data.${unknown}`;
}

/** Returns the message of an error of CEL, without the picture of the place. */
function summaryOf(error: unknown): string {
  const { summary, message } = error as CelError;
  const text = typeof summary === 'string' ? summary : String(message ?? error);
  return cut(text.replaceAll(TYPE_ALIAS, 'type'), 300);
}

function placeIn(text: string, offset: number): PlaceInText {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}

// ---------------------------------------------------------------- words

/**
 * Matches comments, strings and words of an expression. A word with its dot is a field, a word with
 * its parenthesis is a function.
 */
const TOKEN = new RegExp(
  [
    String.raw`//[^\n]*`,
    // As the library has it, a backslash takes the next character along, in raw strings, too.
    String.raw`[bBrR]?(?:"""(?:\\[^]|[^\\])*?"""|'''(?:\\[^]|[^\\])*?''')`,
    String.raw`[bBrR]?(?:"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*')`,
    String.raw`(?:\.\??\s*)?[A-Za-z_]\w*(?:\s*\()?`,
  ].join('|'),
  'g',
);

const SLOW_CALL = /^\.\s*(?:matches|all|exists|exists_one|map|filter|split|join)\s*\($/;
const BIND = /^\.\s*bind\s*\($/;

/** Puts spaces for comments, which may stand between a name and its parenthesis. */
function withoutComments(text: string): string {
  return text.replace(TOKEN, (token) =>
    token.startsWith('//') ? ' '.repeat(token.length) : token,
  );
}

function sumsUp(code: string): boolean {
  return code.replace(TOKEN, ' ').includes('+');
}

/**
 * Returns the tokens, each once. The words that stand alone are names of variables, and words of
 * the language.
 */
function wordsOf(code: string): ReadonlySet<string> {
  return new Set([...code.matchAll(TOKEN)].map(([token]) => token));
}

function withAlias(code: string): string {
  return code.replace(TOKEN, (token) => (token === 'type' ? TYPE_ALIAS : token));
}
