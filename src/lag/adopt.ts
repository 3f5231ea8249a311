/** Counts what foreign producers appended: see docs/design.md, "Adoption". */
import { RedisReplyError } from '../core/errors.ts';
import { withRetry, type RedisConnection } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

const script = defineScript({ url: new URL('./adopt.lua', import.meta.url), keys: 2 });

/** An entry may have megabytes: a page must not hold the server up. */
const PAGE = 100;
const DEADLINE_MS = 15_000;

export interface Adopted {
  /** Foreign entries that were counted now. */
  readonly entries: number;
  /** Whether every entry of the stream is accounted for. */
  readonly even: boolean;
}

/**
 * Run before anything that relies on `appended`: lag, rewind, registering with startFrom 'end', trimming.
 * Under OOM nothing is counted, and `even` is false.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function adoptForeign(connection: RedisConnection, keys: Keys, partition: number, type: string, pageEntries = PAGE): Promise<Adopted> {
  let entries = 0;
  for (;;) {
    // A repeated page is not counted twice: the cursor has moved on.
    const call = async (): Promise<unknown> => {
      try {
        return await script.run(connection, [keys.counters(partition), keys.events(partition, type)], [type, pageEntries]);
      } catch (error) {
        if (error instanceof RedisReplyError && error.reply === 'OOM') return ['uneven', 0];
        throw error;
      }
    };
    const [kind, adopted] = (await withRetry(call, { deadlineMs: DEADLINE_MS })) as [string, number];
    entries += adopted;
    if (kind !== 'page') return { entries, even: kind === 'even' };
  }
}
