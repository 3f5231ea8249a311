/** Errors of functions: the handler's own, and those of the thread and the process that run it. */
import { ownFrame } from '../own-frame.ts';
import { MillraceError } from './millrace-error.ts';

/**
 * Throw this error (or a subclass) in a function to dead-letter the event at once, without further
 * attempts.
 */
export class NonRetryableError extends MillraceError {
  readonly code: string = 'NON_RETRYABLE';
}

/**
 * A chain of emitted events that is too long: functions that trigger each other. The event is dead
 * at once.
 */
export class EmitLoopError extends NonRetryableError {
  override readonly code: string = 'EMIT_LOOP';
  readonly limit: number;
  constructor(functionName: string, eventId: string, limit: number) {
    super(
      `function "${functionName}" emits for event ${eventId}, which is the last of ${limit} events in a row that were emitted because of one another. ` +
        'Probably these functions trigger each other without end. Nothing was emitted. Break the cycle. Where events are to follow each other for ever, publish them instead',
    );
    this.limit = limit;
  }
}

/**
 * A call of ctx.emit after the event's outcome was settled. Emitted events are written together
 * with the outcome.
 */
export class EmitClosedError extends MillraceError {
  readonly code = 'EMIT_CLOSED';
  constructor(functionName: string, eventId: string) {
    super(
      `function "${functionName}" emits for event ${eventId} after its handler has returned. Nothing was emitted. Await everything before the handler returns`,
    );
  }
}

/**
 * A function whose `setup` threw, or whose file could not be loaded. None of its events was tried.
 * The stack is that of the thrown error.
 */
export class SetupError extends MillraceError {
  readonly code = 'SETUP';
  override readonly retryable = true;
  readonly function: string;
  /** Place in the user's code at which setup failed, as `path:line:column`; '': not known. */
  readonly at: string;
  constructor(
    functionName: string,
    thrown: {
      readonly name: string;
      readonly message: string;
      readonly stack: string;
      readonly cause?: string;
    },
  ) {
    const at = ownFrame(thrown.stack);
    super(
      `setup of function "${functionName}" failed: ${thrown.name}: ${thrown.message}${thrown.cause ? `; caused by ${thrown.cause}` : ''}${at === '' ? '' : ` (at ${at})`}`,
    );
    this.function = functionName;
    this.at = at;
    if (thrown.stack !== '')
      this.stack = `${this.name}: ${this.message}\n${framesOf(thrown.stack)}`;
  }
}

function framesOf(stack: string): string {
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
  return frames.length > 0 ? frames.join('\n') : stack;
}

/** A handler that had not settled `timeoutMs` after its start. Counts as a failed attempt. */
export class HandlerTimeoutError extends MillraceError {
  readonly code = 'HANDLER_TIMEOUT';
  override readonly retryable = true;
  readonly timeoutMs: number;
  constructor(functionName: string, eventId: string, timeoutMs: number) {
    super(
      `function "${functionName}" had not finished event ${eventId} after its timeoutMs of ${timeoutMs} ms`,
    );
    this.timeoutMs = timeoutMs;
  }
}

/**
 * Reason of an aborted `ctx.signal`: another dispatcher owns the lane now. The handler's outcome is
 * discarded, and the event runs there.
 */
export class LeaseLostError extends MillraceError {
  readonly code = 'LEASE_LOST';
  override readonly retryable = true;
  readonly partition: number;
  constructor(functionName: string, partition: number) {
    super(
      `this dispatcher has lost partition ${partition} of function "${functionName}" to another one, where the event runs again. Stop this handler's work if you can.`,
    );
    this.partition = partition;
  }
}

/**
 * A thread that died while this event was running in it: process.exit, heap exhaustion, a native
 * error, or an endless loop.
 */
export class ThreadDeathError extends MillraceError {
  readonly code = 'THREAD_DEATH';
  override readonly retryable = true;
  constructor(functionName: string, cause: string) {
    super(`the thread running function "${functionName}" died: ${cause}`);
  }
}

/**
 * An event behind too many parked events of its subject (`maxParkedPerSubject`). It was
 * dead-lettered without a try.
 */
export class ParkedLimitError extends MillraceError {
  readonly code = 'PARKED_LIMIT';
  readonly subject: string;
  readonly limit: number;
  constructor(functionName: string, subject: string, limit: number) {
    super(
      `${limit} events of subject ${subject} wait behind a failed event of function "${functionName}", which is the limit (maxParkedPerSubject). ` +
        'Fix or discard the failed event, then replay this one with millrace dlq replay',
    );
    this.subject = subject;
    this.limit = limit;
  }
}

/**
 * An event that killed the whole dispatcher each time it ran alone: a native crash, or the kernel's
 * out-of-memory killer.
 */
export class DispatcherDeathError extends MillraceError {
  readonly code = 'DISPATCHER_DEATH';
  readonly deaths: number;
  constructor(functionName: string, eventId: string, deaths: number) {
    super(
      `${deaths} dispatchers died one after the other while function "${functionName}" ran event ${eventId} alone`,
    );
    this.deaths = deaths;
  }
}
