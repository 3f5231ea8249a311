/**
 * One call of schedule.lua: puts events away to be appended later. src/upkeep/scheduler.ts appends
 * them when they are due.
 */
import { ScheduleFullError } from '../../core/errors/append-errors.ts';
import { MAX_SCHEDULED, type DeliveryTime } from '../../core/delivery-time.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/contract.ts';
import { withRetry, type RefusedWrites } from '../../redis/retry.ts';
import { defineScript } from '../../redis/script.ts';
import { APPEND_ENTRIES, SCHEDULE_EVENT } from '../../redis/lua/shared.ts';

const script = defineScript({
  url: new URL('./schedule.lua', import.meta.url),
  with: [APPEND_ENTRIES, SCHEDULE_EVENT],
  keys: 4,
});

export interface ScheduledItem {
  readonly id: string;
  readonly type: string;
  readonly when: DeliveryTime;
  /** The Event message. */
  readonly bytes: Buffer;
}

export interface ScheduleOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Name of this call. A call sent again under the same name changes nothing. */
  readonly call: string;
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
  /** See RetryOptions. */
  readonly refusedWrites: RefusedWrites;
}

/**
 * Schedules events of one partition.
 * @returns per item its due time, and whether an event with this id was scheduled already
 * @throws ScheduleFullError, UnknownOutcomeError after the deadline, RedisReplyError
 */
export async function scheduleEvents(
  partition: number,
  items: readonly ScheduledItem[],
  options: ScheduleOptions,
): Promise<{ dueMs: number; repeated: boolean }[]> {
  const { connection, keys, signal, deadlineMs, refusedWrites } = options;
  const args: (string | number | Buffer)[] = [deadlineMs * 2 + 60_000, MAX_SCHEDULED];
  for (const { id, type, when, bytes } of items)
    args.push(id, when.kind === 'delay' ? 1 : 0, when.ms, type, bytes);
  const callKey = keys.producer(partition, `schedule.${options.call}`);
  let attempts = 0;
  const reply = (await withRetry(
    (attempt, untilMs) => {
      attempts = attempt;
      return script.run(
        connection.until(untilMs),
        [
          callKey,
          keys.scheduled(partition),
          keys.scheduledEvents(partition),
          keys.counters(partition),
        ],
        args,
      );
    },
    { signal, deadlineMs, minDelayMs: 20, maxDelayMs: 1000, refusedWrites },
  )) as string[];
  // A call that was answered at its only sending never comes again. Otherwise a sending that was
  // thought lost may still arrive, and must find its key.
  if (attempts === 1) connection.command('DEL', callKey).catch(() => undefined);
  if (reply[0] === 'full') throw new ScheduleFullError(partition, MAX_SCHEDULED);
  return items.map((_, i) => ({
    dueMs: Number(reply[1 + 2 * i]),
    repeated: reply[2 + 2 * i] === '1',
  }));
}
