/** Measures how long the lanes of a dead dispatcher wait, and computes the promised bound. */
import { monotonicMs, sleep } from '../core/clock.ts';
import type { RedisSource } from '../redis/source.ts';

/** The bound of docs/guarantees.md: TTL + check, with check = min(1 s, TTL / 4). */
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
    // A free lane is not taken over: another dispatcher has to own it.
    if (owners.every((owner) => typeof owner === 'string' && !owner.startsWith(`${victim}:`)))
      return Math.round(monotonicMs() - beganMs);
    if (monotonicMs() - beganMs > giveUpMs) return null;
    await sleep(15);
  }
}
