/**
 * Group commit: appends of one process to one partition travel together. Each append is decided by
 * itself. Appends to one history are decided in the order in which they were made.
 *
 * Owned here: the open batch of each partition, and the line of appends that found the buffer full.
 * The sending is pipeline/append/partition-sender.ts, as for a publisher.
 */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { leftOf, monotonicMs } from '../core/clock.ts';
import { ClosedError, type ProducerGapError } from '../core/errors/append-errors.ts';
import { sharedAbort } from '../core/shared-signal.ts';
import type { Confirm } from '../pipeline/append/confirm.ts';
import { PartitionSender, type Sending } from '../pipeline/append/partition-sender.ts';
import type { Verify } from '../pipeline/append/verify-deployment.ts';
import type { RedisConnection } from '../redis/contract.ts';
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
  /** Most bytes of appends without an answer. Further appends wait. */
  readonly bufferBytes: number;
  /** Time without an answer from Redis, after which a batch is given up, ms. */
  readonly deadlineMs: number;
  /** Source of events that name none. */
  readonly source: string;
}

/** Limits of one batch. An append is never divided, whatever its size. */
const BATCH = { appends: 512, events: 4096, bytes: 262_144 } as const;
/** Batches in flight over all partitions. */
const MAX_BATCHES = 32;
/** Callers of one batch, from which on the next batch's callers are resolved in a later turn. */
const YIELD_FROM = 32;

/** Events of one append. In `buffer` each one is an Event message without its position. */
export interface EncodedAppend {
  readonly partition: number;
  readonly category: string;
  readonly id: string;
  /** See encodeExpected. */
  readonly expected: number;
  /** Id of the append's first event; null: the append is not remembered. */
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
  /** Place of the append's first event in its flush. */
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
  /** Time of the first append, by the monotonic clock, ms. */
  readonly openedMs: number;
  /** Whether an attempt without an answer was followed by another one. */
  sentAgain: boolean;
  /** The answers; null: none yet, or the batch failed. */
  appended: AppendedBatch | null;
}

export interface QueueParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
  readonly confirm: Confirm;
  readonly settings: QueueSettings;
  /** Called when Redis has lost batches that it had acknowledged. */
  readonly gap: (error: ProducerGapError) => void;
  readonly verify?: Verify;
}

