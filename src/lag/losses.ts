/**
 * The loss ledger: a running deployment writes down all that it finds missing, in the partition
 * concerned. The ledger still has it days later, when the logs are gone. It keeps the last thousand
 * losses of a partition.
 */
import { MillraceError } from '../core/errors/millrace-error.ts';
import { cut } from '../core/well-formed.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';

/**
 * - `entries`: entries vanished from a stream although retention did not take them (XDEL, XTRIM, a
 *   failover, a restored backup).
 * - `pending`: entries vanished while they were pending for a function. They are dead-lettered with
 *   the reason `missing`.
 * - `acknowledgement`: an entry was no longer pending when its outcome was committed. Its effects
 *   were not applied.
 * - `commit`: a lane's last commit or one of its records was gone (power loss, failover, deleted
 *   list). The lane started over from the data in Redis, so events may have run again.
 * - `group`: a consumer group was gone (FLUSHALL, failover, XGROUP DESTROY). It was made again
 *   behind the last commit.
 * - `parked`: events that are counted as parked are in no list, because another program deleted it.
 * - `wedged`: a parked subject waited without a reason (see check-parked.lua). Nothing was lost; it
 *   has been set free.
 * - `sequence`: a producer's next flush was not the expected one. Redis has lost flushes that it
 *   had acknowledged.
 * - `counts`: a count was below zero, because Redis had applied a transaction in part (a torn
 *   append-only file), or another program had changed it. It has been set right. Or another program
 *   had overwritten a counter, which counts on from 0.
 */
export type LossKind =
  | 'entries'
  | 'pending'
  | 'acknowledgement'
  | 'commit'
  | 'group'
  | 'parked'
  | 'wedged'
  | 'sequence'
  | 'counts';

export interface Loss {
  readonly kind: LossKind;
  readonly function?: string;
  readonly type?: string;
  /** First and last entry id of the range, both included; '' where they are not known. */
  readonly from: string;
  readonly to: string;
  /**
   * Number of entries, 0 where it is not known. `sequence` counts flushes; `parked` and `wedged`
   * count events.
   */
  readonly count: number;
  /** Text for people. */
  readonly message: string;
}

export interface RecordedLoss extends Loss {
  readonly id: string;
  readonly partition: number;
  /** Time of the loss by the server's clock, ms since 1970. */
  readonly atMs: number;
}

const KEPT = 1000;

/**
 * Writes a loss down, best effort: where Redis takes no writes (out of memory), only the log has
 * it. Never rejects for that.
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

/**
 * Lists the losses of all partitions, the oldest first.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readLosses(source: RedisSource): Promise<RecordedLoss[]> {
  const all = await Promise.all(
    partitionsOf(source).map(async (partition) => {
      const entries = (await source.connection.command(
        'XRANGE',
        source.keys.losses(partition),
        '-',
        '+',
      )) as Entry[];
      return entries.map((entry) => lossOf(partition, entry));
    }),
  );
  return inOrder(all.flat());
}

/** Losses behind a place in each partition. */
export interface LossesAfter {
  /** Oldest first. */
  readonly losses: readonly RecordedLoss[];
  /** By partition: id of the last loss that was read, the next place. */
  readonly last: readonly string[];
}

/**
 * Lists the losses behind a place in each partition.
 * @param after by partition: id of a loss. Only the place of the last loss is wanted of a partition
 *   without an id
 * @param most most losses that are read of a partition
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function readLossesAfter(
  { connection, keys, partitions }: RedisSource,
  after: readonly string[],
  most: number,
): Promise<LossesAfter> {
  const all = await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const from = after[partition];
      const key = keys.losses(partition);
      const entries = (await (from === undefined
        ? connection.command('XREVRANGE', key, '+', '-', 'COUNT', 1)
        : connection.command('XRANGE', key, `(${from}`, '+', 'COUNT', most))) as Entry[];
      return {
        losses: from === undefined ? [] : entries.map((entry) => lossOf(partition, entry)),
        last: entries.at(-1)?.[0] ?? from ?? '0-0',
      };
    }),
  );
  return {
    losses: inOrder(all.flatMap(({ losses }) => losses)),
    last: all.map(({ last }) => last),
  };
}

type Entry = [id: string, flat: string[]];

function lossOf(partition: number, [id, flat]: Entry): RecordedLoss {
  const at = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) at.set(flat[i] as string, flat[i + 1] as string);
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
  };
}

function inOrder(losses: readonly RecordedLoss[]): RecordedLoss[] {
  return [...losses].sort((a, b) => a.atMs - b.atMs || a.partition - b.partition);
}
