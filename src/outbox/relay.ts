/**
 * Brings emitted events to their partitions. The relay reads the outbox of each partition in which
 * this dispatcher owns a lane, in order. It appends each entry to its target (relay.lua), then
 * takes the entry out (clear.lua).
 *
 * Exactly once: the target remembers the last outbox entry of each source. An entry may be appended
 * and not taken out, because the relay died or an answer was lost. The target recognises such an
 * entry when it comes again, from whichever relay. Several dispatchers may relay the same outbox.
 *
 * Order: events of one source and target keep the order of the outbox. An unreachable target holds
 * up its own entries only.
 *
 * Owned here, for each outbox:
 * - its known size, for the lanes that fill it,
 * - its first entry, and the time since then, for health,
 * - the time of the next look.
 */
import { monotonicMs } from '../core/clock.ts';
import { Loop, type Lifecycle } from '../core/lifecycle.ts';
import { failureLevel, type Log } from '../core/log.ts';
import { OUTBOX_LIMITS, type OutboxSize } from '../core/emitted.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { MAX_SCHEDULED } from '../core/delivery-time.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { APPEND_ENTRIES, COUNTS, SCHEDULE_EVENT } from '../redis/lua/shared.ts';
import { setRecordAside } from '../pipeline/dead/set-record-aside.ts';
import { describeEntry, readOutboxEntry, type OutboxEntry } from './outbox-entry.ts';

const relay = defineScript({
  url: new URL('./relay.lua', import.meta.url),
  with: [APPEND_ENTRIES, SCHEDULE_EVENT],
  keys: 'variable',
});
const clear = defineScript({ url: new URL('./clear.lua', import.meta.url), with: COUNTS, keys: 2 });

export interface RelayOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Number of partitions of the deployment. */
  readonly partitionCount: number;
  /** Partitions with a lane that runs here. */
  readonly partitions: () => Iterable<number>;
  /** Told of an outbox that was full and has room again. */
  readonly relieved: (partition: number) => void;
  readonly log: Log;
}

/** Interval in which all outboxes are looked at, ms, also those that no lane here has filled. */
const LOOK_MS = 1000;
/** Most outboxes read at the same time. */
const MOST_BUSY = 16;
const PAGE = 32;
/** Pause of a target after a failure, ms: the others must not wait for it again and again. */
const REST_MS = 1000;
/** Shortest time between two repeats of one alarm, ms. */
const REPEAT_MS = 60_000;
const FAILED = 'emitted events could not be relayed to another partition, trying again';

