/**
 * publish: check and encode once, in the caller's process → per-partition buffer → append script.
 *
 * The files of this folder, in the order of an event's way: wire/event-encoder.ts, relief.ts,
 * room-line.ts, flushes.ts with open-flush.ts, partition-sender.ts, append.ts. Events for later go
 * by publish-scheduled.ts instead.
 */
import { randomBytes } from 'node:crypto';
import type { InspectOptions } from 'node:util';
import { wallClockMs } from '../../core/clock.ts';
import { BackpressureError, ClosedError, type Pressure } from '../../core/errors.ts';
import { PUBLISH_ITEM } from '../../core/known-options.ts';
import { partitionOf } from '../../core/partition.ts';
import { sharedAbort } from '../../core/shared-signal.ts';
import { INSPECT, shown } from '../../core/shown.ts';
import type { EventTypeName } from '../../define/function-event.ts';
import type { PublishData } from '../../define/publish-data.ts';
import { EventEncoder } from '../../wire/event-encoder.ts';
import type { PayloadArena } from '../../wire/payload-arena.ts';
import { EncodedEvent, publishedOf } from './encoded-event.ts';
import { Flushes } from './flushes.ts';
import type { OpenFlush } from './open-flush.ts';
import { PressureGauge } from './pressure.ts';
import { ScheduledPublishing } from './publish-scheduled.ts';
import type { AnyType, Published, PublishItem, PublishOptions } from './publish-item.ts';
import type { PublisherParts } from './publisher-parts.ts';
import { Relief } from './relief.ts';
import { RoomLine } from './room-line.ts';

export type { Published, PublishItem, PublishOptions } from './publish-item.ts';
export {
  DEFAULT_PUBLISHER,
  type PublisherParts,
  type PublisherSettings,
} from './publisher-parts.ts';

/** A full buffer is worth another try after this. */
const BUFFER_RETRY_MS = 100;
/** Encoders kept for later calls. */
const SPARE_ENCODERS = 4;

export class Publisher {
  readonly #parts: PublisherParts;
  /** No dash in front: ids are typed on command lines. */
  readonly #idPrefix = randomBytes(8).toString('hex');
  readonly #stop = sharedAbort();
  /** Of calls that are over, for the next ones. */
  readonly #encoders: EventEncoder[] = [];
  readonly #gauge = new PressureGauge();
  readonly #relief: Relief;
  readonly #line = new RoomLine();
  readonly #flushes: Flushes;
  readonly #scheduled: ScheduledPublishing;
  #nextId = 0;
  #closed = false;

