/**
 * A server that answers reads and takes no writes (full disk, full memory, too few replicas): said
 * at once, with what is wrong and what helps. Whether to wait for it is the caller's choice.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { RedisReplyError, WritesRefusedError } from '../core/errors.ts';
import type { RedisConnection } from './contract.ts';

const AGAIN_MS = 250;
const REPEAT_MS = 30_000;

export interface WaitForWrites {
  readonly signal: AbortSignal;
  /** Told at once, and every 30 s while it goes on. */
  waiting(message: string): void;
}

/** Of a call that was refused because the server takes no writes now, or none of this user. */
export function isWriteRefusal(error: unknown): error is RedisReplyError {
  return (
    error instanceof RedisReplyError && (error.refuses === 'writes' || error.reply === 'NOPERM')
  );
}

/** The refusal, what it means, and where the server's files are if its disk is what is wrong. */
export async function describeRefusal(
  connection: RedisConnection,
  error: RedisReplyError,
): Promise<string> {
  if (error.reply !== 'MISCONF') return error.message;
  const reply = await connection.commandOnMasters('CONFIG', 'GET', 'dir').catch(() => []);
  const folders = [...new Set(reply.map(({ reply: flat }) => (flat as string[])[1] ?? ''))].filter(
    (dir) => dir !== '',
  );
  const where =
    folders.length === 0
      ? 'the folder of its files is not known'
      : `its files are in ${folders.join(', ')}`;
  return `${error.message}; ${where}. It takes writes again by itself once they can be written`;
}

/**
 * Makes the attempt; where the server refuses the write, again and again until it is taken, or
 * once.
 *
 * @param what completes "it is needed": `to register functions`
 * @param wait without it the refusal is final
 * @throws WritesRefusedError; whatever else the attempt throws; the signal's reason
 */
export async function untilWritten<T>(
  what: string,
  connection: RedisConnection,
  attempt: () => Promise<T>,
  wait?: WaitForWrites,
): Promise<T> {
  let toldMs = -Infinity;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isWriteRefusal(error)) throw error;
      const why = await describeRefusal(connection, error);
      if (!wait || !error.retryable)
        throw new WritesRefusedError(what, error.reply, why, { cause: error });
      wait.signal.throwIfAborted();
      if (monotonicMs() - toldMs > REPEAT_MS) {
        toldMs = monotonicMs();
        wait.waiting(`waiting until Redis takes writes again (needed ${what}): ${why}`);
      }
      await sleep(AGAIN_MS, wait.signal);
      wait.signal.throwIfAborted();
    }
  }
}

/**
 * What is lost if the server ends now, because its append-only file could not be written: Redis
 * answers before it knows. Null: nothing, or the server does not tell within half a second.
 */
export async function describeUnwritten(connection: RedisConnection): Promise<string | null> {
  const info = await connection
    .until(monotonicMs() + 500)
    .command('INFO', 'persistence')
    .catch(() => '');
  if (!/^aof_last_write_status:err\r?$/m.test(String(info))) return null;
  return 'the server ends while its append-only file cannot be written (a full disk): what it acknowledged since its last write that succeeded, a moment before it refused the first, is lost';
}
