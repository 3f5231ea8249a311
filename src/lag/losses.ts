/**
 * The loss ledger: whatever a running deployment finds missing is written down in the partition it
 * is missing in, so that it is known days later, when nobody has the logs any more. Bounded: the
 * last thousand a partition.
 */
import { MillraceError } from '../core/errors.ts';
import { cut } from '../core/well-formed.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';

/**
 * - `entries`: entries vanished from a stream although retention did not take them (XDEL, XTRIM, a
 *   failover, a restored backup)
 * - `pending`: entries vanished while a function had them pending: dead-lettered with the reason
 *   `missing`
 * - `acknowledgement`: an entry was no longer pending when its outcome was committed; what it would
 *   have caused was not applied
 * - `group`: a consumer group was gone (FLUSHALL, failover, XGROUP DESTROY) and was made again
 *   behind the last commit
 * - `parked`: events that are counted as parked are in no list (somebody deleted it)
 * - `wedged`: a parked subject waited without a reason (see check-parked.lua); nothing was lost, it
 *   has been set free
 * - `sequence`: a producer's next flush was not the one Redis expected: it has lost flushes it had
 *   acknowledged
 * - `counts`: a count was below zero, because Redis had applied a half of a transaction (a torn
 *   append-only file); it has been set right. Or somebody else had written over a counter; it
 *   counts on from 0
 */
export type LossKind =
  'entries' | 'pending' | 'acknowledgement' | 'group' | 'parked' | 'wedged' | 'sequence' | 'counts';

export interface Loss {
  readonly kind: LossKind;
  readonly function?: string;
  readonly type?: string;
  /** Entry ids between which it lies, both included; '' where that is not known. */
  readonly from: string;
  readonly to: string;
  /**
   * Entries (of `sequence`: flushes; of `parked` and `wedged`: events), 0 where that is not known.
   */
  readonly count: number;
  /** For people. */
  readonly message: string;
}

export interface RecordedLoss extends Loss {
  readonly id: string;
  readonly partition: number;
  /** By the server's clock, in ms since 1970. */
  readonly atMs: number;
}

const KEPT = 1000;

/**
 * Best effort: where Redis takes nothing (out of memory), the log has to do. Never rejects for
 * that.
 * @returns whether it was written
 */
export async function noteLoss(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  loss: Loss,
): Promise<boolean> {
  const fields = [
    'kind',
    loss.kind,
    'function',
    loss.function ?? '',
    'type',
    loss.type ?? '',
    'from',
    loss.from,
    'to',
    loss.to,
    'count',
    loss.count,
    'message',
    cut(loss.message, 500),
  ];
  try {
    await connection.command('XADD', keys.losses(partition), 'MAXLEN', '~', KEPT, '*', ...fields);
    return true;
  } catch (error) {
    if (error instanceof MillraceError) return false;
    throw error;
  }
}

/** Oldest first over all partitions. @throws UnknownOutcomeError, RedisReplyError */
export async function readLosses(source: {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
}): Promise<RecordedLoss[]> {
  const all = await Promise.all(
    Array.from({ length: source.partitions }, async (_, partition) => {
      const entries = (await source.connection.command(
        'XRANGE',
        source.keys.losses(partition),
        '-',
        '+',
      )) as [string, string[]][];
      return entries.map(([id, flat]) => {
        const at = new Map<string, string>();
        for (let i = 0; i + 1 < flat.length; i += 2)
          at.set(flat[i] as string, flat[i + 1] as string);
        const text = (name: string): string => at.get(name) ?? '';
        return {
          id,
          partition,
          atMs: Number(id.split('-')[0]),
          kind: text('kind') as LossKind,
          ...(text('function') === '' ? {} : { function: text('function') }),
          ...(text('type') === '' ? {} : { type: text('type') }),
          from: text('from'),
          to: text('to'),
          count: Number(text('count')),
          message: text('message'),
        } satisfies RecordedLoss;
      });
    }),
  );
  return all.flat().sort((a, b) => a.atMs - b.atMs || a.partition - b.partition);
}
