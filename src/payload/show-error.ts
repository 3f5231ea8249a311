/**
 * Shows errors of handlers. Their messages often quote data ("no such card: 4111…"), and so do
 * causes and the first lines of stacks. Nothing tells the quotation from the rest. So readers who
 * see masked payloads see the error's name and the places in the code, and no message.
 */
import type { PayloadAccess } from './shown-payload.ts';

export interface ErrorText {
  readonly name: string;
  readonly message: string;
  /** '' where there is none. */
  readonly stack?: string;
  readonly cause?: string | undefined;
}

export interface ShownError {
  /** Name of the error, such as `TypeError`. Null: it is no plain name. */
  readonly name: string | null;
  /** Null: not shown to this reader. */
  readonly message: string | null;
  /** Null: not shown to this reader, or there is none. */
  readonly cause: string | null;
  /** Lines of the stack. A masked stack has only those that name a place in the code. */
  readonly stack: readonly string[];
  /** Whether a part is not shown to this reader. */
  readonly masked: boolean;
}

/** A name of a class. A handler may put any text there. */
const NAME = /^[A-Za-z_$][\w$]{0,99}$/;
/** `at name (file:line:column)` or `at file:line:column`, and nothing else. */
const FRAME =
  /^\s*at (?:(?:async |new )*[\w$.<>#[\] ]{1,200} \()?(?:file:\/\/|node:|\/|[A-Za-z]:\\)[\w@%+.,~:\\/-]{1,500}:\d{1,9}:\d{1,9}\)?$/;
const MOST_LINES = 100;

export function showError(error: ErrorText, access: PayloadAccess): ShownError {
  const { name, message, stack = '', cause } = error;
  const lines = stack === '' ? [] : stack.split('\n', MOST_LINES);
  if (access === 'full')
    return { name, message, cause: cause ?? null, stack: lines, masked: false };
  return {
    name: NAME.test(name) ? name : null,
    message: null,
    cause: null,
    stack: access === 'none' ? [] : lines.filter((line) => FRAME.test(line)),
    masked: true,
  };
}

/** Returns the texts of anything that was thrown. */
export function errorTextOf(error: unknown): ErrorText {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  return {
    name,
    message,
    stack: stack ?? '',
    ...(cause === undefined
      ? {}
      : { cause: cause instanceof Error ? cause.message : String(cause) }),
  };
}
