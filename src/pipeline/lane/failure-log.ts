/**
 * Logs failed attempts and failed turns (core/failure-bursts.ts). Attempts have one line each while
 * they are few, and counts when they come in bursts. Turns have one line for each cause: in an
 * outage all lanes fail for one cause.
 */
import { MillraceError } from '../../core/errors/millrace-error.ts';
import { failureFingerprint, type FailureBursts } from '../../core/failure-bursts.ts';
import { serverReason } from '../../core/health-reason.ts';
import type { Log } from '../../core/log.ts';
import type { ErrorInfo } from '../../core/thread-protocol.ts';
import { traceFields, type TraceContext } from '../../core/trace-context.ts';
import type { FailedAttempt } from '../commit/commit-plan.ts';

/** Most topics at a time. Turns with further causes are counted together. */
const TOPICS = 200;

/** A turn of a lane that failed, and is tried again. */
export interface FailedTurn {
  readonly level: 'warn' | 'error';
  readonly error: Error;
  /** Time until the next turn, ms. */
  readonly delayMs: number;
}

/** The lane whose attempts failed. */
export interface FailingLane {
  readonly fn: string;
  readonly partition: number;
  /** Most attempts, by the function's retry policy. */
  readonly attempts: number;
  /** Reads the trace context of the failure's event. Null: the event has none. */
  readonly traceOf: (failure: FailedAttempt) => TraceContext | null;
}

export class FailureLog {
  readonly #log: Log;
  readonly #bursts: FailureBursts;

  constructor(log: Log, bursts: FailureBursts) {
    this.#log = log;
    this.#bursts = bursts;
  }

  failed(lane: FailingLane, failures: readonly FailedAttempt[]): void {
    const { fn } = lane;
    for (const failure of failures) {
      const kind = failure.nextMs === null ? 'dead' : 'retry';
      const topic = {
        key: `${kind}:${fn}`,
        level: 'warn',
        more: kind === 'dead' ? 'events dead-lettered' : 'attempts failed',
        fields: { function: fn },
      } as const;
      if (this.#bursts.note(topic, failure.error, () => whereOf(lane, failure)))
        this.#line(lane, failure);
    }
  }

  turnFailed(fn: string, partition: number, { level, error, delayMs }: FailedTurn): void {
    const { name, message, stack = '' } = error;
    const reason = error instanceof MillraceError ? (serverReason(error)?.code ?? null) : null;
    // The stack of a refusal tells nothing: the server is the cause.
    const info = { name, message, stack: reason === null ? stack : '' };
    const key = `turn:${reason ?? `${fn}:${failureFingerprint(info)}`}`;
    const topic = {
      key: this.#bursts.has(key) || this.#bursts.topics < TOPICS ? key : 'turn',
      level,
      more: 'turns failed',
      fields: reason === null ? { function: fn } : { reason },
      lasting: { sources: 'lanes' },
    };
    const where = { function: fn, partition, delayMs };
    if (this.#bursts.note(topic, info, () => where, `${fn}/${partition}`))
      this.#log(level, 'turn failed, trying again', { ...where, err: error });
  }

  #line(lane: FailingLane, failure: FailedAttempt): void {
    const { attempt, nextMs, error } = failure;
    const fields = {
      function: lane.fn,
      ...whereOf(lane, failure),
      ...(nextMs === null ? {} : { nextMs }),
      ...errorFields(error),
    };
    const text =
      nextMs === null
        ? 'event dead-lettered'
        : `attempt ${attempt} of ${lane.attempts} failed, the next one is due in ${nextMs} ms`;
    this.#log('warn', text, fields);
  }
}

function whereOf(
  { partition, attempts, traceOf }: FailingLane,
  failure: FailedAttempt,
): Record<string, unknown> {
  const { eventId, type, subject, entry, index, attempt, reason } = failure;
  const event = { partition, eventId, type, subject, entry, index };
  return { ...event, attempt, attempts, reason, ...traceFields(traceOf(failure)) };
}

function errorFields({ name, message, cause, stack }: ErrorInfo): Record<string, unknown> {
  return { error: message, errorName: name, ...(cause ? { cause } : {}), stack };
}
