/** One call of append.lua: sent again until Redis has answered, which (producer, sequence) makes harmless. */
import { DurabilityError, ProducerGapError, RedisReplyError } from '../../core/errors.ts';
import type { Keys } from '../../redis/keys.ts';
import { withRetry, type RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';

const script = defineScript({ url: new URL('./append.lua', import.meta.url), keys: 'variable' });

/** Publishers that have been silent for half of this towards a partition start over under a new producer id. */
export const PRODUCER_TTL_MS = 3_600_000;

export type Durability = 'memory' | 'fsync' | 'replicated';

/** How a flush is made durable before it counts as appended. */
export type Confirm =
  | { readonly kind: 'none' }
  | { readonly kind: 'wait'; readonly replicas: number; readonly timeoutMs: number }
  | { readonly kind: 'waitaof'; readonly timeoutMs: number };

export interface Flush {
  readonly partition: number;
  readonly producer: string;
  readonly sequence: number;
  readonly parts: readonly { readonly type: string; readonly count: number; readonly crc: number; readonly bytes: Buffer }[];
}

export interface AppendOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly confirm: Confirm;
  readonly signal: AbortSignal;
  /** Give up after this long without an answer, in ms. */
  readonly deadlineMs: number;
}

/**
 * @returns the entry id of the flush, and whether Redis had it already
 * @throws ProducerGapError, DurabilityError, UnknownOutcomeError after the deadline, RedisReplyError
 */
export function appendFlush(flush: Flush, options: AppendOptions): Promise<{ entryId: string; duplicate: boolean }> {
  const { partition, producer, sequence, parts } = flush;
  const { keys, connection, confirm } = options;
  const scriptKeys = [
    keys.producer(partition, producer),
    keys.clock(partition),
    keys.counters(partition),
    ...parts.map((part) => keys.events(partition, part.type)),
  ];
  const args: (string | number | Buffer)[] = [sequence, PRODUCER_TTL_MS];
  for (const part of parts) args.push(part.type, part.count, part.crc, part.bytes);

  const send = async (): Promise<{ entryId: string; duplicate: boolean }> => {
    let reply: unknown;
    let confirmed: unknown = null;
    if (confirm.kind === 'none') reply = await script.run(connection, scriptKeys, args);
    else {
      const follow: [string, ...(string | number)[]] =
        confirm.kind === 'wait' ? ['WAIT', confirm.replicas, confirm.timeoutMs] : ['WAITAOF', 1, 0, confirm.timeoutMs];
      [reply, confirmed] = await script.runThen(connection, scriptKeys, args, follow);
    }
    const [kind, value] = reply as [string, string];
    if (kind === 'gap') throw new ProducerGapError(producer, partition, Number(value), sequence);
    if (kind === 'exhausted') {
      throw new RedisReplyError('append', `stream ${value} has an entry with so large an id that nothing can be appended behind it; delete that entry's stream`);
    }
    if (confirm.kind === 'wait' && Number(confirmed) < confirm.replicas) {
      throw new DurabilityError('replicated', `appended as ${partition}/${value}, but only ${String(confirmed)} of ${confirm.replicas} replicas confirmed within ${confirm.timeoutMs} ms`);
    }
    if (confirm.kind === 'waitaof' && Number((confirmed as unknown[])[0]) < 1) {
      throw new DurabilityError('fsync', `appended as ${partition}/${value}, but not synced to disk within ${confirm.timeoutMs} ms`);
    }
    return { entryId: value, duplicate: kind === 'duplicate' };
  };
  return withRetry(send, {
    signal: options.signal,
    deadlineMs: options.deadlineMs,
    minDelayMs: 20,
    maxDelayMs: 1000,
  });
}
