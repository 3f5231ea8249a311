/**
 * publish: check and encode once, in the caller's process → per-partition buffer → append script.
 *
 * Adaptive batching, per partition: an idle partition flushes at once; while a flush is in flight
 * the next one gathers. So batches grow with the load, and without load batching costs no latency.
 * At most `maxFlushes` flushes are in flight over all partitions, which makes batches grow further
 * when Redis is the slower side. When much is published, departures are spaced a few ms and all
 * partitions leave together.
 *
 * Owned here: per partition the open buffer, the flush in flight and the sequence. A partition's
 * flushes are sent one after the other, so a sequence is never overtaken. A flush whose outcome
 * stays unknown at the deadline ends that producer id for the partition: the next flush starts a
 * new one at 1.
 */
import { randomBytes } from 'node:crypto';
import type { InspectOptions } from 'node:util';
import { sharedAbort } from '../../core/shared-signal.ts';
import {
  BackpressureError,
  ClosedError,
  ProducerGapError,
  RedisReplyError,
  type Pressure,
} from '../../core/errors.ts';
import { PUBLISH_ITEM } from '../../core/known-options.ts';
import { leftOf, monotonicMs, sleep, wallClockMs } from '../../core/clock.ts';
import { partitionOf } from '../../core/partition.ts';
import { positionPrefix } from '../../core/position.ts';
import type { LocalSchema } from '../../core/schema-id.ts';
import { INSPECT, shown } from '../../core/shown.ts';
import type { When } from '../../core/delivery-time.ts';
import type { EventTypeName } from '../../define/define-function.ts';
import type { PublishData } from '../../define/publish-data.ts';
import type { Keys } from '../../redis/keys.ts';
import { by, withRetry, type RedisConnection, type RefusedWrites } from '../../redis/connection.ts';
import type { Catalog } from '../../wire/catalog.ts';
import { walkBatch } from '../../wire/batch-reader.ts';
import { BatchBuilder } from '../../wire/batch-writer.ts';
import { DEFAULT_SOURCE, identityOf } from '../../wire/event-identity.ts';
import { EventEncoder } from '../../wire/event-encoder.ts';
import type { PayloadArena } from '../../wire/payload-arena.ts';
import { SpareBuffers } from '../../wire/spare-buffers.ts';
import { appendFlush, PRODUCER_TTL_MS, type Flush, type FlushPart } from './append.ts';
import type { Confirm } from './confirm.ts';
import { Departures } from './departures.ts';
import { PressureGauge } from './pressure.ts';
import { scheduleEvents } from './schedule.ts';

export interface PublishOptions {
  /**
   * Ordering key. Default: the field the event type declares as its subject. 1 … 1,024 bytes of
   * UTF-8.
   */
  readonly subject?: string;
  /** Event id, unique; default: one made by the publisher. 1 … 256 bytes of UTF-8. */
  readonly id?: string;
  /** Default: the publisher's `source`. */
  readonly source?: string;
  /**
   * When it happened: ms since 1970, a Date, or an RFC 3339 text, whose nanoseconds are kept.
   * Default: now.
   */
  readonly time?: number | Date | string;
  /** CloudEvents extension attributes. */
  readonly extensions?: Readonly<Record<string, string>>;
  /**
   * Append it then, by the server's clock: ms since 1970 or a Date, at most ten years ahead. It
   * takes its place in the order of its subject when it is appended, not now; scheduled for the
   * same moment, events keep the order in which they were scheduled.
   */
  readonly deliverAt?: number | Date;
  /** Append it so many ms from now, by the server's clock. */
  readonly delayMs?: number;
}

/** An event to be published. Of the types in `T`; of any where that is `string`. */
export type PublishItem<T extends string = string> = T extends string
  ? PublishOptions & { readonly type: T; readonly data: PublishData<T> }
  : never;

/**
 * `T` where it is not known before the program runs; never for a literal, which must be declared.
 */
type AnyType<T extends string> = T & (string extends T ? unknown : never);

