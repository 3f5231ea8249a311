/** Publishes events for later: puts them away with one call of schedule.lua per partition. */
import type { DeliveryTime } from '../../core/delivery-time.ts';
import type { PayloadArena } from '../../wire/payload-arena.ts';
import type { EncodedEvent } from './encoded-event.ts';
import { refusedWritesOf, type PublisherParts } from './publisher-parts.ts';
import { scheduleEvents, type ScheduledItem } from './schedule.ts';
import { verifyDeployment } from './verify-deployment.ts';

export class ScheduledPublishing {
  readonly #parts: PublisherParts;
  readonly #idPrefix: string;
  readonly #signal: AbortSignal;
  readonly #underWay = new Set<Promise<unknown>>();
  #calls = 0;

  /** @param idPrefix beginning of the calls' names */
  constructor(parts: PublisherParts, idPrefix: string, signal: AbortSignal) {
    this.#parts = parts;
    this.#idPrefix = idPrefix;
    this.#signal = signal;
  }

  /**
   * Schedules the events that are for later, and notes in each when it is due. Their bytes are
   * copied from the arena before this returns. An id that waits already is not scheduled twice.
   * Ids that were appended (dedupe_ms) are not looked at.
   */
  async put(encoded: readonly EncodedEvent[], arena: PayloadArena): Promise<void> {
    const byPartition = new Map<number, EncodedEvent[]>();
    for (const event of encoded) {
      if (event.when === null) continue;
      const events = byPartition.get(event.partition);
      if (events) events.push(event);
      else byPartition.set(event.partition, [event]);
    }
    const put = Promise.all(
      Array.from(byPartition, ([partition, events]) =>
        this.#schedule(
          partition,
          events,
          events.map((event) => itemOf(event, arena)),
        ),
      ),
    );
    this.#underWay.add(put);
    try {
      await put;
    } finally {
      this.#underWay.delete(put);
    }
  }

  /** Resolves when no call is under way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #schedule(
    partition: number,
    events: readonly EncodedEvent[],
    items: readonly ScheduledItem[],
  ): Promise<void> {
    const { connection, keys, settings, verify } = this.#parts;
    const { deadlineMs } = settings;
    const call = `${this.#idPrefix}.${(this.#calls++).toString(36)}`;
    await verifyDeployment(verify, this.#signal, deadlineMs);
    const answers = await scheduleEvents(partition, items, {
      connection,
      keys,
      call,
      signal: this.#signal,
      deadlineMs,
      refusedWrites: refusedWritesOf(settings),
    });
    answers.forEach(({ dueMs, repeated }, i) => {
      const event = events[i] as EncodedEvent;
      event.scheduledMs = dueMs;
      if (repeated) event.duplicate = true;
    });
  }
}

function itemOf({ id, type, when, start, end }: EncodedEvent, arena: PayloadArena): ScheduledItem {
  const bytes = Buffer.from(arena.buffer.subarray(start, end));
  return { id, type, when: when as DeliveryTime, bytes };
}
