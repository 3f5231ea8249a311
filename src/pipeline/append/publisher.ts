/**
 * publish: check and encode once, in the caller's process → per-partition buffer → append script.
 *
 * Adaptive batching, per partition: an idle partition flushes at once; while a flush is in flight the next one gathers.
 * So batches grow with the load, and without load batching costs no latency. At most `maxFlushes` flushes are in flight
 * over all partitions, which makes batches grow further when Redis is the slower side. When much is published, departures
 * are spaced a few ms and all partitions leave together.
 *
 * Owned here: per partition the open buffer, the flush in flight and the sequence. A partition's flushes are sent one
 * after the other, so a sequence is never overtaken. A flush whose outcome stays unknown at the deadline ends that
 * producer id for the partition: the next flush starts a new one at 1.
 */
import { randomBytes } from 'node:crypto';
import { BackpressureError, ClosedError, InvalidEventError, OversizeError } from '../../core/errors.ts';
import { monotonicMs, wallClockMs } from '../../core/clock.ts';
import { partitionOf } from '../../core/partition.ts';
import { formatPosition } from '../../core/position.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import type { Catalog } from '../../wire/catalog.ts';
import { BatchBuilder, writeEnvelope } from '../../wire/event-batch.ts';
import { PayloadArena } from '../../wire/payload-arena.ts';
import { appendFlush, PRODUCER_TTL_MS, type Confirm, type Flush } from './append.ts';

export interface PublishOptions {
  /** Ordering key. Default: the field the event type declares as its subject. 1 … 1,024 bytes of UTF-8. */
  readonly subject?: string;
  /** Event id, unique; default: one made by the publisher. 1 … 256 bytes of UTF-8. */
  readonly id?: string;
  /** Default: the publisher's `source`. */
  readonly source?: string;
  /** When it happened, ms since 1970 or a Date. Default: now. */
  readonly time?: number | Date;
  /** CloudEvents extension attributes. */
  readonly extensions?: Readonly<Record<string, string>>;
}

export interface PublishItem extends PublishOptions {
  readonly type: string;
  readonly data: unknown;
}

/** Where an event stands now. */
export interface Published {
  readonly id: string;
  /** Its address: `partition/entry id/position`. */
  readonly position: string;
}

export interface PublisherSettings {
  /** Most bytes buffered over all partitions, in flight included. 64 KiB … 1 GiB, default 32 MiB. */
  readonly bufferBytes: number;
  /** Most events of one flush of a partition. 1 … 65,536, default 2,048. */
  readonly flushEvents: number;
  /** Most bytes of one flush of a partition. Default 256 KiB. */
  readonly flushBytes: number;
  /** Wait this long for more events before an idle partition flushes, in ms. 0 … 1,000, default 0: at once. */
  readonly lingerMs: number;
  /** Flushes in flight over all partitions. 1 … 1,024, default 32. */
  readonly maxFlushes: number;
  /** When the buffer is full: `wait` (default) or `reject` with BackpressureError. */
  readonly whenFull: 'wait' | 'reject';
  /** Give up on a flush that Redis has not answered for this long, in ms. Default 30,000. */
  readonly deadlineMs: number;
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
  source: 'millrace',
};

/** At this rate (events per ms, over the last 20 ms and more) departures are spaced, in ms. */
const PACE_FROM = 12;
const PACE_MS = 5;
const PACE_WINDOW_MS = 20;
const SPARE_BYTES = 8 * 1024 * 1024;

/** Subjects and ids, in bytes of UTF-8. */
export const LIMITS = { subject: 1024, id: 256, source: 1024, extensions: 4096 } as const;

/** Events gathered for one flush of one partition. */
interface Gathering {
  /** Empty once the flush is under way. */
  readonly builders: Map<string, BatchBuilder>;
  events: number;
  bytes: number;
  /** Settles with the flush, for all events in it. */
  readonly appended: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  entryId: string;
}