/** Where an event stands now. */
export interface Published {
  readonly id: string;
  /** Its address: `partition/entry id/position`. Empty where it is not appended (now). */
  readonly position: string;
  /**
   * It was dropped: its type remembers events (dedupe_ms), and one with its id and source is there.
   */
  readonly duplicate?: true;
  /** It waits for this moment, by the server's clock, in ms since 1970. */
  readonly scheduledMs?: number;
}

export interface PublisherSettings {
  /**
   * Most bytes buffered over all partitions, in flight included. 64 KiB … 1 GiB, default 32 MiB.
   */
  readonly bufferBytes: number;
  /** Most events of one flush of a partition. 1 … 65,536, default 2,048. */
  readonly flushEvents: number;
  /** Most bytes of one flush of a partition. Default 256 KiB. */
  readonly flushBytes: number;
  /**
   * Wait this long for more events before an idle partition flushes, in ms. 0 … 1,000, default 0:
   * at once.
   */
  readonly lingerMs: number;
  /** Flushes in flight over all partitions. 1 … 1,024, default 32. */
  readonly maxFlushes: number;
  /** When the buffer is full: `wait` (default) or `reject` with BackpressureError. */
  readonly whenFull: 'wait' | 'reject';
  /**
   * Give up on an event that Redis has not answered for this long, in ms, with the time in which
   * its flush waited behind others; each flush is sent at least once, and waits a second for its
   * answer. Default 30,000.
   */
  readonly deadlineMs: number;
  /**
   * When Redis takes no writes (full disk, too few replicas): `wait` (default) until deadlineMs, or
   * `reject` at once with what it said. Full memory is waited for in both.
   */
  readonly whenRefused: 'wait' | 'reject';
  readonly source: string;
}

export const DEFAULT_PUBLISHER: PublisherSettings = {
  bufferBytes: 32 * 1024 * 1024,
  flushEvents: 2048,
  flushBytes: 256 * 1024,
  lingerMs: 0,
  maxFlushes: 32,
  whenFull: 'wait',
  deadlineMs: 30_000,
  whenRefused: 'wait',
  source: DEFAULT_SOURCE,
};

/** A full buffer is worth another try after this. */
const BUFFER_RETRY_MS = 100;
/** The types' limits are read again after this. */
const LIMITS_TTL_MS = 10_000;

/** Events gathered for one flush of one partition. */
interface Gathering {
  /** Of types that remember ids: the events, in order. */
  readonly remembered: Map<string, EncodedEvent[]>;
  /** Empty once the flush is under way. */
  readonly builders: Map<string, BatchBuilder>;
  events: number;
  bytes: number;
  /** Settles with the flush, for all events in it. */
  readonly appended: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** What the positions of its events begin with (core/position.ts); empty until it is appended. */
  address: string;
  /** When its first event came, by the monotonic clock. */
  readonly openedMs: number;
}

function newGathering(): Gathering {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const appended = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Every publishMany looks at it; one that gave up on another flush first must not leave it
  // unhandled.
  appended.catch(() => undefined);
  return {
    builders: new Map(),
    remembered: new Map(),
    events: 0,
    bytes: 0,
    appended,
    resolve,
    reject,
    address: '',
    openedMs: monotonicMs(),
  };
}

interface PartitionState {
  producer: string;
  sequence: number;
  lastEntryId: string;
  lastFlushMs: number;
  inFlight: boolean;
  queued: boolean;
  /** Full gatherings, then the open one. */
  readonly gatherings: Gathering[];
  linger: NodeJS.Timeout | null;
}

export interface PublisherParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly catalog: Catalog;
  /**
   * Ids of the types' schemas in the registry, stamped on each event. A type without one is stamped
   * with none.
   */
  readonly schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: PublisherSettings;
  /**
   * Per type: most events its slowest function may be behind in a partition. Asked now and then.
   */
  readonly maxBacklogs?: () => Promise<ReadonlyMap<string, number>>;
  /** Redis has lost flushes it had acknowledged, the last of them under this id ('': not known). */
  readonly gap?: (error: ProducerGapError, lastEntryId: string) => void;
  /**
   * Whether the deployment is still the one this was made for; null where that is known. Rejects
   * where it is not.
   */
  readonly verify?: () => Promise<void> | null;
  /** A flush was refused because Redis takes no writes; it is sent again. */
  readonly refused?: (error: RedisReplyError) => void;
}

