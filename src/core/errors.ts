/**
 * Errors that Millrace throws.
 *
 * Each decision that a caller takes has one class. Each class has typed fields, a stable `code`,
 * and a message. The message names the failure, the thing concerned, the limit, and the cure.
 *
 * Two questions are answered here only, never by matching messages:
 * - `retryable`: may the same call succeed later without a change by the caller?
 * - `outcomeUnknown`: may the call have taken effect although it failed?
 */
import { meaningOf, replyCode, type Refusal } from './redis-replies.ts';
import { didYouMean } from './suggest.ts';

export abstract class MillraceError extends Error {
  abstract readonly code: string;
  /** Whether the same call may succeed later, unchanged. */
  readonly retryable: boolean = false;
  /** Whether the call may have taken effect although it failed. */
  readonly outcomeUnknown: boolean = false;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }

  /**
   * Form for logs, because JSON leaves an error's message out. The cause appears as its text only:
   * its other fields may hold anybody's data.
   */
  toJSON(): Record<string, unknown> {
    const { cause } = this;
    const because =
      cause instanceof Error
        ? `${cause.name}: ${cause.message}`
        : typeof cause === 'string'
          ? cause
          : undefined;
    return {
      ...(this as Record<string, unknown>),
      name: this.name,
      message: this.message,
      ...(because === undefined ? {} : { cause: because }),
    };
  }
}

/**
 * Configuration that cannot work. `problems` lists every problem found, each with its variable,
 * option or file.
 */
export class ConfigError extends MillraceError {
  readonly code = 'CONFIG';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? `cannot start: ${problems[0]}`
        : `cannot start, ${problems.length} problems:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * An event type that nobody declared. Declare it with `option (millrace.v1.event)` on a message
 * under proto/.
 */
export class UnknownEventTypeError extends MillraceError {
  readonly code = 'UNKNOWN_EVENT_TYPE';
  readonly type: string;
  readonly known: readonly string[];
  constructor(type: string, known: readonly string[]) {
    super(
      `event type "${type}" is not declared${didYouMean(type, known)}; declared are: ${known.length ? known.join(', ') : 'none'}. ` +
        `Add a message with option (millrace.v1.event) = { type: "${type}", subject: "…" } under proto/`,
    );
    this.type = type;
    this.known = known;
  }
}

/**
 * Data that does not fit the event type's schema. Nothing was sent. `path` is the wrong field, e.g.
 * `items.0.quantity`.
 */
export class InvalidEventError extends MillraceError {
  readonly code = 'INVALID_EVENT';
  readonly type: string;
  readonly path: string;
  readonly problem: string;
  constructor(type: string, path: string, problem: string) {
    super(`event "${type}"${path ? `, field ${path}` : ''}: ${problem}. Nothing was sent`);
    this.type = type;
    this.path = path;
    this.problem = problem;
  }
}

/**
 * Schemas under proto/ that the registry does not have: new ones in production mode, or ones that
 * contradict the registered ones. `problems` gives the reasons, type by type.
 */
export class SchemaNotRegisteredError extends MillraceError {
  readonly code = 'SCHEMA_NOT_REGISTERED';
  readonly problems: readonly string[];
  /** @param failed the refused action, as a clause */
  constructor(problems: readonly string[], failed = 'cannot start') {
    super(
      `${failed}, the schemas under proto/ and the registry disagree:\n${problems.map((problem) => `- ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/** A text that can name nothing: no string, or one that UTF-8 cannot hold. Nothing was done. */
export class InvalidTextError extends MillraceError {
  readonly code = 'INVALID_TEXT';
  readonly what: string;
  readonly problem: string;
  constructor(what: string, problem: string) {
    super(`${what} ${problem}. Nothing was done`);
    this.what = what;
    this.problem = problem;
  }
}

/** A value larger than its limit. Nothing was sent. */
export class OversizeError extends MillraceError {
  readonly code = 'OVERSIZE';
  readonly what: string;
  readonly actual: number;
  readonly limit: number;
  /** @param advice begins with the unit: `bytes. Nothing was sent. …` */
  constructor(what: string, actual: number, limit: number, advice: string) {
    super(`${what}: the limit is ${limit}, it has ${actual} ${advice}`);
    this.what = what;
    this.actual = actual;
    this.limit = limit;
  }
}

/** Bytes that do not hold the expected data: checksum, framing or message do not match. */
export class CorruptDataError extends MillraceError {
  readonly code = 'CORRUPT_DATA';
  readonly reason: 'checksum' | 'decode' | 'count' | 'missing';
  /** Place of the event in its history; null: the bytes are no history's. */
  readonly history: PlaceInHistory | null;
  constructor(
    reason: CorruptDataError['reason'],
    message: string,
    options?: { cause?: unknown; history?: PlaceInHistory },
  ) {
    super(message, options);
    this.reason = reason;
    this.history = options?.history ?? null;
  }
}

export interface PlaceInHistory {
  readonly category: string;
  readonly id: string;
  readonly revision: number;
  /** Id of the event; null: the id cannot be read either. */
  readonly eventId: string | null;
}

/**
 * A stored row of a view that cannot be read. The row was left as it is. Other rows are not
 * concerned.
 */
export class UnreadableRowError extends MillraceError {
  readonly code = 'UNREADABLE_ROW';
  readonly view: string;
  readonly version: number;
  /** Id of the row. */
  readonly id: string;
  readonly problem: string;
  /** Key of the row in Redis, with the deployment's prefix where that is known. */
  readonly key: string;
  /** @param generation `<view>@<version>` */
  constructor(generation: string, id: string, key: string, problem: string) {
    const at = generation.lastIndexOf('@');
    const view = generation.slice(0, at);
    super(
      `row ${JSON.stringify(id)} of view "${view}", version ${generation.slice(at + 1)}, cannot be read: ${problem} ` +
        `(key ${key}). To restore the row: raise the view's version, then run millrace view rebuild ${view}. ` +
        'To start the row without its past events: delete that key, then run millrace dlq replay',
    );
    this.view = view;
    this.version = Number(generation.slice(at + 1));
    this.id = id;
    this.key = key;
    this.problem = problem;
  }
}