function newGathering(): Gathering {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const appended = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Every publishMany looks at it; one that gave up on another flush first must not leave it unhandled.
  appended.catch(() => undefined);
  return { builders: new Map(), events: 0, bytes: 0, appended, resolve, reject, entryId: '' };
}

interface PartitionState {
  producer: string;
  sequence: number;
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
  /** Ids of the types' schemas in the registry, stamped on each event. A type without one is stamped with none. */
  readonly schemas: ReadonlyMap<string, { readonly id: number }>;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: PublisherSettings;
}

export class Publisher {
  readonly #parts: PublisherParts;
  readonly #states: PartitionState[];
  readonly #schemaIds: ReadonlyMap<string, number>;
  /** No dash in front: ids are typed on command lines. */
  readonly #idPrefix = randomBytes(8).toString('hex');
  readonly #stop = new AbortController();
  /** Partitions with something to flush, in turn. */
  readonly #ready: number[] = [];
  readonly #waitingForRoom: (() => void)[] = [];
  /** Calls that found the buffer full, in order: the first one waits for room, the others for their turn. */
  readonly #line = new Set<() => void>();
  readonly #idle: (() => void)[] = [];
  readonly #arenas: PayloadArena[] = [];
  /** Of flushes that have been answered, for the next ones. */
  readonly #spare: Buffer[] = [];
  #spareBytes = 0;
  #departing = false;
  #departedMs = 0;
  #paceMs = 0;
  #windowMs = 0;
  #windowEvents = 0;
  #nextId = 0;
  #generation = 0;
  #flushes = 0;
  #bytes = 0;
  #closed = false;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#schemaIds = new Map([...parts.schemas].map(([type, { id }]) => [type, id]));
    this.#states = Array.from({ length: parts.partitions }, () => ({
      producer: '', sequence: 0, lastFlushMs: 0, inFlight: false, queued: false, gatherings: [], linger: null,
    }));
  }

  /** Bytes accepted and not yet appended. */
  get bufferedBytes(): number {
    return this.#bytes;
  }

  /**
   * Publishes one event. Resolves when Redis has it with the durability asked for.
   *
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the limit): nothing was sent
   * @throws BackpressureError with `whenFull: 'reject'`: nothing was sent
   * @throws ProducerGapError: Redis lost acknowledged flushes; this event was not appended
   * @throws DurabilityError, UnknownOutcomeError: it may have been appended
   * @throws ClosedError
   */
  async publish(type: string, data: unknown, options: PublishOptions = {}): Promise<Published> {
    const [published] = await this.publishMany([{ type, data, ...options }]);
    return published as Published;
  }

  /**
   * Publishes events; those of one partition keep their order, and those of one call for one partition that fit one flush
   * are appended together. Everything is checked before anything is sent.
   *
   * @throws as publish; `InvalidEventError.path` etc. speak of the first bad event
   */
  async publishMany(items: readonly PublishItem[]): Promise<Published[]> {
    if (this.#closed) throw new ClosedError('the publisher');
    const { settings } = this.#parts;
    // Checked and encoded before the first is buffered: bad input changes nothing.
    const arena = this.#arenas.pop() ?? new PayloadArena();
    let encoded: EncodedEvent[];
    try {
      encoded = items.map((item) => this.#encode(item, arena));
    } catch (error) {
      this.#giveBack(arena);
      throw error;
    }
    if (settings.whenFull === 'reject' && this.#bytes > 0) {
      // All or nothing: a call that is refused has sent nothing.
      const wanted = encoded.reduce((sum, event) => sum + event.bytes, 0);
      if (this.#bytes + wanted > settings.bufferBytes) {
        this.#giveBack(arena);
        throw new BackpressureError((encoded[0] as EncodedEvent).partition, this.#bytes, settings.bufferBytes, 100);
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
        const gathering = this.#add(event, arena);
        event.flush = gathering;
        event.place = gathering.events - 1;
        flushes.add(gathering);
        this.#schedule(event.partition);
      }
    } finally {
      leave();
    }
    this.#giveBack(arena);
    // Each flush settles once, for all of its events.
    const outcomes = await Promise.allSettled([...flushes].map((g) => g.appended));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    if (refused) throw refused;
    return encoded;
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
    for (const resolve of this.#waitingForRoom.splice(0)) resolve();
    await this.flush();
    this.#stop.abort();
  }

  /** An event larger than the whole buffer goes alone. */
  #full(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > this.#parts.settings.bufferBytes;
  }

  /** So that a small event never overtakes a large one that waits. Resolves at the head of the line, with what leaves it. */
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

  #encode(item: PublishItem, arena: PayloadArena): EncodedEvent {
    const type = this.#parts.catalog.get(item.type);
    if (typeof item.data !== 'object' || item.data === null) type.check(item.data);
    const subject = item.subject ?? type.subjectOf(item.data);
    if (typeof subject !== 'string' || subject === '') {
      throw new InvalidEventError(item.type, item.subject === undefined ? type.subjectField : 'subject', 'the subject is missing or empty');
    }
    limit(item.type, 'subject', subject, LIMITS.subject);
    const id = item.id ?? `${this.#idPrefix}-${(this.#nextId++).toString(36)}`;
    if (id === '') throw new InvalidEventError(item.type, 'id', 'the event id is empty');
    if (item.id !== undefined) limit(item.type, 'id', id, LIMITS.id);
    // The batch carries the publisher's own source once.
    const source = item.source === undefined || item.source === this.#parts.settings.source ? '' : item.source;
    if (source !== '') limit(item.type, 'source', source, LIMITS.source);
    const timeMs = item.time === undefined ? wallClockMs() : Number(item.time);
    if (!Number.isFinite(timeMs) || timeMs < 0 || timeMs > Number.MAX_SAFE_INTEGER) {
      throw new InvalidEventError(item.type, 'time', 'not a time in ms since 1970');
    }
    if (item.extensions) limit(item.type, 'extensions', JSON.stringify(item.extensions), LIMITS.extensions);
    const start = arena.end;
    const payload = arena.open(0x1a);
    type.encodeTo(item.data, arena);
    const length = arena.end - payload;
    if (length > type.maxBytes) {
      throw new OversizeError(`event "${item.type}"`, length, type.maxBytes, 'bytes of payload. Nothing was sent. Raise max_bytes in its (millrace.v1.event) option, or publish a reference to the data');
    }
    arena.close(payload);
    const schema = this.#schemaIds.get(item.type) ?? 0;
    const unfit = writeEnvelope(arena, id, subject, Math.floor(timeMs), source, schema, item.extensions ?? null);
    if (unfit !== null) throw new InvalidEventError(item.type, unfit, 'an unpaired surrogate: no proper Unicode text');
    return new EncodedEvent(id, item.type, partitionOf(subject, this.#parts.partitions), start, arena.end);
  }

  #giveBack(arena: PayloadArena): void {
    arena.clear();
    if (this.#arenas.length < 4) this.#arenas.push(arena);
  }

  #add(event: EncodedEvent, arena: PayloadArena): Gathering {
    const { settings } = this.#parts;
    const state = this.#states[event.partition] as PartitionState;
    let gathering = state.gatherings[state.gatherings.length - 1];
    if (!gathering || gathering.events >= settings.flushEvents || gathering.bytes + event.bytes > settings.flushBytes) {
      gathering = newGathering();
      state.gatherings.push(gathering);
    }
    let builder = gathering.builders.get(event.type);
    if (!builder) {
      const spare = this.#spare.pop();
      if (spare) this.#spareBytes -= spare.length;
      builder = new BatchBuilder(settings.source, spare);
      gathering.builders.set(event.type, builder);
    }
    builder.addWritten(arena.buffer, event.start, event.end, gathering.events);
    gathering.events++;
    gathering.bytes += event.bytes;
    this.#bytes += event.bytes;
    this.#windowEvents++;
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
   * The next departure: all partitions with something to flush leave together, in one write. At once (in a microtask's
   * time, so that what one call publishes travels together) while little is published; when much is, not sooner than
   * a few ms after the last one: a flush costs Redis and the dispatcher the same with five events as with fifty.
   */
  #departSoon(): void {
    if (this.#departing) return;
    this.#departing = true;
    const depart = (): void => {
      this.#departing = false;
      this.#pump();
    };
    const waitMs = this.#departedMs + this.#paceMs - monotonicMs();
    if (waitMs > 0) setTimeout(depart, waitMs);
    else queueMicrotask(depart);
  }

  #pump(): void {
    const now = monotonicMs();
    const windowMs = now - this.#windowMs;
    if (windowMs >= PACE_WINDOW_MS) {
      this.#paceMs = this.#windowEvents / windowMs >= PACE_FROM ? PACE_MS : 0;
      this.#windowMs = now;
      this.#windowEvents = 0;
    }
    this.#departedMs = now;
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
    if (state.producer === '' || now - state.lastFlushMs > PRODUCER_TTL_MS / 2) this.#newProducer(state);
    const flush: Flush = {
      partition,
      producer: state.producer,
      sequence: ++state.sequence,
      parts: [...gathering.builders].map(([type, builder]) => ({ type, ...builder.finish() })),
    };
    // Callers may keep their Published, which knows its gathering: the bytes must not stay with it.
    const builders = [...gathering.builders.values()];
    gathering.builders.clear();
    try {
      const { connection, keys, confirm, settings } = this.#parts;
      const { entryId } = await appendFlush(flush, {
        connection, keys, confirm, signal: this.#stop.signal, deadlineMs: settings.deadlineMs,
      });
      state.lastFlushMs = now; 
      gathering.entryId = entryId;
      gathering.resolve();
    } catch (error) {
      // Whether this sequence was used is not known (or Redis lost some): never send another under this producer id.
      this.#newProducer(state);
      gathering.reject(error);
    } finally {
      state.inFlight = false;
      this.#flushes--;
      this.#bytes -= gathering.bytes;
      for (const { buffer } of builders) this.#keep(buffer);
      this.#enqueue(partition);
      if (this.#ready.length > 0) this.#departSoon();
      for (const resolve of this.#waitingForRoom.splice(0)) resolve();
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Buffers are used again: the garbage collector is late for memory it does not see. */
  #keep(buffer: Buffer): void {
    if (this.#spareBytes + buffer.length > SPARE_BYTES) return;
    this.#spareBytes += buffer.length;
    this.#spare.push(buffer);
  }

  #newProducer(state: PartitionState): void {
    state.producer = `${this.#idPrefix}.${++this.#generation}`;
    state.sequence = 0;
    state.lastFlushMs = monotonicMs();
  }
}

/** An event on its way, and afterwards what publish() answers: one object for both. */
class EncodedEvent implements Published {
  readonly id: string;
  readonly type: string;
  readonly partition: number;
  /** The Event message without its position: these bytes of the call's arena. */
  readonly start: number;
  readonly end: number;
  flush: Gathering | null = null;
  place = 0;

  constructor(id: string, type: string, partition: number, start: number, end: number) {
    this.id = id;
    this.type = type;
    this.partition = partition;
    this.start = start;
    this.end = end;
  }
  /** What it takes in a buffer. */
  get bytes(): number {
    return this.end - this.start + 10;
  }
  get position(): string {
    return formatPosition({ partition: this.partition, entryId: this.flush?.entryId ?? '', position: this.place });
  }
  toJSON(): Published {
    return { id: this.id, position: this.position };
  }
}

function limit(type: string, field: string, value: string, limitBytes: number): void {
  // Three bytes of UTF-8 a UTF-16 unit at most: short ones need no count.
  if (value.length * 3 <= limitBytes) return;
  const bytes = Buffer.byteLength(value);
  if (bytes > limitBytes) throw new OversizeError(`event "${type}": ${field}`, bytes, limitBytes, 'bytes of UTF-8. Nothing was sent');
}
