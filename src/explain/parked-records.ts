import type { RedisSpace } from '../redis/source.ts';
import { isWrongType } from '../pipeline/retry/set-aside.ts';
import { decodeParked, type ParkedRecord } from '../wire/parked.ts';
import type { Unseen } from './unseen.ts';

/** Records read at once, and most records read of a unit. */
const PAGE = 32;
const MOST = 10_000;

/**
 * Reads the parked records of a unit with their places in its list. Leaves unreadable ones out, and
 * notes them in `unseen`.
 */
export async function* parkedRecords(
  source: RedisSpace,
  partition: number,
  fn: string,
  unit: string,
  unseen: Unseen,
): AsyncGenerator<{ record: ParkedRecord; place: number }> {
  const key = source.keys.parked(partition, fn, unit);
  let from = 0;
  for (; from < MOST; from += PAGE) {
    let page: Buffer[];
    try {
      page = (await source.connection.commandBuffer(
        'LRANGE',
        key,
        from,
        from + PAGE - 1,
      )) as Buffer[];
    } catch (error) {
      if (!isWrongType(error)) throw error;
      // The lane sets the key aside when it is due.
      unseen.unreadable({ fn, partition }, 'parked list');
      return;
    }
    for (const [i, bytes] of page.entries()) {
      let record: ParkedRecord;
      try {
        record = decodeParked(bytes);
      } catch {
        // The lane sets the record aside when it is due.
        unseen.unreadable({ fn, partition }, 'parked record');
        continue;
      }
      yield { record, place: from + i };
    }
    if (page.length < PAGE) return;
  }
  const all = Number(await source.connection.command('LLEN', key));
  unseen.note({ fn, partition }, from, all, 'parked records of one subject');
}
