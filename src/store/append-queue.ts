/**
 * Group commit: appends of one process to one partition travel together, each decided by itself.
 *
 * Per partition: an append leaves at once (all that one turn of the event loop makes, in one
 * batch); while a batch is in flight the next one gathers. A partition's batches are sent one after
 * the other, so a sequence is never overtaken, and appends to one history are decided in the order
 * in which they were made. A batch whose outcome stays unknown at the deadline ends that producer
 * id for the partition: the next one starts a new one at 1.
 *
 * Owned here: per partition the open batch, the batch in flight and the sequence.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { sharedAbort } from '../core/shared-signal.ts';
import {
  BackpressureError,
  ClosedError,
  ProducerGapError,
  RedisReplyError,
} from '../core/errors.ts';
import { leftOf, monotonicMs } from '../core/clock.ts';
import { PRODUCER_TTL_MS } from '../pipeline/append/append.ts';
import type { Confirm } from '../pipeline/append/confirm.ts';
import { by, withRetry, type RedisConnection } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { BatchBuilder } from '../wire/batch-writer.ts';
import { SpareBuffers } from '../wire/spare-buffers.ts';
import {
  appendBatch,
  AppendPlan,
  type AppendAnswer,
  type AppendedBatch,
} from './append-history.ts';

export interface QueueSettings {
  /** Most events of a history. */
  readonly maxEvents: number;
  /** Most bytes of appends not yet answered; more of them wait. */
  readonly bufferBytes: number;
  /** Give up on what Redis has not answered for this long, in ms. */
  readonly deadlineMs: number;
  /** Of events that name none. */
  readonly source: string;
}

/** Most of one batch. One append goes whole, whatever its size. */
const BATCH = { appends: 512, events: 4096, bytes: 262_144 } as const;
/** Batches in flight over all partitions. */
const MAX_BATCHES = 32;
const YIELD_FROM = 32;

/** Events of one append, each an Event message without its position in `buffer`. */
export interface EncodedAppend {
  readonly partition: number;
  readonly category: string;
  readonly id: string;
  /** See encodeExpected. */
  readonly expected: number;
  /** Its first event's id, where the append is to be remembered by it. */
  readonly remember: string | null;
  readonly buffer: Buffer;
  readonly events: readonly {
    readonly type: string;
    readonly start: number;
    readonly end: number;
  }[];
  readonly bytes: number;
}

export interface SettledAppend {
  readonly answer: AppendAnswer;
  /** Place of its first event in its flush. */
  readonly place: number;
}

interface Waiting {
  readonly place: number;
  readonly resolve: (settled: SettledAppend) => void;
  readonly reject: (error: unknown) => void;
}

interface OpenBatch {
  readonly builders: Map<string, { readonly index: number; readonly builder: BatchBuilder }>;
  readonly histories: Map<
    string,
    { readonly index: number; readonly category: string; readonly id: string }
  >;
  readonly plan: AppendPlan;
  readonly waiting: Waiting[];
  events: number;
  bytes: number;
  /** When its first append came, by the monotonic clock. */
  readonly openedMs: number;
}

interface PartitionState {
  producer: string;
  sequence: number;
  lastBatchMs: number;
  inFlight: boolean;
  queued: boolean;
  /** Full batches, then the open one. */
  readonly batches: OpenBatch[];
}

export interface QueueParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: QueueSettings;
  /** Redis has lost batches it had acknowledged. */
  readonly gap: (error: ProducerGapError) => void;
  /**
   * Whether the deployment is still the one this was made for; null where that is known. Rejects
   * where it is not.
   */
  readonly verify?: () => Promise<void> | null;
}

