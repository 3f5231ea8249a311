/** Runs a script that appends, and asks Redis for the durability that the caller wants. */
import { DurabilityError } from '../../core/errors/append-errors.ts';
import type { RedisArg, RedisSender } from '../../redis/contract.ts';
import type { RedisScript } from '../../redis/script.ts';

export type Durability = 'memory' | 'fsync' | 'replicated';

/** The question that Redis answers before a flush counts as appended. */
export type Confirm =
  | { readonly kind: 'none' }
  | { readonly kind: 'wait'; readonly replicas: number; readonly timeoutMs: number }
  | { readonly kind: 'waitaof'; readonly timeoutMs: number };

export interface Confirmed {
  readonly reply: unknown;
  /**
   * To be called once the reply says that events were appended.
   * @throws DurabilityError: the events are appended, but with less durability than asked for
   */
  readonly confirmed: (position: string) => void;
}

/** @throws UnknownOutcomeError, RedisReplyError */
export async function runConfirmed(
  script: RedisScript,
  connection: RedisSender,
  keys: readonly string[],
  args: readonly RedisArg[],
  confirm: Confirm,
): Promise<Confirmed> {
  if (confirm.kind === 'none')
    return { reply: await script.run(connection, keys, args), confirmed: () => undefined };
  const follow: [string, ...(string | number)[]] =
    confirm.kind === 'wait'
      ? ['WAIT', confirm.replicas, confirm.timeoutMs]
      : ['WAITAOF', 1, 0, confirm.timeoutMs];
  const [reply, answer] = await script.runThen(connection, keys, args, follow);
  return {
    reply,
    confirmed(position) {
      if (confirm.kind === 'wait' && Number(answer) < confirm.replicas) {
        throw new DurabilityError(
          'replicated',
          `appended as ${position}, but only ${String(answer)} of ${confirm.replicas} replicas confirmed within ${confirm.timeoutMs} ms`,
        );
      }
      if (confirm.kind === 'waitaof' && Number((answer as unknown[])[0]) < 1) {
        throw new DurabilityError(
          'fsync',
          `appended as ${position}, but not synced to disk within ${confirm.timeoutMs} ms`,
        );
      }
    },
  };
}
