import { MillraceError } from './errors.ts';

/** Where messages go. `fields` name what a message is about: the function, the partition, `err`. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;

/** Level of a failure that is tried again: a warning where the failure may pass by itself. */
export function failureLevel(error: unknown): 'warn' | 'error' {
  return error instanceof MillraceError && error.retryable ? 'warn' : 'error';
}
