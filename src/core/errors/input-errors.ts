/** Errors of the caller: settings, event data, texts and sizes that cannot be used. */
import { didYouMean } from '../suggest.ts';
import { MillraceError } from './millrace-error.ts';

/**
 * Configuration that cannot work. `problems` lists every problem found, each with its variable,
 * option or file.
 */
export class ConfigError extends MillraceError {
  readonly code = 'CONFIG';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? `cannot start: ${problems[0]}`
        : `cannot start, ${problems.length} problems:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * An event type that nobody declared. Declare it with `option (millrace.v1.event)` on a message
 * under proto/.
 */
export class UnknownEventTypeError extends MillraceError {
  readonly code = 'UNKNOWN_EVENT_TYPE';
  readonly type: string;
  readonly known: readonly string[];
  constructor(type: string, known: readonly string[]) {
    super(
      `event type "${type}" is not declared${didYouMean(type, known)}; declared are: ${known.length ? known.join(', ') : 'none'}. ` +
        `Add a message with option (millrace.v1.event) = { type: "${type}", subject: "…" } under proto/`,
    );
    this.type = type;
    this.known = known;
  }
}

/**
 * Data that does not fit the event type's schema. Nothing was sent. `path` is the wrong field, e.g.
 * `items.0.quantity`.
 */
export class InvalidEventError extends MillraceError {
  readonly code = 'INVALID_EVENT';
  readonly type: string;
  readonly path: string;
  readonly problem: string;
  constructor(type: string, path: string, problem: string) {
    super(`event "${type}"${path ? `, field ${path}` : ''}: ${problem}. Nothing was sent`);
    this.type = type;
    this.path = path;
    this.problem = problem;
  }
}

/**
 * Schemas under proto/ that the registry does not have: new ones in production mode, or ones that
 * contradict the registered ones. `problems` gives the reasons, type by type.
 */
export class SchemaNotRegisteredError extends MillraceError {
  readonly code = 'SCHEMA_NOT_REGISTERED';
  readonly problems: readonly string[];
  /** @param failed the refused action, as a clause */
  constructor(problems: readonly string[], failed = 'cannot start') {
    super(
      `${failed}, the schemas under proto/ and the registry disagree:\n${problems.map((problem) => `- ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/** A text that can name nothing: no string, or one that UTF-8 cannot hold. Nothing was done. */
export class InvalidTextError extends MillraceError {
  readonly code = 'INVALID_TEXT';
  readonly what: string;
  readonly problem: string;
  constructor(what: string, problem: string) {
    super(`${what} ${problem}. Nothing was done`);
    this.what = what;
    this.problem = problem;
  }
}

/** A value larger than its limit. Nothing was sent. */
export class OversizeError extends MillraceError {
  readonly code = 'OVERSIZE';
  readonly what: string;
  readonly actual: number;
  readonly limit: number;
  /** @param advice begins with the unit: `bytes. Nothing was sent. …` */
  constructor(what: string, actual: number, limit: number, advice: string) {
    super(`${what}: the limit is ${limit}, it has ${actual} ${advice}`);
    this.what = what;
    this.actual = actual;
    this.limit = limit;
  }
}

/**
 * A decider whose `decide` returned no events: a Promise, nothing, or another value. Nothing was
 * appended.
 */
export class DecisionError extends MillraceError {
  readonly code = 'DECISION';
  /** Category of the decider's aggregate. */
  readonly category: string;
  constructor(category: string, problem: string) {
    super(`decider "${category}": ${problem}. Nothing was appended`);
    this.category = category;
  }
}