export class AppendQueue {
  readonly #parts: QueueParts;
  readonly #sender: PartitionSender<OpenBatch>;
  readonly #stop = sharedAbort();
  /** Length and CRC-32 of the bytes before the first event of each part. */
  readonly #headBytes: number;
  readonly #headCrc: number;
  /** Appends that found the buffer full, in order. */
  readonly #line: {
    readonly append: EncodedAppend;
    readonly resolve: Waiting['resolve'];
    readonly reject: Waiting['reject'];
  }[] = [];
  /** Buffers of answered batches, for the next ones. */
  readonly #spare = new SpareBuffers();
  #closed = false;

  constructor(parts: QueueParts) {
    const { partitions, settings, verify, gap } = parts;
    this.#parts = parts;
    const head = new BatchBuilder(settings.source).finish();
    this.#headBytes = head.bytes.length;
    this.#headCrc = head.crc;
    this.#sender = new PartitionSender<OpenBatch>({
      partitions,
      idPrefix: randomBytes(8).toString('hex'),
      bufferBytes: settings.bufferBytes,
      maxInFlight: MAX_BATCHES,
      lingerMs: 0,
      deadlineMs: settings.deadlineMs,
      signal: this.#stop.signal,
      departures: null,
      verify,
      gap,
      send: (batch, sending) => this.#send(batch, sending),
      settled: (batch, failure) => this.#settled(batch, failure),
    });
  }

  /**
   * Queues an append. Its bytes are copied before this returns. If the buffer is full, the append
   * waits in line.
   */
  add(append: EncodedAppend): Promise<SettledAppend> {
    if (this.#closed) return Promise.reject(new ClosedError('the event store'));
    return new Promise((resolve, reject) => {
      if (this.#line.length === 0 && !this.#sender.full(append.bytes))
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

  /** Sends the accepted appends, refuses those in line, and then refuses every call. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#line.splice(0)) reject(new ClosedError('the event store'));
    await this.#sender.drain();
    this.#stop.abort();
  }

  #accept(append: EncodedAppend, resolve: Waiting['resolve'], reject: Waiting['reject']): void {
    const { partition, bytes } = append;
    let batch = this.#sender.last(partition);
    if (
      batch === undefined ||
      batch.plan.appends >= BATCH.appends ||
      batch.events + append.events.length > BATCH.events ||
      batch.bytes + bytes > BATCH.bytes
    ) {
      batch = {
        builders: new Map(),
        histories: new Map(),
        plan: new AppendPlan(),
        waiting: [],
        events: 0,
        bytes: 0,
        openedMs: monotonicMs(),
        sentAgain: false,
        appended: null,
      };
      this.#sender.open(partition, batch);
    }
    batch.waiting.push({ place: this.#put(append, batch), resolve, reject });
    this.#sender.added(partition, bytes);
  }

  /** @returns the place of the append's first event in the flush */
  #put(append: EncodedAppend, batch: OpenBatch): number {
    const key = `${append.category}:${append.id}`;
    let history = batch.histories.get(key);
    if (!history) {
      history = { index: batch.histories.size, category: append.category, id: append.id };
      batch.histories.set(key, history);
    }
    const place = batch.events;
    const { events } = append;
    batch.bytes += append.bytes;
    if (events.length === 1) {
      this.#putOne(append, batch, history.index);
      return place;
    }
    // The append's share of each type's part, and the written length of each event.
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
    const { plan } = batch;
    plan.append(history.index, append.remember, append.expected, events.length, shares.length);
    for (const { part, builder, from, count } of shares)
      plan.part(part, count, crc32(builder.buffer.subarray(from, builder.bytes), this.#headCrc));
    for (let i = 0; i < lengths.length; i += 2)
      plan.event(lengths[i] as number, lengths[i + 1] as number);
    return place;
  }

  /** Puts an append of one event, as most are: without lists of its parts. */
  #putOne(
    { remember, expected, buffer, events }: EncodedAppend,
    batch: OpenBatch,
    at: number,
  ): void {
    const { type, start, end } = events[0] as EncodedAppend['events'][number];
    const { index, builder } = this.#builderOf(type, batch);
    const from = builder.bytes;
    const length = builder.addWritten(buffer, start, end, batch.events++);
    const { plan } = batch;
    plan.append(at, remember, expected, 1, 1);
    plan.part(index, 1, crc32(builder.buffer.subarray(from, builder.bytes), this.#headCrc));
    plan.event(index, length);
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

  async #send(batch: OpenBatch, sending: Sending): Promise<boolean> {
    const { connection, keys, confirm, settings } = this.#parts;
    batch.appended = await appendBatch(
      {
        ...sending,
        maxEvents: settings.maxEvents,
        headBytes: this.#headBytes,
        parts: Array.from(batch.builders, ([type, { builder }]) => ({ type, ...builder.finish() })),
        histories: [...batch.histories.values()],
        plan: batch.plan,
      },
      {
        connection,
        keys,
        confirm,
        signal: this.#stop.signal,
        deadlineMs: leftOf(settings.deadlineMs, batch.openedMs),
        onRetry: () => (batch.sentAgain = true),
      },
    );
    return true;
  }

  async #settled(batch: OpenBatch, failure: unknown): Promise<void> {
    // After an attempt without an answer the client may still write these bytes
    // (SpareBuffers.keep).
    if (failure === null && !batch.sentAgain)
      for (const { builder } of batch.builders.values()) this.#spare.keep(builder.buffer);
    this.#acceptFromLine();
    // Resolving wakes many callers, who append again. Yield first, so that the earlier callers'
    // appends are sent before.
    if (batch.waiting.length >= YIELD_FROM) await new Promise((resolve) => setImmediate(resolve));
    if (batch.appended !== null) settle(batch, batch.appended);
    else for (const { reject } of batch.waiting) reject(failure);
  }

  #acceptFromLine(): void {
    for (let next = this.#line[0]; next; next = this.#line[0]) {
      if (this.#sender.full(next.append.bytes)) return;
      this.#line.shift();
      this.#accept(next.append, next.resolve, next.reject);
    }
  }
}

function settle(batch: OpenBatch, { answers, weak }: AppendedBatch): void {
  batch.waiting.forEach(({ place, resolve, reject }, i) => {
    const answer = answers[i] as AppendAnswer;
    if (answer.kind === 'appended' && weak !== null) reject(weak);
    else resolve({ answer, place });
  });
}