  constructor(parts: PublisherParts) {
    const idPrefix = this.#idPrefix;
    const { signal } = this.#stop;
    this.#parts = parts;
    this.#relief = new Relief(this.#gauge, parts.settings);
    this.#scheduled = new ScheduledPublishing(parts, idPrefix, signal);
    this.#flushes = new Flushes({
      publisher: parts,
      idPrefix,
      signal,
      gauge: this.#gauge,
      left: () => this.#line.wake(),
    });
  }

  /** Bytes accepted and not yet appended. */
  get bufferedBytes(): number {
    return this.#flushes.bytes;
  }

  /** Why events are held back or refused now, and when to try again. Empty: they are not. */
  get pressure(): readonly Pressure[] {
    const full = this.bufferedBytes >= this.#parts.settings.bufferBytes;
    return [...(full ? [this.#bufferPressure] : []), ...this.#gauge.list()];
  }

  /**
   * Publishes one event. Resolves when Redis has it with the durability asked for.
   *
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the
   *   limit): nothing was sent
   * @throws BackpressureError: it was not sent. With `whenFull: 'reject'` at once, with `wait`
   *   after `deadlineMs` of waiting for a function that is too far behind, or for a server that is
   *   out of memory
   * @throws ScheduleFullError: too many scheduled events wait; nothing was scheduled in that
   *   partition
   * @throws SchemaNotRegisteredError: Redis lost the schema registry, and what is registered now
   *   contradicts the type's schema
   * @throws ProducerGapError: Redis lost acknowledged flushes; this event was not appended
   * @throws DurabilityError, UnknownOutcomeError: it may have been appended
   * @throws ClosedError
   */
  async publish<T extends EventTypeName>(
    type: T,
    data: PublishData<T>,
    options?: PublishOptions,
  ): Promise<Published>;
  async publish<T extends string>(
    type: AnyType<T>,
    data: unknown,
    options?: PublishOptions,
  ): Promise<Published>;
  async publish(type: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    const [published] = await this.publishMany([{ type, data, ...options }]);
    return published as Published;
  }

  /**
   * Publishes events; those of one partition keep their order, and those of one call for one
   * partition that fit one flush are appended together. Everything is checked before anything is
   * sent.
   *
   * @throws as publish; `InvalidEventError.path` etc. speak of the first bad event
   */
  async publishMany(items: readonly PublishItem<EventTypeName>[]): Promise<Published[]>;
  async publishMany<T extends string>(
    items: readonly (PublishOptions & { readonly type: AnyType<T>; readonly data: unknown })[],
  ): Promise<Published[]>;
  async publishMany(items: readonly PublishItem[]): Promise<Published[]> {
    if (this.#closed) throw new ClosedError('the publisher');
    const flushes = new Set<OpenFlush>();
    const encoder = this.#takeEncoder();
    const { arena } = encoder;
    let encoded: EncodedEvent[];
    let put: Promise<void> | null = null;
    let refused: ClosedError | null = null;
    // The arena is given back in the same turn of the event loop, unless the call has to wait.
    try {
      // Checked and encoded before the first is buffered: bad input changes nothing.
      const nowMs = wallClockMs();
      encoded = items.map((item) => this.#encode(item, encoder, nowMs));
      if (encoded.some((event) => event.when !== null)) put = this.#scheduled.put(encoded, arena);
      else {
        if (!this.#relief.calm) await this.#relief.pass(encoded);
        const added = this.#addAtOnce(encoded, arena, flushes);
        if (added < encoded.length) refused = await this.#addInLine(encoded, added, arena, flushes);
      }
    } finally {
      this.#giveBack(encoder);
    }
    if (put !== null) return this.#publishRest(put, encoded, items);
    this.#flushes.hasten();
    // Each flush settles once, for all of its events.
    const outcomes = await Promise.allSettled(Array.from(flushes, (flush) => flush.appended));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (refused !== null) throw refused;
    return encoded.map(publishedOf);
  }

  /** Resolves when everything accepted so far has been appended or refused. */
  flush(): Promise<void> {
    return this.#flushes.drain();
  }

  /** Flushes what was accepted, then refuses everything. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#relief.close();
    this.#line.wake();
    await this.#scheduled.settled();
    await this.flush();
    this.#stop.abort();
  }

  /** For logs. */
  toJSON(): Record<string, unknown> {
    return {
      source: this.#parts.settings.source,
      bufferedBytes: this.bufferedBytes,
      pressure: this.pressure,
      closed: this.#closed,
    };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('Publisher', this.toJSON(), options, inspect);
  }

  get #bufferPressure(): Pressure {
    return {
      reason: 'bytes',
      retryAfterMs: BUFFER_RETRY_MS,
      actual: this.bufferedBytes,
      limit: this.#parts.settings.bufferBytes,
    };
  }

  #encode(item: PublishItem, encoder: EventEncoder, nowMs: number): EncodedEvent {
    const id = item.id ?? `${this.#idPrefix}-${(this.#nextId++).toString(36)}`;
    encoder.encode(item, id, nowMs, null);
    const partition = partitionOf(encoder.subject, this.#parts.partitions);
    return new EncodedEvent(encoder, item.type, partition);
  }

  #takeEncoder(): EventEncoder {
    const { catalog, schemas, settings } = this.#parts;
    return (
      this.#encoders.pop() ??
      new EventEncoder({ catalog, schemas, source: settings.source, options: PUBLISH_ITEM })
    );
  }

  /** Nobody reads its arena any more. */
  #giveBack(encoder: EventEncoder): void {
    encoder.arena.clear();
    if (this.#encoders.length < SPARE_ENCODERS) this.#encoders.push(encoder);
  }

  /**
   * Buffers what there is room for. All or nothing with whenFull `reject`: a call that is refused
   * has sent nothing.
   * @returns number of events, from the first on
   * @throws BackpressureError
   */
  #addAtOnce(
    encoded: readonly EncodedEvent[],
    arena: PayloadArena,
    flushes: Set<OpenFlush>,
  ): number {
    if (this.#parts.settings.whenFull === 'wait')
      return this.#line.empty ? this.#add(encoded, 0, arena, flushes) : 0;
    if (this.bufferedBytes > 0) {
      const wanted = encoded.reduce((sum, event) => sum + event.bytes, 0);
      if (this.#flushes.full(wanted)) throw new BackpressureError(this.#bufferPressure);
    }
    for (const event of encoded) flushes.add(this.#flushes.add(event, arena));
    return encoded.length;
  }

  /** Buffers events as long as there is room. @returns the place of the first without */
  #add(
    encoded: readonly EncodedEvent[],
    from: number,
    arena: PayloadArena,
    flushes: Set<OpenFlush>,
  ): number {
    for (let i = from; i < encoded.length; i++) {
      const event = encoded[i] as EncodedEvent;
      if (this.#flushes.full(event.bytes)) return i;
      flushes.add(this.#flushes.add(event, arena));
    }
    return encoded.length;
  }

  /** Buffers the rest as room comes. @returns why some were not; null: all were */
  async #addInLine(
    encoded: readonly EncodedEvent[],
    from: number,
    arena: PayloadArena,
    flushes: Set<OpenFlush>,
  ): Promise<ClosedError | null> {
    const leave = await this.#line.join();
    try {
      let added = from;
      while (!this.#closed) {
        added = this.#add(encoded, added, arena, flushes);
        if (added === encoded.length) return null;
        await this.#line.wait();
      }
      return new ClosedError('the publisher');
    } finally {
      leave();
    }
  }

  /** Some of a call's events are for later; once they are put away, those for now follow. */
  async #publishRest(
    put: Promise<void>,
    encoded: readonly EncodedEvent[],
    items: readonly PublishItem[],
  ): Promise<Published[]> {
    await put;
    const now = encoded.flatMap((event, i) =>
      event.when === null ? [{ ...(items[i] as PublishItem), id: event.id }] : [],
    );
    const published = now.length > 0 ? await this.publishMany(now) : [];
    let next = 0;
    return encoded.map((event) =>
      event.when === null ? (published[next++] as Published) : publishedOf(event),
    );
  }
}
