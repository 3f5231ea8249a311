/**
 * Logs failed attempts and failed turns: one line each while they are few, counts when they come in
 * bursts (core/failure-bursts.ts).
 */
import type { FailureBursts } from '../../core/failure-bursts.ts';
import type { Log } from '../../core/log.ts';
import type { ErrorInfo } from '../../core/thread-protocol.ts';
import type { FailedAttempt } from '../commit/commit-plan.ts';

/** A turn of a lane that failed, and is tried again. */
export interface FailedTurn {
  readonly level: 'warn' | 'error';
  readonly error: Error;
  /** Time until the next turn, ms. */
  readonly delayMs: number;
}

export class FailureLog {
  readonly #log: Log;
  readonly #bursts: FailureBursts;

  constructor(log: Log, bursts: FailureBursts) {
    this.#log = log;
    this.#bursts = bursts;
  }

  /** @param attempts most attempts, by the function's retry policy */
  failed(
    fn: string,
    partition: number,
    attempts: number,
    failures: readonly FailedAttempt[],
  ): void {
    for (const failure of failures) {
      const kind = failure.nextMs === null ? 'dead' : 'retry';
      const topic = {
        key: `${kind}:${fn}`,
        level: 'warn',
        more: kind === 'dead' ? 'events dead-lettered' : 'attempts failed',
        fields: { function: fn },
      } as const;
      if (this.#bursts.note(topic, failure.error, () => whereOf(partition, attempts, failure)))
        this.#line(fn, partition, attempts, failure);
    }
  }

  turnFailed(fn: string, partition: number, { level, error, delayMs }: FailedTurn): void {
    const topic = {
      key: `turn:${fn}`,
      level,
      more: 'turns failed',
      fields: { function: fn },
    };
    const { name, message, stack = '' } = error;
    const where = { partition, delayMs };
    if (this.#bursts.note(topic, { name, message, stack }, () => where))
      this.#log(level, 'turn failed, trying again', { function: fn, ...where, err: error });
  }

  #line(fn: string, partition: number, attempts: number, failure: FailedAttempt): void {
    const { attempt, nextMs, error } = failure;
    const fields = {
      function: fn,
      ...whereOf(partition, attempts, failure),
      ...(nextMs === null ? {} : { nextMs }),
      ...errorFields(error),
    };
    const text =
      nextMs === null
        ? 'event dead-lettered'
        : `attempt ${attempt} of ${attempts} failed, the next one is due in ${nextMs} ms`;
    this.#log('warn', text, fields);
  }
}

function whereOf(
  partition: number,
  attempts: number,
  { eventId, type, subject, entry, index, attempt, reason }: FailedAttempt,
): Record<string, unknown> {
  return { partition, eventId, type, subject, entry, index, attempt, attempts, reason };
}

function errorFields({ name, message, cause, stack }: ErrorInfo): Record<string, unknown> {
  return { error: message, errorName: name, ...(cause ? { cause } : {}), stack };
}