export class AppendQueue {
  readonly #parts: QueueParts;
  readonly #states: PartitionState[];
  readonly #idPrefix = randomBytes(8).toString('hex');
  readonly #stop = sharedAbort();
  /** What stands before the first event of each batch. */
  readonly #headBytes: number;
  readonly #headCrc: number;
  /** Partitions with something to send, in turn. */
  readonly #ready: number[] = [];
  /** Appends that found the buffer full, in order. */
  readonly #line: {
    readonly append: EncodedAppend;
    readonly resolve: Waiting['resolve'];
    readonly reject: Waiting['reject'];
  }[] = [];
  readonly #idle: (() => void)[] = [];
  /**
   * Buffers of batches that have been answered, for the next ones: the garbage collector is late
   * for memory it does not see.
   */
  readonly #spare = new SpareBuffers();
  #departing = false;
  #generation = 0;
  #inFlight = 0;
  #bytes = 0;
  #closed = false;

  constructor(parts: QueueParts) {
    this.#parts = parts;
    const head = new BatchBuilder(parts.settings.source).finish();
    this.#headBytes = head.bytes.length;
    this.#headCrc = head.crc;
    this.#states = Array.from({ length: parts.partitions }, () => ({
      producer: '',
      sequence: 0,
      lastBatchMs: 0,
      inFlight: false,
      queued: false,
      batches: [],
    }));
  }

  /**
   * The append's bytes are copied before this returns. Where there is no room it waits, in order.
   */
  add(append: EncodedAppend): Promise<SettledAppend> {
    if (this.#closed) return Promise.reject(new ClosedError('the event store'));
    return new Promise((resolve, reject) => {
      if (this.#line.length === 0 && !this.#full(append.bytes))
        return this.#accept(append, resolve, reject);
      const { start } = append.events[0] as { start: number };
      const buffer = Buffer.from(
        append.buffer.subarray(start, append.events[append.events.length - 1]?.end),
      );
      const events = append.events.map((event) => ({
        type: event.type,
        start: event.start - start,
        end: event.end - start,
      }));
      this.#line.push({ append: { ...append, buffer, events }, resolve, reject });
    });
  }

  /** Sends what was accepted, refuses what waits for room, then everything. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#line.splice(0)) reject(new ClosedError('the event store'));
    while (this.#bytes > 0 || this.#inFlight > 0)
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#stop.abort();
  }

  #full(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > this.#parts.settings.bufferBytes;
  }

  #accept(append: EncodedAppend, resolve: Waiting['resolve'], reject: Waiting['reject']): void {
    const state = this.#states[append.partition] as PartitionState;
    let batch = state.batches[state.batches.length - 1];
    if (
      !batch ||
      batch.plan.appends >= BATCH.appends ||
      batch.events + append.events.length > BATCH.events ||
      batch.bytes + append.bytes > BATCH.bytes
    ) {
      batch = {
        builders: new Map(),
        histories: new Map(),
        plan: new AppendPlan(),
        waiting: [],
        events: 0,
        bytes: 0,
        openedMs: monotonicMs(),
      };
      state.batches.push(batch);
    }
    batch.waiting.push({ place: this.#put(append, batch), resolve, reject });
    this.#bytes += append.bytes;
    this.#enqueue(append.partition);
  }

  /** @returns the place of its first event in the flush */
  #put(append: EncodedAppend, batch: OpenBatch): number {
    const key = `${append.category}:${append.id}`;
    let history = batch.histories.get(key);
    if (!history) {
      history = { index: batch.histories.size, category: append.category, id: append.id };
      batch.histories.set(key, history);
    }
    const place = batch.events;
    const { events } = append;
    // What each type's part gets of it, and the lengths as they were written.
    const shares: {
      readonly part: number;
      readonly builder: BatchBuilder;
      readonly from: number;
      count: number;
    }[] = [];
    const lengths: number[] = [];
    for (const { type, start, end } of events) {
      const { index, builder } = this.#builderOf(type, batch);
      let share = shares.find((one) => one.part === index);
      if (!share) {
        share = { part: index, builder, from: builder.bytes, count: 0 };
        shares.push(share);
      }
      share.count++;
      lengths.push(index, builder.addWritten(append.buffer, start, end, batch.events++));
    }
    batch.bytes += append.bytes;
    const { plan } = batch;
    plan.append(history.index, append.remember, append.expected, events.length, shares.length);
    for (const { part, builder, from, count } of shares)
      plan.part(part, count, crc32(builder.buffer.subarray(from, builder.bytes), this.#headCrc));
    for (let i = 0; i < lengths.length; i += 2)
      plan.event(lengths[i] as number, lengths[i + 1] as number);
    return place;
  }

  #builderOf(
    type: string,
    batch: OpenBatch,
  ): { readonly index: number; readonly builder: BatchBuilder } {
    let part = batch.builders.get(type);
    if (!part) {
      part = {
        index: batch.builders.size,
        builder: new BatchBuilder(this.#parts.settings.source, this.#spare.take()),
      };
      batch.builders.set(type, part);
    }
    return part;
  }

  #enqueue(partition: number): void {
    const state = this.#states[partition] as PartitionState;
    if (state.queued || state.inFlight || state.batches.length === 0) return;
    state.queued = true;
    this.#ready.push(partition);
    this.#departSoon();
  }

  /**
   * In a microtask's time: what one turn of the event loop makes travels together, over all
   * partitions in one write.
   */
  #departSoon(): void {
    if (this.#departing) return;
    this.#departing = true;
    queueMicrotask(() => {
      this.#departing = false;
      while (this.#ready.length > 0 && this.#inFlight < MAX_BATCHES)
        void this.#send(this.#ready.shift() as number);
    });
  }

  async #send(partition: number): Promise<void> {
    const state = this.#states[partition] as PartitionState;
    const batch = state.batches.shift() as OpenBatch;
    state.queued = false;
    state.inFlight = true;
    this.#inFlight++;
    const now = monotonicMs();
    // Redis forgets silent producers: start over well before that.
    if (state.producer === '' || now - state.lastBatchMs > PRODUCER_TTL_MS / 2)
      this.#newProducer(state);
    const { connection, keys, confirm, settings } = this.#parts;
    let appended: AppendedBatch | null = null;
    let failure: unknown;
    try {
      const { verify } = this.#parts;
      const first = verify?.() ?? null;
      if (first)
        await withRetry(
          (attempt, untilMs) =>
            by(
              untilMs,
              'settle-settings.lua',
              attempt === 1 ? first : (verify?.() ?? Promise.resolve()),
            ),
          {
            signal: this.#stop.signal,
            deadlineMs: leftOf(settings.deadlineMs, batch.openedMs),
          },
        );
      appended = await appendBatch(
        {
          partition,
          producer: state.producer,
          sequence: ++state.sequence,
          maxEvents: settings.maxEvents,
          headBytes: this.#headBytes,
          parts: [...batch.builders].map(([type, { builder }]) => ({ type, ...builder.finish() })),
          histories: [...batch.histories.values()],
          plan: batch.plan,
        },
        {
          connection,
          keys,
          confirm,
          signal: this.#stop.signal,
          deadlineMs: leftOf(settings.deadlineMs, batch.openedMs),
        },
      );
      state.lastBatchMs = now;
    } catch (error) {
      if (error instanceof ProducerGapError) this.#parts.gap(error);
      // Whether this sequence was used is not known (or Redis lost some): never send another under
      // this producer id.
      this.#newProducer(state);
      const outOfMemory = error instanceof RedisReplyError && error.reply === 'OOM';
      failure = outOfMemory
        ? new BackpressureError({ reason: 'redis-memory', retryAfterMs: 1000 })
        : error;
    }
    state.inFlight = false;
    this.#inFlight--;
    this.#bytes -= batch.bytes;
    for (const { builder } of batch.builders.values()) this.#spare.keep(builder.buffer);
    this.#enqueue(partition);
    if (this.#ready.length > 0) this.#departSoon();
    for (let next = this.#line[0]; next && !this.#full(next.append.bytes); next = this.#line[0]) {
      this.#line.shift();
      this.#accept(next.append, next.resolve, next.reject);
    }
    // Many callers go on at once, and most append again: what one batch's do leaves before the next
    // batch's begin.
    if (batch.waiting.length >= YIELD_FROM) await new Promise((resolve) => setImmediate(resolve));
    if (appended) settle(batch, appended);
    else for (const { reject } of batch.waiting) reject(failure);
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #newProducer(state: PartitionState): void {
    state.producer = `${this.#idPrefix}.${++this.#generation}`;
    state.sequence = 0;
    state.lastBatchMs = monotonicMs();
  }
}

function settle(batch: OpenBatch, { answers, weak }: AppendedBatch): void {
  batch.waiting.forEach(({ place, resolve, reject }, i) => {
    const answer = answers[i] as AppendAnswer;
    if (answer.kind === 'appended' && weak !== null) reject(weak);
    else resolve({ answer, place });
  });
}
