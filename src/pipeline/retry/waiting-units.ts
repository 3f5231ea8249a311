/** The parked units of a function: what heads the list of each, and what it waits for. */
import type { RedisConnection } from '../../redis/contract.ts';
import type { Keys } from '../../redis/keys.ts';
import { decodeParked } from '../../wire/parked.ts';

export interface WaitingUnit {
  /** Subject; with ordering 'none' the id of the event. */
  readonly unit: string;
  readonly partition: number;
  /** Time at which it is due, ms since 1970 by the server's clock. Null: a dead letter holds it. */
  readonly dueMs: number | null;
  readonly events: number;
  /** Null: no event waits behind the dead letter that holds the unit. */
  readonly head: WaitingHead | null;
  /** Id of the letter within its partition's dead letters. Null: none holds it. */
  readonly letter: string | null;
}

export interface WaitingHead {
  /** '': the record cannot be read. Its lane sets it aside. */
  readonly eventId: string;
  readonly attempts: number;
  /** Latest error; '': there was none. Texts of user code may quote data. */
  readonly error: string;
}

export interface WaitingUnitsOptions {
  /** Units of each partition that are looked at. Default 20. */
  readonly ofPartition?: number;
  /** Units returned. Default 50. */
  readonly most?: number;
}

/**
 * Returns units of a function, those that are due first in front, and held ones last. The cost
 * does not depend on their number.
 * @throws RedisReplyError
 */
export async function readWaitingUnits(
  source: {
    readonly connection: RedisConnection;
    readonly keys: Keys;
    readonly partitions: number;
  },
  fn: string,
  { ofPartition = 20, most = 50 }: WaitingUnitsOptions = {},
): Promise<WaitingUnit[]> {
  const { connection, keys, partitions } = source;
  const due = await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const flat = (await connection.command(
        'ZRANGE',
        keys.due(partition, fn),
        0,
        ofPartition - 1,
        'WITHSCORES',
      )) as string[];
      return Array.from({ length: flat.length / 2 }, (_, i) => ({
        partition,
        unit: flat[2 * i] as string,
        score: Number(flat[2 * i + 1] === 'inf' ? Infinity : flat[2 * i + 1]),
      }));
    }),
  );
  const first = due
    .flat()
    .sort((a, b) => a.score - b.score || (a.unit < b.unit ? -1 : 1))
    .slice(0, most);
  return Promise.all(
    first.map(async ({ partition, unit, score }): Promise<WaitingUnit> => {
      const list = keys.parked(partition, fn, unit);
      const [events, head, letter] = (await Promise.all([
        connection.command('LLEN', list),
        connection.commandBuffer('LINDEX', list, 0),
        connection.command('HGET', keys.held(partition, fn), unit),
      ])) as [number, Buffer | null, string | null];
      return {
        unit,
        partition,
        dueMs: Number.isFinite(score) ? score : null,
        events,
        head: head === null ? null : headOf(head),
        letter,
      };
    }),
  );
}

function headOf(bytes: Buffer): WaitingHead {
  try {
    const { eventId, attempts, history } = decodeParked(bytes);
    const last = history.at(-1);
    return {
      eventId,
      attempts,
      error: last === undefined ? '' : `${last.name}: ${last.message}`,
    };
  } catch {
    return { eventId: '', attempts: 0, error: '' };
  }
}
