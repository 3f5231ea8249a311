/** Looks at a bounded sample of the server's keys. */
import type { RedisSpace } from '../redis/source.ts';

/** Keys that the search looks at, of each master. */
const SCANNED = { pages: 20, keys: 1000 } as const;

/**
 * Finds keys that match, page by page.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function* sampleKeys(
  { connection }: RedisSpace,
  pattern: string,
): AsyncIterable<readonly string[]> {
  if (connection.isCluster) {
    // A command without a key goes to any node of a Cluster, so the cursors of nodes would mix.
    const count = SCANNED.pages * SCANNED.keys;
    const ask = ['SCAN', '0', 'MATCH', pattern, 'COUNT', count] as const;
    for (const { reply } of await connection.commandOnMasters(...ask))
      yield (reply as [string, string[]])[1];
    return;
  }
  let cursor = '0';
  for (let page = 0; page < SCANNED.pages; page++) {
    const ask = ['SCAN', cursor, 'MATCH', pattern, 'COUNT', SCANNED.keys] as const;
    const [next, names] = (await connection.command(...ask)) as [string, string[]];
    yield names;
    cursor = next;
    if (cursor === '0') return;
  }
}