export class Publisher {
  readonly #parts: PublisherParts;
  readonly #states: PartitionState[];
  /** No dash in front: ids are typed on command lines. */
  readonly #idPrefix = randomBytes(8).toString('hex');
  readonly #stop = sharedAbort();
  /** Partitions with something to flush, in turn. */
  readonly #ready: number[] = [];
  readonly #waitingForRoom: (() => void)[] = [];
  /**
   * Calls that found the buffer full, in order: the first one waits for room, the others for their
   * turn.
   */
  readonly #line = new Set<() => void>();
  readonly #idle: (() => void)[] = [];
  /** Of calls that are over, for the next ones. */
  readonly #encoders: EventEncoder[] = [];
  /** Of flushes that have been answered, for the next ones. */
  readonly #spare = new SpareBuffers();
  readonly #departures: Departures;
  /** What the next departure waits for; 'soon': a microtask. */
  #departing: NodeJS.Timeout | 'soon' | null = null;
  readonly #gauge = new PressureGauge();
  /** Settles when the last call that waits for relief has left. */
  #relief: Promise<void> = Promise.resolve();
  #inRelief = 0;
  readonly #closing = sharedAbort();
  #maxBacklogs: ReadonlyMap<string, number> = new Map();
  #limitsReadMs = -Infinity;
  /** Calls of schedule.lua under way. */
  readonly #scheduling = new Set<Promise<unknown>>();
  #nextCall = 0;
  #nextId = 0;
  #generation = 0;
  #flushes = 0;
  #bytes = 0;
  #closed = false;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#departures = new Departures(parts.partitions);
    this.#states = Array.from({ length: parts.partitions }, () => ({
      producer: '',
      sequence: 0,
      lastEntryId: '',
      lastFlushMs: 0,
      inFlight: false,
      queued: false,
      gatherings: [],
      linger: null,
    }));
  }

  /** Bytes accepted and not yet appended. */
  get bufferedBytes(): number {
    return this.#bytes;
  }

  /** Why events are held back or refused now, and when to try again. Empty: they are not. */
  get pressure(): readonly Pressure[] {
    const { bufferBytes } = this.#parts.settings;
    const full: Pressure[] =
      this.#bytes >= bufferBytes
        ? [
            {
              reason: 'bytes',
              retryAfterMs: BUFFER_RETRY_MS,
              actual: this.#bytes,
              limit: bufferBytes,
            },
          ]
        : [];
    return [...full, ...this.#gauge.list()];
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
    const { settings } = this.#parts;
    // Checked and encoded before the first is buffered: bad input changes nothing.
    const encoder = this.#takeEncoder();
    let encoded: EncodedEvent[];
    try {
      const nowMs = wallClockMs();
      encoded = items.map((item) => this.#encode(item, encoder, nowMs));
    } catch (error) {
      this.#giveBack(encoder);
      throw error;
    }
    if (encoded.some((event) => event.when !== null))
      return this.#publishScheduled(encoded, items, encoder);
    if (!this.#gauge.calm || this.#inRelief > 0) await this.#waitForRelief(encoded, encoder);
    if (settings.whenFull === 'reject' && this.#bytes > 0) {
      // All or nothing: a call that is refused has sent nothing.
      const wanted = encoded.reduce((sum, event) => sum + event.bytes, 0);
      if (this.#bytes + wanted > settings.bufferBytes) {
        this.#giveBack(encoder);
        throw new BackpressureError({
          reason: 'bytes',
          actual: this.#bytes,
          limit: settings.bufferBytes,
          retryAfterMs: BUFFER_RETRY_MS,
        });
      }
    }
    const waits = settings.whenFull === 'wait';
    const flushes = new Set<Gathering>();
    let accepted = 0;
    let refused: Error | null = null;
    let inLine = false;
    let leave = (): void => undefined;
    try {
      for (; accepted < encoded.length; accepted++) {
        const event = encoded[accepted] as EncodedEvent;
        if (waits && !inLine && (this.#line.size > 0 || this.#full(event.bytes))) {
          leave = await this.#joinLine();
          inLine = true;
        }
        while (inLine && this.#full(event.bytes) && !this.#closed) {
          await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve));
        }
        if (inLine && this.#closed) {
          refused = new ClosedError('the publisher');
          break;
        }
        const gathering = this.#add(event, encoder.arena);
        event.flush = gathering;
        event.place = gathering.events - 1;
        flushes.add(gathering);
        this.#schedule(event.partition);
      }
    } finally {
      leave();
    }
    this.#giveBack(encoder);
    // There may be enough now.
    if (this.#departing !== null) this.#departSoon();
    // Each flush settles once, for all of its events.
    const outcomes = await Promise.allSettled([...flushes].map((g) => g.appended));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (refused) throw refused;
    return encoded.map(publishedOf);
  }

  /**
   * Some of a call's events are for later. They are put away first, partition by partition; what is
   * for now follows. Their type's ids are looked at when they are scheduled (an id that waits is
   * not scheduled twice), not when they are appended.
   */
  async #publishScheduled(
    encoded: readonly EncodedEvent[],
    items: readonly PublishItem[],
    encoder: EventEncoder,
  ): Promise<Published[]> {
    const { connection, keys, settings } = this.#parts;
    const byPartition = new Map<number, EncodedEvent[]>();
    for (const event of encoded) {
      if (event.when === null) continue;
      const events = byPartition.get(event.partition);
      if (events) events.push(event);
      else byPartition.set(event.partition, [event]);
    }
    const calls = [...byPartition].map(([partition, events]) => ({
      partition,
      events,
      call: `${this.#idPrefix}.${(this.#nextCall++).toString(36)}`,
      items: events.map(({ id, type, when, start, end }) => ({
        id,
        type,
        when: when as When,
        bytes: Buffer.from(encoder.arena.buffer.subarray(start, end)),
      })),
    }));
    this.#giveBack(encoder);
    const put = Promise.all(
      calls.map(async ({ partition, events, call, items: scheduled }) => {
        await this.#verify(settings.deadlineMs);
        const answers = await scheduleEvents(partition, scheduled, {
          connection,
          keys,
          call,
          signal: this.#stop.signal,
          deadlineMs: settings.deadlineMs,
          refusedWrites: this.#refusedWrites,
        });
        answers.forEach(({ dueMs, repeated }, i) => {
          const event = events[i] as EncodedEvent;
          event.scheduledMs = dueMs;
          if (repeated) event.duplicate = true;
        });
      }),
    );
    this.#scheduling.add(put);
    try {
      await put;
    } finally {
      this.#scheduling.delete(put);
    }
    const now = encoded.flatMap((event, i) =>
      event.when === null ? [{ ...(items[i] as PublishItem), id: event.id }] : [],
    );
    const published = now.length > 0 ? await this.publishMany(now) : [];
    let next = 0;
    return encoded.map((event) =>
      event.when === null ? (published[next++] as Published) : publishedOf(event),
    );
  }

  /**
   * At the door: calls with events whose functions are too far behind wait here, one behind the
   * other, or are refused. Calls with other types go past them.
   */
  async #waitForRelief(encoded: readonly EncodedEvent[], encoder: EventEncoder): Promise<void> {
    const { settings } = this.#parts;
    if (
      !this.#gauge.calm &&
      !encoded.some(({ type, partition }) => this.#gauge.holds(type, partition))
    )
      return;
    const giveUpMs = monotonicMs() + settings.deadlineMs;
    const before = this.#relief;
    let leave!: () => void;
    this.#relief = new Promise<void>((resolve) => (leave = resolve));
    this.#inRelief++;
    try {
      if (settings.whenFull === 'wait') await before;
      for (;;) {
        let pressure: Pressure | null = null;
        for (const { type, partition } of encoded)
          pressure ??= this.#gauge.check(type, partition, false);
        if (this.#closed) throw new ClosedError('the publisher');
        if (pressure === null) break;
        if (settings.whenFull === 'reject' || monotonicMs() + pressure.retryAfterMs > giveUpMs)
          throw new BackpressureError(pressure);
        await sleep(pressure.retryAfterMs, this.#closing.signal);
      }
      for (const { type, partition } of encoded) this.#gauge.check(type, partition, true);
    } catch (error) {
      this.#giveBack(encoder);
      throw error;
    } finally {
      this.#inRelief--;
      leave();
    }
  }

  get #refusedWrites(): RefusedWrites {
    return this.#parts.settings.whenRefused === 'reject' ? 'retry-memory' : 'retry';
  }

  /** Once a second at most, and when Redis has been away: the partitions may have become others. */
  async #verify(deadlineMs: number): Promise<void> {
    const { verify } = this.#parts;
    const first = verify?.() ?? null;
    if (first === null) return;
    await withRetry(
      (attempt, untilMs) =>
        by(
          untilMs,
          'settle-settings.lua',
          attempt === 1 ? first : (verify?.() ?? Promise.resolve()),
        ),
      {
        signal: this.#stop.signal,
        deadlineMs,
        minDelayMs: 20,
        maxDelayMs: 1000,
      },
    );
  }

  #dedupeMs(type: string): number {
    return this.#parts.catalog.types.get(type)?.dedupeMs ?? 0;
  }

  #limitOf(type: string): number | undefined {
    const { maxBacklogs } = this.#parts;
    const now = monotonicMs();
    if (maxBacklogs && now - this.#limitsReadMs > LIMITS_TTL_MS) {
      this.#limitsReadMs = now;
      // Not waited for, and not missed: limits are advice to publishers.
      maxBacklogs().then(
        (limits) => (this.#maxBacklogs = limits),
        () => undefined,
      );
    }
    return this.#maxBacklogs.get(type);
  }

  /** Resolves when everything accepted so far has been appended or refused. */
  async flush(): Promise<void> {
    while (this.#bytes > 0 || this.#flushes > 0) {
      this.#states.forEach((_, partition) => this.#enqueue(partition));
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  /** Flushes what was accepted, then refuses everything. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing.abort();
    for (const resolve of this.#waitingForRoom.splice(0)) resolve();
    await Promise.allSettled(this.#scheduling);
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

  /** An event larger than the whole buffer goes alone. */
  #full(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > this.#parts.settings.bufferBytes;
  }

  /**
   * So that a small event never overtakes a large one that waits. Resolves at the head of the line,
   * with what leaves it.
   */
  async #joinLine(): Promise<() => void> {
    let place!: () => void;
    await new Promise<void>((resolve) => {
      place = resolve;
      this.#line.add(place);
      if (this.#line.size === 1) resolve();
    });
    return () => {
      this.#line.delete(place);
      for (const next of this.#line) return next();
    };
  }

  #encode(item: PublishItem, encoder: EventEncoder, nowMs: number): EncodedEvent {
    const id = item.id ?? `${this.#idPrefix}-${(this.#nextId++).toString(36)}`;
    encoder.encode(item, id, nowMs, null);
    return new EncodedEvent(
      encoder,
      item.type,
      partitionOf(encoder.subject, this.#parts.partitions),
    );
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
    if (this.#encoders.length < 4) this.#encoders.push(encoder);
  }

  #add(event: EncodedEvent, arena: PayloadArena): Gathering {
    const { settings } = this.#parts;
    const state = this.#states[event.partition] as PartitionState;
    let gathering = state.gatherings[state.gatherings.length - 1];
    if (
      !gathering ||
      gathering.events >= settings.flushEvents ||
      gathering.bytes + event.bytes > settings.flushBytes
    ) {
      gathering = newGathering();
      state.gatherings.push(gathering);
    }
    let builder = gathering.builders.get(event.type);
    if (!builder) {
      builder = new BatchBuilder(settings.source, this.#spare.take());
      gathering.builders.set(event.type, builder);
    }
    builder.addWritten(arena.buffer, event.start, event.end, gathering.events);
    if (this.#dedupeMs(event.type) > 0) {
      const events = gathering.remembered.get(event.type);
      if (events) events.push(event);
      else gathering.remembered.set(event.type, [event]);
    }
    gathering.events++;
    gathering.bytes += event.bytes;
    this.#bytes += event.bytes;
    this.#departures.added();
    return gathering;
  }

  /** Something was added: flush now, or when the linger time is over. */
  #schedule(partition: number): void {
    const { settings } = this.#parts;
    const state = this.#states[partition] as PartitionState;
    if (settings.lingerMs === 0 || state.gatherings.length > 1) return this.#enqueue(partition);
    state.linger ??= setTimeout(() => {
      state.linger = null;
      this.#enqueue(partition);
    }, settings.lingerMs);
  }

  #enqueue(partition: number): void {
    const state = this.#states[partition] as PartitionState;
    if (state.queued || state.inFlight || state.gatherings.length === 0) return;
    state.queued = true;
    this.#ready.push(partition);
    this.#departSoon();
  }

  /**
   * The next departure: all partitions with something to flush leave together, in one write. In a
   * microtask's time, so that what one call publishes travels together, or when it has waited for
   * others (see Departures).
   */
  #departSoon(): void {
    if (this.#departing === 'soon') return;
    const waitMs = this.#departures.waitMs(monotonicMs());
    if (waitMs > 0) {
      this.#departing ??= setTimeout(() => this.#depart(), waitMs);
      return;
    }
    if (this.#departing !== null) clearTimeout(this.#departing);
    this.#departing = 'soon';
    queueMicrotask(() => this.#depart());
  }

  #depart(): void {
    this.#departing = null;
    this.#departures.departed(monotonicMs());
    while (this.#ready.length > 0 && this.#flushes < this.#parts.settings.maxFlushes) {
      void this.#flushPartition(this.#ready.shift() as number);
    }
  }

  async #flushPartition(partition: number): Promise<void> {
    const state = this.#states[partition] as PartitionState;
    const gathering = state.gatherings.shift() as Gathering;
    state.queued = false;
    state.inFlight = true;
    this.#flushes++;
    const now = monotonicMs();
    // Redis forgets silent producers: start over well before that.
    if (state.producer === '' || now - state.lastFlushMs > PRODUCER_TTL_MS / 2)
      this.#newProducer(state);
    const { source } = this.#parts.settings;
    let flush: Flush = {
      partition,
      producer: state.producer,
      sequence: ++state.sequence,
      parts: [...gathering.builders].map(([type, builder]) => {
        const events = gathering.remembered.get(type);
        return {
          type,
          ...builder.finish(),
          maxBacklog: this.#limitOf(type),
          dedupe: events && {
            ids: events.map((event) => event.identity(source)),
            windowMs: this.#dedupeMs(type),
          },
        };
      }),
    };
    // Callers may keep their Published, which knows its gathering: the bytes must not stay with it.
    const builders = [...gathering.builders.values()];
    gathering.builders.clear();
    try {
      const { connection, keys, confirm, settings } = this.#parts;
      await this.#verify(leftOf(settings.deadlineMs, gathering.openedMs));
      for (;;) {
        const answer = await appendFlush(flush, {
          connection,
          keys,
          confirm,
          signal: this.#stop.signal,
          deadlineMs: leftOf(settings.deadlineMs, gathering.openedMs),
          refusedWrites: this.#refusedWrites,
          onRetry: (error) => {
            if (outOfMemory(error)) this.#gauge.outOfMemory();
            if (error instanceof RedisReplyError && error.refuses === 'writes')
              this.#parts.refused?.(error);
          },
        });
        if (answer.kind === 'taken') throw new TypeError('append.lua answered what nobody asked');
        if (answer.kind === 'repeated') {
          flush = leaveOut(flush, answer.events, gathering.remembered, settings.source);
          if (flush.parts.length > 0) continue;
          // The sequence was not used.
          state.sequence--;
        } else {
          gathering.address = positionPrefix(partition, answer.entryId);
          state.lastEntryId = answer.entryId;
          if (answer.backlogs.length > 0 || !this.#gauge.calm)
            this.#gauge.answered(partition, flush.parts, answer.backlogs);
        }
        break;
      }
      state.lastFlushMs = now;
      gathering.resolve();
    } catch (error) {
      if (error instanceof ProducerGapError) this.#parts.gap?.(error, state.lastEntryId);
      // Whether this sequence was used is not known (or Redis lost some): never send another under
      // this producer id.
      this.#newProducer(state);
      gathering.reject(
        outOfMemory(error)
          ? new BackpressureError({ reason: 'redis-memory', retryAfterMs: 1000 })
          : error,
      );
    } finally {
      gathering.remembered.clear();
      state.inFlight = false;
      this.#flushes--;
      this.#bytes -= gathering.bytes;
      for (const { buffer } of builders) this.#spare.keep(buffer);
      this.#enqueue(partition);
      if (this.#ready.length > 0) this.#departSoon();
      for (const resolve of this.#waitingForRoom.splice(0)) resolve();
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #newProducer(state: PartitionState): void {
    state.producer = `${this.#idPrefix}.${++this.#generation}`;
    state.sequence = 0;
    state.lastFlushMs = monotonicMs();
  }
}

/** An event on its way. */
class EncodedEvent {
  // `declare`: a field that is defined before the constructor assigns it is written twice, for
  // every event.
  declare readonly id: string;
  declare readonly type: string;
  /** Empty: its publisher's. */
  declare readonly source: string;
  declare readonly when: When | null;
  declare readonly partition: number;
  /** The Event message without its position: these bytes of the call's arena. */
  declare readonly start: number;
  declare readonly end: number;
  declare flush: Gathering | null;
  declare place: number;
  declare duplicate: boolean;
  declare scheduledMs: number | null;

  /** The event that was encoded last. */
  constructor(encoder: EventEncoder, type: string, partition: number) {
    this.id = encoder.id;
    this.type = type;
    this.source = encoder.source;
    this.when = encoder.when;
    this.partition = partition;
    this.start = encoder.start;
    this.end = encoder.arena.end;
    this.flush = null;
    this.place = 0;
    this.duplicate = false;
    this.scheduledMs = null;
  }
  /** Which event it is, for those who remember it. */
  identity(publisherSource: string): string {
    return identityOf(this.id, this.source === '' ? publisherSource : this.source);
  }
  /** What it takes in a buffer. */
  get bytes(): number {
    return this.end - this.start + 10;
  }
}

/**
 * What publish() answers, once its flush has. Plain, so that it can be logged, compared and cloned,
 * and keeps no buffer alive.
 */
function publishedOf({ id, flush, place, duplicate, scheduledMs }: EncodedEvent): Published {
  const position = flush === null || flush.address === '' || duplicate ? '' : flush.address + place;
  if (!duplicate && scheduledMs === null) return { id, position };
  return {
    id,
    position,
    ...(duplicate ? { duplicate: true as const } : {}),
    ...(scheduledMs === null ? {} : { scheduledMs }),
  };
}

/**
 * The flush without the events that are there already; a part of which nothing is left goes too.
 */
function leaveOut(
  flush: Flush,
  repeated: readonly { readonly part: number; readonly index: number }[],
  remembered: ReadonlyMap<string, EncodedEvent[]>,
  source: string,
): Flush {
  const parts: FlushPart[] = [];
  flush.parts.forEach((part, p) => {
    const out = new Set(repeated.filter((one) => one.part === p).map((one) => one.index));
    if (out.size === 0) return void parts.push(part);
    const events = remembered.get(part.type) as EncodedEvent[];
    const kept = events.filter((event, index) => {
      if (out.has(index)) event.duplicate = true;
      return !out.has(index);
    });
    // Kept where later answers speak of what is left.
    events.splice(0, events.length, ...kept);
    if (kept.length === 0) return;
    const left: Uint8Array[] = [];
    walkBatch(part.bytes, (header) => {
      if (!out.has(header.index))
        left.push(part.bytes.subarray(header.offset, header.offset + header.length));
    });
    const builder = new BatchBuilder(source);
    for (const event of left) builder.addRaw(event);
    parts.push({
      ...part,
      ...builder.finish(),
      dedupe: {
        ids: kept.map((event) => event.identity(source)),
        windowMs: part.dedupe?.windowMs ?? 0,
      },
    });
  });
  return { ...flush, parts };
}

/** Redis refused the flush as a whole: nothing of it is there. */
function outOfMemory(error: unknown): boolean {
  return error instanceof RedisReplyError && error.reply === 'OOM';
}
