import { MillraceError } from '../core/errors/millrace-error.ts';
import { didYouMean } from '../core/suggest.ts';
import { cut } from '../core/well-formed.ts';

/** An expression that every cure shows. */
export const EXAMPLE = 'type == "order.created" && data.total > 100.0';

/** Longest text of an expression in a message, in UTF-16 units. */
const SHOWN = 500;

/** A place in the text of an expression. Lines and columns count from 1. */
export interface PlaceInText {
  readonly line: number;
  readonly column: number;
}

/** An expression that is no CEL, or does not give true or false. Nothing was searched. */
export class FindExpressionError extends MillraceError {
  readonly code = 'FIND_EXPRESSION';
  readonly expression: string;
  readonly problem: string;
  /** Null: the whole expression. */
  readonly place: PlaceInText | null;
  /** @param cure the beginning of a sentence's clause, without a full stop */
  constructor(expression: string, problem: string, place: PlaceInText | null, cure: string) {
    const at = place === null ? '' : ` at line ${place.line}, column ${place.column}`;
    super(
      `the expression cannot be used: ${problem}${at}. ${cure}. Example: ${EXAMPLE} (the expression: ${cut(expression, SHOWN)})`,
    );
    this.expression = expression;
    this.problem = problem;
    this.place = place;
  }
}

/** An expression that takes too long for a few events. The search has ended. */
export class SlowExpressionError extends MillraceError {
  readonly code = 'SLOW_EXPRESSION';
  readonly expression: string;
  /** Time that was allowed, ms. */
  readonly limitMs: number;
  constructor(expression: string, events: number, limitMs: number) {
    super(
      `the expression took more than ${limitMs} ms for ${events} events, and the search ended. ` +
        'Avoid macros within macros over long lists, and patterns of matches() such as (a+)+. ' +
        `contains() and startsWith() are quick (the expression: ${cut(expression, SHOWN)})`,
    );
    this.expression = expression;
    this.limitMs = limitMs;
  }
}

/** Options of a search or a trace that cannot be used. */
export class FindOptionError extends MillraceError {
  readonly code = 'FIND_OPTION';
  readonly option: string;
  constructor(option: string, problem: string) {
    super(`${option}: ${problem}`);
    this.option = option;
  }
}

/** Types that nobody has published, consumes or declares. Nothing was searched. */
export class UnknownFindTypeError extends MillraceError {
  readonly code = 'UNKNOWN_FIND_TYPE';
  readonly type: string;
  readonly known: readonly string[];
  constructor(type: string, known: readonly string[]) {
    super(
      `event type "${type}" is not known in this deployment${didYouMean(type, known)}; known are: ${known.length > 0 ? known.join(', ') : 'none'}. ` +
        'A type is known once an event of it was published, or a function for it was started',
    );
    this.type = type;
    this.known = known;
  }
}

/** An event that is in none of the places that were looked at. */
export class EventNotFoundError extends MillraceError {
  readonly code = 'EVENT_NOT_FOUND';
  readonly where: string;
  /** @param looked the places that were looked at, as a sentence without a full stop */
  constructor(where: string, looked: string) {
    super(
      `${where} was not found. ${looked}. millrace explain looks at parked, dead and scheduled events, too`,
    );
    this.where = where;
  }
}