export class Relay implements Lifecycle {
  readonly #options: RelayOptions;
  readonly #rung = new Set<number>();
  readonly #busy = new Map<number, Promise<void>>();
  readonly #full = new Set<number>();
  /** Target partition -> end of its pause, by monotonicMs(). */
  readonly #resting = new Map<number, number>();
  readonly #told = new Map<string, number>();
  /** Source partition -> the first entry of its outbox, and the time since when it is first. */
  readonly #first = new Map<
    number,
    { readonly id: string; readonly sinceMs: number; readonly to: number }
  >();
  readonly #loop: Loop;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#loop = new Loop({
      pass: () => this.#look(),
      pauseMs: () => LOOK_MS,
      failed: (error) => options.log(failureLevel(error), FAILED, { err: error }),
    });
  }

  start(): void {
    this.#loop.start();
  }

  /**
   * Ends with the steps under way. Other relays, or the next start, bring the rest of the outboxes.
   */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all(this.#busy.values());
  }

  /**
   * Tells of a committed turn that emitted to other partitions.
   * @param size size of the outbox then, where it is known
   */
  ring(partition: number, size: OutboxSize | null): void {
    if (size) this.#sized(partition, size);
    this.#rung.add(partition);
    this.#pump();
  }

  /** Whether the outbox holds as much as it may. */
  isFull(partition: number): boolean {
    return this.#full.has(partition);
  }

  /**
   * Lists the outboxes whose first entry has not left for `quietMs`, though this relay looks. All
   * events for that target wait.
   */
  stalled(quietMs: number): { readonly partition: number; readonly problem: string }[] {
    const now = monotonicMs();
    return [...this.#first]
      .filter(([, { sinceMs }]) => now - sinceMs > quietMs)
      .map(([partition, { sinceMs, to }]) => ({
        partition,
        problem: `emitted events have waited in the outbox for partition ${to} for ${Math.round((now - sinceMs) / 1000)} s`,
      }));
  }

  #look(): void {
    const ours = new Set(this.#options.partitions());
    for (const partition of this.#first.keys())
      if (!ours.has(partition)) this.#first.delete(partition);
    for (const partition of ours) this.#rung.add(partition);
    this.#pump();
  }

  #pump(): void {
    for (const partition of this.#rung) {
      if (this.#loop.signal.aborted || this.#busy.size >= MOST_BUSY) return;
      if (this.#busy.has(partition)) continue;
      this.#rung.delete(partition);
      this.#busy.set(
        partition,
        this.#empty(partition).finally(() => {
          this.#busy.delete(partition);
          this.#pump();
        }),
      );
    }
  }

  async #empty(partition: number): Promise<void> {
    const now = monotonicMs();
    for (const [to, untilMs] of this.#resting) if (untilMs <= now) this.#resting.delete(to);
    const failed = new Set(this.#resting.keys());
    try {
      for (let from = '-'; !this.#loop.signal.aborted;) {
        const { entries: page, last, full } = await this.#read(partition, from);
        const byTarget = new Map<number, OutboxEntry[]>();
        for (const entry of page) {
          const entries = byTarget.get(entry.to);
          if (entries) entries.push(entry);
          else if (!failed.has(entry.to)) byTarget.set(entry.to, [entry]);
        }
        const relayed = (
          await Promise.all(
            [...byTarget].map(([to, entries]) => this.#send(partition, to, entries, failed)),
          )
        ).flat();
        if (from === '-')
          this.#noteFirst(
            partition,
            page.find((entry) => !relayed.includes(entry)),
          );
        // The call is made also with nothing to take out: the lanes wait for the size.
        if (relayed.length > 0 || this.#full.has(partition)) await this.#clear(partition, relayed);
        if (!full) return;
        from = `(${last}`;
      }
    } catch (error) {
      this.#failed(error, { partition });
    }
  }

  #noteFirst(partition: number, first: OutboxEntry | undefined): void {
    if (!first) this.#first.delete(partition);
    else if (this.#first.get(partition)?.id !== first.id)
      this.#first.set(partition, { id: first.id, to: first.to, sinceMs: monotonicMs() });
  }

  /** Reads a page. Unreadable entries are set aside, so that nothing waits for them. */
  async #read(
    partition: number,
    from: string,
  ): Promise<{ entries: OutboxEntry[]; last: string; full: boolean }> {
    const { connection, keys, partitionCount } = this.#options;
    const page = (await connection.commandBuffer(
      'XRANGE',
      keys.outbox(partition),
      from,
      '+',
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    const entries: OutboxEntry[] = [];
    for (const entry of page) {
      try {
        entries.push(readOutboxEntry(entry, partitionCount));
      } catch (error) {
        if (!(error instanceof CorruptDataError)) throw error;
        await setRecordAside(this.#options, {
          store: 'outbox',
          partition,
          eventId: '',
          record: Buffer.alloc(0),
          problem: error.message,
          ...describeEntry(entry),
        });
      }
    }
    return { entries, last: page.at(-1)?.[0].toString() ?? '', full: page.length === PAGE };
  }

  /**
   * Sends entries of one source to one target.
   * @returns the entries that are at their target now
   */
  async #send(
    source: number,
    to: number,
    entries: readonly OutboxEntry[],
    failed: Set<number>,
  ): Promise<readonly OutboxEntry[]> {
    const { connection, keys } = this.#options;
    const types = [...new Set(entries.flatMap((entry) => entry.parts.map((part) => part.type)))];
    const args: (string | number | Buffer)[] = [
      source,
      MAX_SCHEDULED,
      types.length,
      entries.length,
      ...types,
    ];
    for (const { id, parts, scheduled } of entries) {
      args.push(id, parts.length);
      for (const part of parts)
        args.push(types.indexOf(part.type) + 1, part.count, part.crc, part.bytes);
      args.push(scheduled.length);
      for (const event of scheduled) args.push(event.id, event.dueMs, event.type, event.bytes);
    }
    try {
      const [here, why] = (await relay.run(
        connection,
        [
          keys.relayed(to),
          keys.clock(to),
          keys.counters(to),
          keys.scheduled(to),
          keys.scheduledEvents(to),
          ...types.map((type) => keys.events(to, type)),
        ],
        args,
      )) as [number, string, number];
      if (why !== '')
        this.#rest(
          to,
          why === 'full' ? `partition ${to} holds as many scheduled events as it may` : why,
          source,
          failed,
        );
      return entries.slice(0, here);
    } catch (error) {
      // The entries may have been appended: the next attempt will tell.
      this.#rest(to, error, source, failed);
      return [];
    }
  }

  /** Pauses a target. No later entry may be sent before the failed one. */
  #rest(to: number, why: unknown, source: number, failed: Set<number>): void {
    failed.add(to);
    this.#resting.set(to, monotonicMs() + REST_MS);
    this.#failed(why, { partition: source, to });
  }

  async #clear(partition: number, relayed: readonly OutboxEntry[]): Promise<void> {
    const { connection, keys } = this.#options;
    const [entries, bytes] = (await clear.run(
      connection,
      [keys.outbox(partition), keys.counters(partition)],
      relayed.flatMap((entry) => [entry.id, entry.bytes]),
    )) as [number, number];
    this.#sized(partition, { entries, bytes });
  }

  #sized(partition: number, { entries, bytes }: OutboxSize): void {
    // An outbox counts as full until it is half empty, so that the next turn does not fill it
    // again.
    if (this.#full.has(partition)) {
      if (entries > OUTBOX_LIMITS.entries / 2 || bytes > OUTBOX_LIMITS.bytes / 2) return;
      this.#full.delete(partition);
      this.#options.log('info', 'the outbox has room again: the lanes that emit read on', {
        partition,
        entries,
      });
      this.#options.relieved(partition);
    } else if (entries >= OUTBOX_LIMITS.entries || bytes >= OUTBOX_LIMITS.bytes) {
      this.#full.add(partition);
      this.#options.log(
        'error',
        'the outbox is full: lanes that emit to other partitions read nothing new until there is room',
        {
          partition,
          entries,
          bytes,
          limitEntries: OUTBOX_LIMITS.entries,
          limitBytes: OUTBOX_LIMITS.bytes,
        },
      );
    }
  }

  #failed(error: unknown, fields: { readonly partition: number; readonly to?: number }): void {
    if (this.#loop.signal.aborted) return;
    const key = fields.to === undefined ? `from ${fields.partition}` : `to ${fields.to}`;
    const now = monotonicMs();
    if (now - (this.#told.get(key) ?? -Infinity) < REPEAT_MS) return;
    this.#told.set(key, now);
    this.#options.log(failureLevel(error), FAILED, { ...fields, err: error });
  }
}
