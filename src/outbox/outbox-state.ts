/** The contents of the outboxes: emitted events that have not reached their partition yet. */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { entryIdTime } from '../core/position.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { defineScript } from '../redis/script.ts';
import { COUNTS } from '../redis/lua/shared.ts';

const script = defineScript({
  url: new URL('./outbox-state.lua', import.meta.url),
  with: COUNTS,
  keys: 2,
  readOnly: true,
});

export interface OutboxTarget {
  readonly partition: number;
  readonly entries: number;
  readonly events: number;
  readonly oldestMs: number;
}

export interface OutboxState {
  /** Partition of the functions that emitted. */
  readonly partition: number;
  /** Flushes that wait. */
  readonly entries: number;
  readonly bytes: number;
  /** Age of the oldest entry by the server's clock, ms; null: nothing waits. */
  readonly oldestMs: number | null;
  /** The oldest 1,024 entries, by their target partition. */
  readonly targets: readonly OutboxTarget[];
}

const MOST_ENTRIES = 1024;

/**
 * Reads the outboxes of all partitions together, with one script each.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export function readOutboxes(source: RedisSource): Promise<OutboxState[]> {
  const { connection, keys } = source;
  return Promise.all(
    partitionsOf(source).map(async (partition) => {
      const reply = (await withRetry(
        () =>
          script.run(
            connection,
            [keys.outbox(partition), keys.counters(partition)],
            [MOST_ENTRIES],
          ),
        { deadlineMs: DEADLINE_MS },
      )) as (string | number)[];
      const [now, entries, bytes, oldest] = reply as [string, number, number, string];
      const age = (id: string): number => Math.max(0, Number(now) - entryIdTime(id));
      const targets: OutboxTarget[] = [];
      for (let i = 5; i + 3 < reply.length; i += 4) {
        targets.push({
          partition: Number(reply[i]),
          entries: Number(reply[i + 1]),
          events: Number(reply[i + 2]),
          oldestMs: age(String(reply[i + 3])),
        });
      }
      return {
        partition,
        entries: Number(entries),
        bytes: Number(bytes),
        oldestMs: oldest === '' ? null : age(oldest),
        targets: targets.sort((a, b) => a.partition - b.partition),
      };
    }),
  );
}
