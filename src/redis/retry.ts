/** Makes calls again after a failure, and bounds calls by a time. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../core/clock.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import {
  ConnectionSetupError,
  RedisReplyError,
  UnknownOutcomeError,
} from '../core/errors/server-errors.ts';

/** Time that an operator's command, or a look, waits for Redis, ms. */
export const DEADLINE_MS = 15_000;

/**
 * @param untilMs by monotonicMs()
 * @throws UnknownOutcomeError when there is no reply by then
 */
export async function settledBy<T>(
  untilMs: number,
  command: string,
  reply: Promise<T>,
): Promise<T> {
  if (untilMs === Infinity) return reply;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const leave = (): void =>
      reject(
        new UnknownOutcomeError(command, {
          cause: new Error('no reply within the deadline of the call'),
        }),
      );
    timer = setTimeout(leave, Math.max(0, untilMs - monotonicMs()));
  });
  reply.catch(() => undefined);
  try {
    return await Promise.race([reply, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** Time for all attempts, ms. Then the last error is thrown. Default: no end. */
  readonly deadlineMs?: number;
  /** Shortest pause, ms. Default 50. */
  readonly minDelayMs?: number;
  /** Longest pause, ms. Default 2,000. */
  readonly maxDelayMs?: number;
  readonly onRetry?: (error: MillraceError, attempt: number, delayMs: number) => void;
  /**
   * Behaviour where the server takes no writes (full disk, full memory, too few replicas):
   * - `throw` (default): the caller is told at once.
   * - `retry`: for writes that have to be made whenever they can be.
   * - `retry-memory`: only where memory is missing, which consumers free.
   */
  readonly refusedWrites?: RefusedWrites;
}

export type RefusedWrites = 'throw' | 'retry' | 'retry-memory';

/**
 * Whether the server refuses writes. False where another server may be behind the address: a new
 * connection soon tells.
 */
function isRefusedWrite(error: MillraceError): error is RedisReplyError {
  return error instanceof RedisReplyError && error.refuses === 'writes' && !error.reconnect;
}

/**
 * Calls `fn` until it succeeds, fails with an error that is not `retryable`, or the time is over.
 * Only for idempotent calls: an attempt with an unknown outcome is made again.
 *
 * @param fn gets the attempt's number, from 1, and the time by which it has to settle: for
 *   RedisConnection.until. Without a deadline that is Infinity
 * @throws the last error
 * @throws UnknownOutcomeError where the last attempt had no effect, but an earlier one may have had
 */
export async function withRetry<T>(
  fn: (attempt: number, untilMs: number) => Promise<T>,
  options: RetryOptions = {},
): Promise<T> {
  const untilMs = monotonicMs() + (options.deadlineMs ?? Infinity);
  let unknown: MillraceError | null = null;
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await fn(attempt, untilMs);
    } catch (error) {
      if (!(error instanceof MillraceError) || !error.retryable) throw error;
      // Only a connection that fails fast tells a call of this: see FailFast.
      if (error instanceof ConnectionSetupError) throw unknown ?? error;
      if (error.outcomeUnknown) unknown = error;
      if (
        isRefusedWrite(error) &&
        options.refusedWrites !== 'retry' &&
        !(options.refusedWrites === 'retry-memory' && error.reply === 'OOM')
      )
        throw unknown ?? error;
      const base = Math.min(
        options.maxDelayMs ?? 2_000,
        (options.minDelayMs ?? 50) * 2 ** Math.min(attempt - 1, 20),
      );
      const wait = base * (0.75 + Math.random() / 4);
      if (monotonicMs() + wait > untilMs)
        throw unknown !== null && !error.outcomeUnknown ? unknown : error;
      options.onRetry?.(error, attempt, wait);
      await delay(wait, undefined, options.signal ? { signal: options.signal } : {}).catch(() =>
        options.signal?.throwIfAborted(),
      );
    }
  }
}
