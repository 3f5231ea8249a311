/**
 * Handles a server that answers reads and takes no writes: full disk, full memory, too few
 * replicas. The caller is told at once, with the fault and the remedy. The caller decides whether
 * to wait.
 */
import { monotonicMs, sleep } from '../core/clock.ts';
import { RedisReplyError, WritesRefusedError } from '../core/errors/server-errors.ts';
import type { RedisConnection } from './contract.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './script.ts';

const AGAIN_MS = 250;
const REPEAT_MS = 30_000;

export interface WaitForWrites {
  readonly signal: AbortSignal;
  /**
   * Is told at once, and every 30 s while the refusal lasts.
   * @param reply code of the refusal
   */
  waiting(message: string, reply: string): void;
}

const writeProbe = defineScript({ url: new URL('./write-probe.lua', import.meta.url), keys: 1 });

/**
 * Asks the server whether it takes writes. Changes nothing. In a Cluster, asks the node of the
 * settings.
 * @returns the refusal; null: writes are taken
 * @throws UnknownOutcomeError, RedisReplyError where the server does not say
 */
export async function probeWrites(
  connection: RedisConnection,
  keys: Keys,
): Promise<RedisReplyError | null> {
  try {
    await writeProbe.run(connection, [keys.settings()], []);
    return null;
  } catch (error) {
    if (isWriteRefusal(error)) return error;
    throw error;
  }
}

/** A call was refused because the server takes no writes now, or none from this user. */
export function isWriteRefusal(error: unknown): error is RedisReplyError {
  return (
    error instanceof RedisReplyError && (error.refuses === 'writes' || error.reply === 'NOPERM')
  );
}

/**
 * Describes the refusal and its meaning. Where the disk is at fault it also names the folder of the
 * server's files.
 */
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
 * Makes the attempt. Where the server refuses the write, it is tried again until it is taken, or
 * only once.
 *
 * @param what purpose that completes "it is needed": `to register functions`
 * @param wait without it the refusal is final
 * @throws WritesRefusedError; any other error of the attempt; the signal's reason
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
        const text = `waiting until Redis takes writes again (needed ${what}): ${why}`;
        wait.waiting(text, error.reply);
      }
      await sleep(AGAIN_MS, wait.signal);
      wait.signal.throwIfAborted();
    }
  }
}

/**
 * Describes the data that is lost if the server ends now, because its append-only file could not be
 * written. Redis answers before it knows of that failure. Null: nothing is lost, or the server does
 * not tell within half a second.
 */
export async function describeUnwritten(connection: RedisConnection): Promise<string | null> {
  const info = await connection
    .until(monotonicMs() + 500)
    .command('INFO', 'persistence')
    .catch(() => '');
  if (!/^aof_last_write_status:err\r?$/m.test(String(info))) return null;
  return 'the server ends while its append-only file cannot be written (a full disk). Writes acknowledged since its last successful write are lost, those of a moment before the first refusal';
}
