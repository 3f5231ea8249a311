/** Turns replies and errors of ioredis into those of Millrace. */
import { ReplyError, type Command } from 'ioredis';
import type { MillraceError } from '../core/errors/millrace-error.ts';
import { RedisReplyError, UnknownOutcomeError } from '../core/errors/server-errors.ts';

export function settleReply(
  label: string,
  command: Command,
  told?: {
    readonly unfit: (error: RedisReplyError) => void;
    readonly answered: () => void;
  },
): Promise<unknown> {
  return (command.promise as Promise<unknown>).then(
    (reply) => {
      told?.answered();
      return reply;
    },
    (error: unknown) => {
      const known = toMillraceError(label, error);
      if (known instanceof RedisReplyError) told?.answered();
      if (known instanceof RedisReplyError && known.reconnect) told?.unfit(known);
      throw known;
    },
  );
}

function toMillraceError(command: string, error: unknown): MillraceError {
  const cause = strip(error);
  if (cause instanceof (ReplyError as new () => Error))
    return new RedisReplyError(command, (cause as Error).message, { cause });
  return new UnknownOutcomeError(command, { cause });
}

/**
 * Takes commands off an error. ioredis hangs the command with all its arguments on the error, and
 * errors on errors. Payloads and passwords would get into logs.
 */
export function strip(thrown: unknown, depth = 0): Error {
  if (!(thrown instanceof Error)) return new Error(String(thrown));
  const error: Error & { command?: unknown; lastNodeError?: unknown } = thrown;
  if ('command' in error) delete error.command;
  if (depth > 5) return error;
  for (const name of ['cause', 'lastNodeError', 'previousErrors', 'errors']) {
    const inner = (error as unknown as Record<string, unknown>)[name];
    for (const one of Array.isArray(inner) ? inner : [inner])
      if (one instanceof Error) strip(one, depth + 1);
  }
  // The refusal of one node says more than the fact that all of them failed.
  const { lastNodeError } = error;
  if (lastNodeError instanceof Error && !error.message.includes(lastNodeError.message))
    error.message = `${error.message} ${lastNodeError.message}`;
  return error;
}

export function isNoScript(error: unknown): boolean {
  return error instanceof RedisReplyError && error.reply === 'NOSCRIPT';
}

export function isMoved(error: unknown): boolean {
  return error instanceof RedisReplyError && (error.reply === 'MOVED' || error.reply === 'ASK');
}
