/** The error that ended a thread, as a text. */
import { cut } from '../../core/well-formed.ts';

const MOST_CHARACTERS = 1000;

export function deathCause(error: unknown): string {
  // An error that user code threw comes as a clone: plain data, of any kind.
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return 'heap exhausted (ERR_WORKER_OUT_OF_MEMORY)';
  if (typeof message === 'string') return cut(message, MOST_CHARACTERS);
  return cut(
    typeof error === 'object' && error !== null
      ? Object.prototype.toString.call(error)
      : String(error),
    MOST_CHARACTERS,
  );
}
