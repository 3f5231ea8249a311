/** Errors of Redis: the server, the connection to it, its replies, and lost state. */
import { meaningOf, replyCode, type Refusal } from '../redis-replies.ts';
import { withoutStop } from '../without-stop.ts';
import { MillraceError } from './millrace-error.ts';

/**
 * A function's consumer group that disappeared during work. It was created again behind the last
 * commit, or at the beginning.
 */
export class GroupLostError extends MillraceError {
  readonly code = 'GROUP_LOST';
  override readonly retryable = true;
  /** Code of Redis' reply: `NOGROUP`, or `NOPERM` where the user may not read the group. */
  readonly reply: string;
  constructor(fn: string, partition: number, reply: string) {
    const code = replyCode(reply);
    super(
      code === 'NOPERM'
        ? `Redis refused to read the consumer group of function "${fn}" in partition ${partition}: ${reply} (${meaningOf(code).cure})`
        : `the consumer group of function "${fn}" in partition ${partition} was gone (${reply}): by FLUSHALL, a failover, or XGROUP DESTROY. It was created again; "millrace losses" shows the loss`,
    );
    this.reply = code;
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
      `the connection to ${target} is not used, because the server refused ${step}: ${withoutStop(why)}. ${advice}`,
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
      `Redis at ${target} cannot be reached: ${withoutStop(why)}. Check that the server runs and that REDIS_URL leads to it. ${tlsDoubt(target, why)}Without REDIS_URL, Millrace runs its own server`,
      options,
    );
    this.target = target;
  }
}

/** Forms of a failure where one side speaks TLS and the other does not. */
const MUTE =
  /^not sent: no connection|has not answered|closed|ECONNRESET|EPROTO|secure TLS|wrong version|packet length|Protocol error/i;

/** Returns the sentence that names TLS as a possible cause, with a space behind; else ''. */
function tlsDoubt(target: string, why: string): string {
  if (target.startsWith('unix:') || !MUTE.test(why)) return '';
  return target.startsWith('rediss:')
    ? 'REDIS_URL asks for TLS (rediss://). Where the server has no TLS at this port, write redis://. '
    : 'Where the server wants TLS at this port, write rediss://. ';
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
    super(`${withoutStop(why)}. The write was needed ${what}; nothing was changed`, options);
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
