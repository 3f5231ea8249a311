/** Counts the events of foreign producers: see docs/design.md, "Adoption". */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { noteLoss } from './losses.ts';
import { defineScript } from '../redis/script.ts';
import { ENTRIES } from '../redis/lua/shared.ts';

const script = defineScript({
  with: ENTRIES,
  url: new URL('./adopt.lua', import.meta.url),
  keys: 2,
});

const gap = defineScript({
  with: ENTRIES,
  url: new URL('./find-gap.lua', import.meta.url),
  keys: 2,
});

/** Entries of a page. An entry may have megabytes, and a page must not hold the server up. */
const PAGE = 100;
/** Pages searched for a loss. A loss further back is told without the beginning of its range. */
const GAP_PAGES = 200;

export interface Adopted {
  /** Foreign entries counted by this call. */
  readonly entries: number;
  /** Whether every entry of the stream is accounted for. */
  readonly even: boolean;
  /** Entries that have vanished since the last call; the loss ledger has them now. */
  readonly lost: number;
}

/**
 * Run this before anything that relies on `appended`: lag, rewind, registering with startFrom
 * 'end', trimming. Under OOM nothing is counted, and `even` is false.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function adoptForeign(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  type: string,
  pageEntries = PAGE,
): Promise<Adopted> {
  let entries = 0;
  for (;;) {
    // A repeated page is not counted twice, because the cursor has moved on.
    const call = async (): Promise<unknown> => {
      try {
        return await script.run(
          connection,
          [keys.counters(partition), keys.events(partition, type)],
          [type, pageEntries],
        );
      } catch (error) {
        if (error instanceof RedisReplyError && error.reply === 'OOM') return ['uneven', 0, 0];
        throw error;
      }
    };
    const [kind, adopted, lost] = (await withRetry(call, { deadlineMs: DEADLINE_MS })) as [
      string,
      number,
      number,
    ];
    entries += adopted;
    if (lost > 0) {
      const range = await findGap(connection, keys, partition, type);
      await noteLoss(connection, keys, partition, {
        kind: 'entries',
        type,
        ...range,
        count: lost,
        message: `${lost} entries of the stream have vanished although retention did not take them`,
      });
    }
    if (kind !== 'page') return { entries, even: kind === 'even', lost };
  }
}

/**
 * Finds the entries around a gap, by their ordinals. Where the ordinals do not tell, the gap is the
 * whole stream.
 */
async function findGap(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  type: string,
): Promise<{ from: string; to: string }> {
  let cursor = '';
  let ordinal = '';
  for (let page = 0; page < GAP_PAGES; page++) {
    const reply = (await withRetry(
      () =>
        gap.run(
          connection,
          [keys.counters(partition), keys.events(partition, type)],
          [type, cursor, ordinal, PAGE],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as [string, string, string];
    if (reply[0] === 'gap') return { from: reply[1], to: reply[2] };
    if (reply[0] === 'end') return { from: reply[1], to: '' };
    [, cursor, ordinal] = reply;
  }
  return { from: cursor, to: '' };
}
