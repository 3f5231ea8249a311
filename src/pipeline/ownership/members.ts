/** The members of a function: the dispatchers that serve it. Also assigns lanes to them. */
import { createHash } from 'node:crypto';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';

const members = defineScript({ url: new URL('./members.lua', import.meta.url), keys: 1 });

/** Notes that the dispatcher serves the function. @returns all that do now, this one included */
export async function announceMember(
  connection: RedisConnection,
  keys: Keys,
  fn: string,
  dispatcher: string,
  ttlMs: number,
): Promise<string[]> {
  return (await members.run(connection, [keys.members(fn)], [dispatcher, ttlMs])) as string[];
}

export async function removeMember(
  connection: RedisConnection,
  keys: Keys,
  fn: string,
  dispatcher: string,
): Promise<void> {
  await members.run(connection, [keys.members(fn)], [dispatcher, 0]);
}

/**
 * Assigns the lanes of a function to its members. All who know the same members come to the same
 * answer. Each of n members gets floor(P / n) of P lanes, or one more.
 *
 * The weights are those of the partition, for all functions alike. So the lanes of a partition
 * prefer one dispatcher, where they share reads and commits. Only the members with one lane more
 * differ by function, or the same members would have one more of each.
 *
 * A lane goes to the member with the highest weight that still has room. So most lanes stay where
 * they are when members come and go. This is rendezvous hashing (Thaler, Ravishankar, "Using
 * name-based mappings to increase hit rates", 1998).
 *
 * @returns a member per partition; empty without members
 */
export function assignLanes(
  fn: string,
  partitions: number,
  dispatchers: readonly string[],
): string[] {
  if (dispatchers.length === 0) return [];
  const weigh = (text: string): number => createHash('sha1').update(text).digest().readUInt32BE(0);
  const all = dispatchers
    .map((id) => ({ id, rank: weigh(`${fn}/${id}`), room: 0 }))
    .sort((a, b) => b.rank - a.rank || (a.id < b.id ? -1 : 1));
  const least = Math.floor(partitions / all.length);
  all.forEach((member, i) => (member.room = least + (i < partitions % all.length ? 1 : 0)));
  return Array.from({ length: partitions }, (_, partition) => {
    let best: (typeof all)[number] | null = null;
    let bestWeight = -1;
    for (const member of all) {
      if (member.room === 0) continue;
      const weight = weigh(`${partition}/${member.id}`);
      if (weight > bestWeight) {
        best = member;
        bestWeight = weight;
      }
    }
    const chosen = best as (typeof all)[number];
    chosen.room--;
    return chosen.id;
  });
}