/**
 * An event with an invalid attribute, although the event's bytes can be decoded. A foreign producer
 * wrote it.
 */
export class EnvelopeError extends MillraceError {
  readonly code = 'ENVELOPE';
  /** `id`, `subject`, `source`, `type` or `extensions`. */
  readonly field: string;
  /**
   * Reason of its dead letter. `decode`: not valid UTF-8. `envelope`: empty, too long, or an
   * invalid extension.
   */
  readonly reason: 'decode' | 'envelope';
  constructor(field: string, reason: 'decode' | 'envelope', problem: string) {
    super(`the event's ${field} ${problem}. Fix its producer, and publish the event again`);
    this.field = field;
    this.reason = reason;
  }
}

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
          : 'Redis is out of memory and takes no events';
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

/**
 * A function's consumer group that disappeared during work. It was created again behind the last
 * commit, or at the beginning.
 */
export class GroupLostError extends MillraceError {
  readonly code = 'GROUP_LOST';
  override readonly retryable = true;
  constructor(fn: string, partition: number, reply: string) {
    super(
      `the consumer group of function "${fn}" in partition ${partition} was gone (${reply}): by FLUSHALL, a failover, or XGROUP DESTROY. It was created again; "millrace losses" shows the loss`,
    );
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

/**
 * A command that Redis did not answer. The command may or may not have been executed. With
 * `outcomeUnknown: false` it was not sent.
 */
export class UnknownOutcomeError extends MillraceError {
  readonly code = 'UNKNOWN_OUTCOME';
  override readonly retryable = true;
  override readonly outcomeUnknown: boolean;
  readonly command: string;
  /**
   * @param options.notSent reason for which no connection could send the command. Default: the
   *   command was sent, or that is not known
   */
  constructor(
    command: string,
    options: { readonly cause?: unknown; readonly notSent?: string } = {},
  ) {
    const { cause, notSent } = options;
    super(
      notSent === undefined
        ? `Redis did not answer ${command}: it may or may not have been executed. Retry only what is idempotent`
        : `${command} was not sent to Redis: ${notSent}. Nothing was executed`,
      cause === undefined ? {} : { cause },
    );
    this.command = command;
    this.outcomeUnknown = notSent === undefined;
  }
}

/**
 * A set-up step of a connection that the server refused. Without the step the connection is not the
 * one that REDIS_URL asks for. Nothing else was sent on it.
 */
export class ConnectionSetupError extends MillraceError {
  readonly code = 'CONNECTION_SETUP';
  override readonly retryable: boolean;
  /** Address of the server, without passwords. */
  readonly target: string;
  /** Refused command, without a password: `SELECT 99`. */
  readonly step: string;
  /** Code of the reply, e.g. `WRONGPASS`, `NOPERM`; `ERR` for the rest. */
  readonly reply: string;
  /** @param why the server's reply, or its behaviour */
  constructor(
    target: string,
    step: string,
    why: string,
    advice: string,
    options?: { cause?: unknown },
  ) {
    const reply = replyCode(why);
    super(
      `the connection to ${target} is not used, because the server refused ${step}: ${why}. ${advice}`,
      options,
    );
    this.target = target;
    this.step = step;
    this.reply = reply;
    // With the same REDIS_URL, the server will refuse the login again.
    this.retryable = meaningOf(reply).retryable && reply !== 'WRONGPASS' && reply !== 'NOAUTH';
  }
}

/** A server that could not be reached from the start. Nothing was sent. */
export class ServerUnreachableError extends MillraceError {
  readonly code = 'SERVER_UNREACHABLE';
  override readonly retryable = true;
  /** Address of the server, without passwords. */
  readonly target: string;
  constructor(target: string, why: string, options?: { cause?: unknown }) {
    super(
      `Redis at ${target} cannot be reached: ${why}. Check that the server runs and that REDIS_URL leads to it. Without REDIS_URL, Millrace runs its own server`,
      options,
    );
    this.target = target;
  }
}

/** An error reply of Redis. The meaning of its code is in redis-replies.ts. */
export class RedisReplyError extends MillraceError {
  readonly code = 'REDIS_REPLY';
  override readonly retryable: boolean;
  /**
   * Code of the reply, e.g. `OOM`, `NOGROUP`, `LOADING`. The reply of a failed script has the code
   * of the inner error.
   */
  readonly reply: string;
  readonly command: string;
  constructor(command: string, message: string, options?: { cause?: unknown }) {
    const reply = replyCode(message);
    const { retryable, cure } = meaningOf(reply);
    super(`Redis refused ${command}: ${message}${cure === '' ? '' : ` (${cure})`}`, options);
    this.command = command;
    this.reply = reply;
    this.retryable = retryable;
  }
  /** Extent of the refusal: this call alone, writes (the server still reads), or everything. */
  get refuses(): Refusal {
    return meaningOf(this.reply).refuses;
  }
  /**
   * Whether to open the connection anew, with its address resolved again: this server cannot serve
   * us now.
   */
  get reconnect(): boolean {
    return meaningOf(this.reply).reconnect;
  }
}

/** A needed write that Redis refuses, although it answers. Nothing was written. */
export class WritesRefusedError extends MillraceError {
  readonly code = 'WRITES_REFUSED';
  override readonly retryable: boolean;
  /** Code of Redis' reply: `MISCONF`, `OOM`, `NOREPLICAS`, `READONLY`, `NOPERM`. */
  readonly reply: string;
  /**
   * @param what purpose of the write, after "needed": `to register functions`
   * @param why the refusal, and its cure
   */
  constructor(what: string, reply: string, why: string, options?: { cause?: unknown }) {
    super(`${why}. The write was needed ${what}; nothing was changed`, options);
    this.reply = reply;
    this.retryable = reply !== 'NOPERM';
  }
}

/**
 * A deployment in Redis with another number of partitions than this process works with. Redis had
 * lost its data, or a backup was restored, and another process started with the other number.
 * Nothing was written with the wrong number.
 */
export class SettingsChangedError extends MillraceError {
  readonly code = 'SETTINGS_CHANGED';
  readonly namespace: string;
  readonly partitions: number;
  readonly stored: number;
  constructor(namespace: string, partitions: number, stored: number) {
    super(
      `this process works with ${partitions} partitions, but the deployment (namespace "${namespace}") has ${stored} now. Redis had lost its data ` +
        `(FLUSHALL, a restored backup), and another process started first. Set MILLRACE_PARTITIONS to the same number everywhere, and start this process again`,
    );
    this.namespace = namespace;
    this.partitions = partitions;
    this.stored = stored;
  }
}

/** No redis-server for the embedded default. The message names the three ways to get one. */
export class RedisServerNotFoundError extends MillraceError {
  readonly code = 'REDIS_SERVER_NOT_FOUND';
  constructor(tried: readonly string[]) {
    super(
      `no redis-server found. Tried: ${tried.join('; ')}. There are three ways to get one. Set REDIS_URL to a running server. ` +
        `Install redis-server or valkey-server (>= 7.0) so that it is on PATH. Or point MILLRACE_REDIS_SERVER at the binary`,
    );
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
  constructor(
    functionName: string,
    thrown: {
      readonly name: string;
      readonly message: string;
      readonly stack: string;
      readonly cause?: string;
    },
  ) {
    super(
      `setup of function "${functionName}" failed: ${thrown.name}: ${thrown.message}${thrown.cause ? `; caused by ${thrown.cause}` : ''}`,
    );
    this.function = functionName;
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
      `this dispatcher has lost partition ${partition} of function "${functionName}" to another one, where the event runs again; stop what can be stopped`,
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

/**
 * A decider whose `decide` returned no events: a Promise, nothing, or another value. Nothing was
 * appended.
 */
export class DecisionError extends MillraceError {
  readonly code = 'DECISION';
  /** Category of the decider's aggregate. */
  readonly category: string;
  constructor(category: string, problem: string) {
    super(`decider "${category}": ${problem}. Nothing was appended`);
    this.category = category;
  }
}
