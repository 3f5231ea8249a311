/** Errors of appends: events that were not accepted, or not as asked for. */
import { MillraceError } from './millrace-error.ts';

/** Reason for which a publisher accepts no more events for now. */
export interface Pressure {
  /**
   * `bytes`: the publisher's own buffer is full. `lag`: a function of the type is further behind
   * than the type's maxBacklog. `redis-memory`: Redis refuses writes (OOM).
   */
  readonly reason: 'bytes' | 'lag' | 'redis-memory';
  /** Time until the next try, ms. */
  readonly retryAfterMs: number;
  /** Event type, with `lag`. */
  readonly type?: string;
  readonly partition?: number;
  readonly function?: string;
  /** Amount found: buffered bytes, or events behind in the partition. */
  readonly actual?: number;
  readonly limit?: number;
}

/**
 * An event that was not accepted, for `reason`. The event was not sent. With `whenFull: 'wait'`
 * thrown only when waiting took too long.
 */
export class BackpressureError extends MillraceError implements Pressure {
  readonly code = 'BACKPRESSURE';
  override readonly retryable = true;
  readonly reason: Pressure['reason'];
  readonly retryAfterMs: number;
  readonly type?: string;
  readonly partition?: number;
  readonly function?: string;
  readonly actual?: number;
  readonly limit?: number;
  constructor(pressure: Pressure) {
    const { reason, actual, limit } = pressure;
    const why =
      reason === 'bytes'
        ? `the publisher buffers ${actual} of ${limit} bytes already`
        : reason === 'lag'
          ? `function "${pressure.function}" is ${actual} events of "${pressure.type}" behind in partition ${pressure.partition}; the limit is ${limit} (millrace limits)`
          : 'Redis is out of memory (OOM) and takes no events: raise its maxmemory, or let retention free memory (millrace limits)';
    super(`${why}. The event was not accepted. Try again in about ${pressure.retryAfterMs} ms`);
    this.reason = reason;
    this.retryAfterMs = pressure.retryAfterMs;
    if (pressure.type !== undefined) this.type = pressure.type;
    if (pressure.partition !== undefined) this.partition = pressure.partition;
    if (pressure.function !== undefined) this.function = pressure.function;
    if (actual !== undefined) this.actual = actual;
    if (limit !== undefined) this.limit = limit;
  }
}

/** A call to a publisher (or another part) that was closed before or during the call. */
export class ClosedError extends MillraceError {
  readonly code = 'CLOSED';
  constructor(what: string) {
    super(`${what} is closed`);
  }
}

/**
 * A producer's flush with a sequence that is neither the next nor the last one. Either Redis lost
 * acknowledged flushes (failover, FLUSHALL, an append-only file cut back), or two producers share
 * one id.
 */
export class ProducerGapError extends MillraceError {
  readonly code = 'PRODUCER_GAP';
  readonly producer: string;
  readonly partition: number;
  readonly expected: number;
  readonly actual: number;
  constructor(producer: string, partition: number, expected: number, actual: number) {
    super(
      `producer ${producer}, partition ${partition}: flush ${actual} arrived, but Redis expects ${expected}. Redis has lost ` +
        `acknowledged flushes (failover, FLUSHALL, restored backup), or two producers use this id. This flush was not appended`,
    );
    this.producer = producer;
    this.partition = partition;
    this.expected = expected;
    this.actual = actual;
  }
}

/** An append that is in Redis, but with less durability than asked for. */
export class DurabilityError extends MillraceError {
  readonly code = 'DURABILITY';
  override readonly outcomeUnknown = true;
  readonly asked: string;
  constructor(asked: string, message: string) {
    super(message);
    this.asked = asked;
  }
}

/** A partition's schedule that is full. Nothing was scheduled. */
export class ScheduleFullError extends MillraceError {
  readonly code = 'SCHEDULE_FULL';
  override readonly retryable = true;
  readonly partition: number;
  constructor(partition: number, limit: number) {
    super(
      `partition ${partition} holds ${limit} scheduled events, which is the limit. Nothing was scheduled. Wait until some are due, or cancel some (millrace scheduled)`,
    );
    this.partition = partition;
  }
}
