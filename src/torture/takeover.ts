/** How long the lanes of a dispatcher that died wait, and what is promised. */
import { monotonicMs, sleep } from '../core/clock.ts';
import type { RedisSource } from '../redis/source.ts';

/** docs/guarantees.md: within TTL + check, check = min(1 s, TTL / 4). */
export function takeoverBoundMs(leaseMs: number): number {
  return leaseMs + Math.min(1000, leaseMs / 4);
}

/**
 * @returns ms until every lane is leased by somebody else than the victim; null where that takes
 *   more than `giveUpMs`
 */
export async function measureTakeover(
  { connection, keys, partitions }: RedisSource,
  functions: readonly string[],
  victim: string,
  giveUpMs: number,
): Promise<number | null> {
  const leases = functions.flatMap((fn) =>
    Array.from({ length: partitions }, (_, partition) => keys.lease(partition, fn)),
  );
  const beganMs = monotonicMs();
  for (;;) {
    const owners = await Promise.all(
      leases.map((key) => connection.command('GET', key).catch(() => null)),
    );
    // Free is not taken: somebody else has to own it.
    if (owners.every((owner) => typeof owner === 'string' && !owner.startsWith(`${victim}:`)))
      return Math.round(monotonicMs() - beganMs);
    if (monotonicMs() - beganMs > giveUpMs) return null;
    await sleep(15);
  }
}
