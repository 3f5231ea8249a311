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

/** Most causes behind one another that are looked at. */
const CAUSES = 8;

/**
 * Returns the error as it is to be logged: without causes whose texts stand in its own. Loggers add
 * each cause's text and stack, so the reply of a server would stand there twice.
 */
export function withoutToldCauses(error: unknown, most = CAUSES): unknown {
  if (!(error instanceof Error) || !(error.cause instanceof Error) || most === 0) return error;
  const cause = withoutToldCauses(error.cause, most - 1) as Error;
  const told = cause.cause === undefined && error.message.includes(cause.message);
  if (!told && cause === error.cause) return error;
  const own = Object.getOwnPropertyDescriptors(error) as PropertyDescriptorMap;
  own['stack'] = { value: error.stack };
  if (told) delete own['cause'];
  else own['cause'] = { value: cause };
  return Object.create(Object.getPrototypeOf(error) as object, own);
}
