/**
 * Effects of events that are in no stream yet: in an outbox, or in a schedule. Reads only, in
 * bounded pages.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { CAUSATION } from '../core/emitted.ts';
import { emittedEventId, emittedIdPrefix } from '../core/emitted-ids.ts';
import { readOutboxEntry } from '../outbox/outbox-entry.ts';
import type { RegisteredFunction } from '../redis/counters.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { parseScheduled } from '../upkeep/scheduled-events.ts';
import { readEvent, walkBatch } from '../wire/batch-reader.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { TracedEvent, PendingPlace } from './event-tree.ts';
import type { RedisShare } from './redis-share.ts';

/** A cause, with the functions that read its type. */
export interface CauseOfEffects {
  readonly event: TracedEvent;
  readonly functions: readonly RegisteredFunction[];
}

/** Entries of an outbox read at once, and most of them. */
const PAGE = 32;
const MOST_ENTRIES = 512;
/** Emitted ids that are tried for a cause and a function, and most over all partitions. */
const TRIED = 8;
const MOST_LOOKUPS = 20_000;

export class PendingEffects {
  readonly found: TracedEvent[] = [];
  /** Places that were not looked at to their ends, one sentence each. */
  readonly notes: string[] = [];
  readonly #source: RedisSource;
  readonly #causes: ReadonlyMap<string, CauseOfEffects>;
  readonly #share: RedisShare;

  /** @param causes by event id */
  constructor(source: RedisSource, causes: ReadonlyMap<string, CauseOfEffects>, share: RedisShare) {
    this.#source = source;
    this.#causes = causes;
    this.#share = share;
  }

  async find(): Promise<void> {
    // A function emits in the partition of the cause. Its outbox has the events for others.
    const partitions = new Set([...this.#causes.values()].map(({ event }) => event.partition));
    for (const partition of partitions) await this.#readOutbox(partition);
    await this.#readSchedules();
  }

  async #readOutbox(partition: number): Promise<void> {
    const { connection, keys } = this.#source;
    let from = '-';
    for (let read = 0; read < MOST_ENTRIES; read += PAGE) {
      const page = (await this.#share.spend(1, () =>
        connection.commandBuffer('XRANGE', keys.outbox(partition), from, '+', 'COUNT', PAGE),
      )) as [Buffer, Buffer[]][];
      for (const entry of page) {
        from = `(${entry[0].toString('latin1')}`;
        this.#readFlush(partition, entry);
      }
      if (page.length < PAGE) return;
    }
    this.notes.push(
      `The outbox of partition ${partition} has more than ${MOST_ENTRIES} entries: the rest was not looked at`,
    );
  }

  /** Reads a flush of an outbox. The relay sets an unreadable one aside. */
  #readFlush(partition: number, entry: [Buffer, Buffer[]]): void {
    try {
      const { to, parts, scheduled } = readOutboxEntry(entry);
      for (const { type, bytes } of parts)
        walkBatch(bytes, (header) => this.#note(header, type, to, { kind: 'outbox', dueMs: null }));
      for (const { type, dueMs, bytes } of scheduled)
        this.#note(readEvent(bytes), type, to, { kind: 'outbox', dueMs });
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      this.notes.push(`The outbox of partition ${partition} has an unreadable entry`);
    }
  }

  /** A schedule is a hash by event id. The ids that functions give by default are known. */
  async #readSchedules(): Promise<void> {
    const partitions = partitionsOf(this.#source);
    const ids = [...this.#causes].flatMap(([id, { functions }]) =>
      functions.flatMap(({ name }) => {
        const prefix = emittedIdPrefix(id, name);
        return Array.from({ length: TRIED }, (_, i) => emittedEventId(prefix, i));
      }),
    );
    const asked = ids.slice(0, Math.floor(MOST_LOOKUPS / partitions.length));
    if (asked.length < ids.length)
      this.notes.push(
        'The tree is large: scheduled effects of its later events were not looked for',
      );
    if (asked.length === 0) return;
    for (const partition of partitions) await this.#readSchedule(partition, asked);
  }

  async #readSchedule(partition: number, ids: readonly string[]): Promise<void> {
    const { connection, keys } = this.#source;
    const records = (await this.#share.spend(1, () =>
      connection.commandBuffer('HMGET', keys.scheduledEvents(partition), ...ids),
    )) as (Buffer | null)[];
    for (const record of records) {
      if (record === null) continue;
      try {
        const { dueMs, type, bytes } = parseScheduled(record);
        this.#note(readEvent(bytes), type, partition, { kind: 'schedule', dueMs });
      } catch (error) {
        if (!(error instanceof CorruptDataError)) throw error;
        this.notes.push(`The schedule of partition ${partition} has an unreadable record`);
      }
    }
  }

  /** Notes an event that one of the causes has emitted. */
  #note(header: EventHeader, type: string, partition: number, waits: PendingPlace): void {
    const { id, subject, source, timeMs, extensions } = header;
    const cause = extensions?.[CAUSATION.cause] || null;
    if (cause === null || !this.#causes.has(cause)) return;
    this.found.push({
      id,
      type,
      subject,
      source,
      partition,
      where: null,
      publishedMs: timeMs > 0 ? timeMs : null,
      appendedMs: null,
      cause,
      waits,
    });
  }
}
