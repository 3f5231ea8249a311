import { MillraceError } from './errors/millrace-error.ts';

/**
 * Receiver of log messages. `fields` name the things a message is about: the function, the
 * partition, `err`.
 */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  fields?: Record<string, unknown>,
) => void;

/** Level of a failure that is retried: a warning where the failure may pass by itself. */
export function failureLevel(error: unknown): 'warn' | 'error' {
  return error instanceof MillraceError && error.retryable ? 'warn' : 'error';
}
