/**
 * The publisher: checks and encodes an event once in the caller's process, buffers it by partition,
 * and appends it with a script.
 *
 * An event goes through these files, in this order: wire/event-encoder.ts, relief.ts, room-line.ts,
 * flushes.ts with open-flush.ts, partition-sender.ts, append.ts. An event for later goes through
 * publish-scheduled.ts instead.
 */
import { randomBytes } from 'node:crypto';
import type { InspectOptions } from 'node:util';
import { wallClockMs } from '../../core/clock.ts';
import { BackpressureError, ClosedError, type Pressure } from '../../core/errors/append-errors.ts';
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
import { tracePublish } from './publish-trace.ts';
import type { PublisherParts } from './publisher-parts.ts';
import { Relief } from './relief.ts';
import { RoomLine } from './room-line.ts';

/** Time after which a full buffer is worth another try, ms. */
const BUFFER_RETRY_MS = 100;
/** Most encoders kept for later calls. */
const SPARE_ENCODERS = 4;

export class Publisher {
  readonly #parts: PublisherParts;
  /** Hex digits, so that no id begins with a dash: ids are typed on command lines. */
  readonly #idPrefix = randomBytes(8).toString('hex');
  readonly #stop = sharedAbort();
  /** Encoders of calls that are over, for the next calls. */
  readonly #encoders: EventEncoder[] = [];
  readonly #gauge = new PressureGauge();
  readonly #relief: Relief;
  readonly #line = new RoomLine();
  readonly #flushes: Flushes;
  readonly #scheduled: ScheduledPublishing;
  #nextId = 0;
  #closed = false;
  #closing: Promise<void> | null = null;

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
    parts.meters?.open.add(this);
  }

  /** Bytes accepted and not yet appended. */
  get bufferedBytes(): number {
    return this.#flushes.bytes;
  }

  /** Calls that wait for room in the buffer. */
  get waitingCalls(): number {
    return this.#line.length;
  }

  /** Reasons to hold events back or refuse them now, each with a time to try again. */
  get pressure(): readonly Pressure[] {
    const full = this.bufferedBytes >= this.#parts.settings.bufferBytes;
    return [...(full ? [this.#bufferPressure] : []), ...this.#gauge.list()];
  }

  /**
   * Publishes one event. Resolves when Redis has the event with the durability asked for.
   *
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the
   *   limit): nothing was sent
   * @throws BackpressureError: the event was not sent. With `whenFull: 'reject'` at once. With
   *   `wait` after `deadlineMs`: a function is too far behind, or the server is out of memory
   * @throws ScheduleFullError: too many scheduled events wait; nothing was scheduled in that
   *   partition
   * @throws SchemaNotRegisteredError: Redis lost the schema registry, and what is registered now
   *   contradicts the type's schema
   * @throws ProducerGapError: Redis lost acknowledged flushes; this event was not appended
   * @throws DurabilityError, UnknownOutcomeError: the event may have been appended
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
   * Publishes events. Events of one partition keep their order. Events of one call that are for one
   * partition, and fit one flush, are appended together. All are checked before any is sent.
   *
   * @throws as publish(); `InvalidEventError.path` and the like speak of the first bad event
   */
  publishMany(items: readonly PublishItem<EventTypeName>[]): Promise<Published[]>;
  publishMany<T extends string>(
    items: readonly (PublishOptions & { readonly type: AnyType<T>; readonly data: unknown })[],
  ): Promise<Published[]>;
  publishMany(items: readonly PublishItem[]): Promise<Published[]> {
    const tracer = this.#parts.tracing?.tracer() ?? null;
    if (tracer === null) return this.#publishAll(items);
    return tracePublish(tracer, {
      operation: 'publish',
      items,
      work: (carrying) => this.#publishAll(carrying),
      placesOf: (published) => published,
    });
  }

  async #publishAll(items: readonly PublishItem[]): Promise<Published[]> {
    if (this.#closed) throw new ClosedError('the publisher');
    const flushes = new Set<OpenFlush>();
    const encoder = this.#takeEncoder();
    const { arena } = encoder;
    let encoded: EncodedEvent[];
    let put: Promise<void> | null = null;
    let refused: ClosedError | null = null;
    // The encoder goes back in the same turn of the event loop, unless the call has to wait.
    try {
      // All events are encoded before the first is buffered, so that bad input changes nothing.
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

  /** Resolves when every event accepted so far has been appended or refused. */
  flush(): Promise<void> {
    return this.#flushes.drain();
  }

  /** Flushes the accepted events, and refuses further ones. Each call waits for the one end. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.#relief.close();
    this.#line.wake();
    await this.#scheduled.settled();
    await this.flush();
    this.#stop.abort();
    this.#parts.meters?.open.delete(this);
    await this.#parts.closed?.();
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

  /** Keeps an encoder for later calls. Nobody reads its arena any more. */
  #giveBack(encoder: EventEncoder): void {
    encoder.arena.clear();
    if (this.#encoders.length < SPARE_ENCODERS) this.#encoders.push(encoder);
  }

  /**
   * Buffers the events that have room, from the first on. With whenFull `reject` all or none: a
   * refused call has sent nothing.
   * @returns number of events buffered
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

  /** Buffers events as long as there is room. @returns index of the first event without room */
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

  /** Buffers the rest as room comes. @returns why some were not buffered; null: all were */
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

  /** Publishes the events of a call that are for now, once those for later are put away. */
  async #publishRest(
    put: Promise<void>,
    encoded: readonly EncodedEvent[],
    items: readonly PublishItem[],
  ): Promise<Published[]> {
    await put;
    const now = encoded.flatMap((event, i) =>
      event.when === null ? [{ ...(items[i] as PublishItem), id: event.id }] : [],
    );
    const published = now.length > 0 ? await this.#publishAll(now) : [];
    let next = 0;
    return encoded.map((event) =>
      event.when === null ? (published[next++] as Published) : publishedOf(event),
    );
  }
}
