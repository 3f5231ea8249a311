/** A publisher's events on their way: gathered per partition, sent as flushes. */
import { leftOf, monotonicMs } from '../../core/clock.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { positionPrefix } from '../../core/position.ts';
import type { PayloadArena } from '../../wire/payload-arena.ts';
import { SpareBuffers } from '../../wire/spare-buffers.ts';
import { appendFlush, type Appended, type FlushPart } from './append.ts';
import { BacklogLimits } from './backlog-limits.ts';
import { Departures } from './departures.ts';
import type { EncodedEvent } from './encoded-event.ts';
import { OpenFlush, type FlushContext } from './open-flush.ts';
import { PartitionSender, type Sending } from './partition-sender.ts';
import { isOutOfMemory, type PressureGauge } from './pressure.ts';
import { refusedWritesOf, type PublisherParts } from './publisher-parts.ts';

export interface FlushesParts {
  readonly publisher: PublisherParts;
  /** Beginning of the producer ids. */
  readonly idPrefix: string;
  readonly signal: AbortSignal;
  /** The gauge is told of each answer. */
  readonly gauge: PressureGauge;
  /** Called when bytes have left the buffer. */
  readonly left: () => void;
}

export class Flushes {
  readonly #parts: FlushesParts;
  readonly #context: FlushContext;
  readonly #departures: Departures;
  readonly #limits: BacklogLimits;
  readonly #sender: PartitionSender<OpenFlush>;
  readonly #flushEvents: number;
  readonly #flushBytes: number;
  /** Entry id of the last appended flush, by partition; empty: none. */
  readonly #lastEntryIds: string[];

  constructor(parts: FlushesParts) {
    const { publisher, idPrefix, signal } = parts;
    const { partitions, catalog, settings, verify } = publisher;
    this.#parts = parts;
    this.#context = { source: settings.source, catalog, spare: new SpareBuffers() };
    this.#departures = new Departures(partitions);
    this.#limits = new BacklogLimits(publisher.maxBacklogs);
    this.#flushEvents = settings.flushEvents;
    this.#flushBytes = settings.flushBytes;
    this.#lastEntryIds = Array.from({ length: partitions }, () => '');
    this.#sender = new PartitionSender<OpenFlush>({
      partitions,
      idPrefix,
      bufferBytes: settings.bufferBytes,
      maxInFlight: settings.maxFlushes,
      lingerMs: settings.lingerMs,
      deadlineMs: settings.deadlineMs,
      signal,
      departures: this.#departures,
      verify,
      gap: (error, partition) => publisher.gap?.(error, this.#lastEntryIds[partition] as string),
      send: (flush, sending) => this.#send(flush, sending),
      settled: (flush, failure) => {
        parts.left();
        flush.settle(failure);
      },
    });
  }

  /** Bytes accepted and not yet appended. */
  get bytes(): number {
    return this.#sender.bytes;
  }

  full(bytes: number): boolean {
    return this.#sender.full(bytes);
  }

  /**
   * Adds an event to its partition's open flush, or opens one.
   * @param arena holds the event's bytes
   * @returns the flush that takes the event
   */
  add(event: EncodedEvent, arena: PayloadArena): OpenFlush {
    const { partition, bytes } = event;
    let flush = this.#sender.last(partition);
    if (
      flush === undefined ||
      flush.events >= this.#flushEvents ||
      flush.bytes + bytes > this.#flushBytes
    ) {
      flush = new OpenFlush(this.#context);
      this.#sender.open(partition, flush);
    }
    flush.add(event, arena);
    this.#departures.added();
    this.#sender.added(partition, bytes);
    return flush;
  }

  /** A call has added all its events. */
  hasten(): void {
    this.#sender.hasten();
  }

  drain(): Promise<void> {
    return this.#sender.drain();
  }

  /** Sends a flush, then again without the events that are there already. */
  async #send(flush: OpenFlush, sending: Sending): Promise<boolean> {
    let parts = flush.parts(this.#limits);
    while (parts.length > 0) {
      const answer = await this.#append(flush, sending, parts);
      if (answer.kind === 'taken')
        throw new TypeError(
          'append.lua answered "taken" to a flush that takes no scheduled events',
        );
      if (answer.kind === 'appended') {
        this.#appended(flush, sending.partition, parts, answer);
        return true;
      }
      parts = flush.withoutRepeated(parts, answer.events);
    }
    return false;
  }

  #append(
    flush: OpenFlush,
    sending: Sending,
    parts: readonly FlushPart[],
  ): ReturnType<typeof appendFlush> {
    const { connection, keys, confirm, settings, refused } = this.#parts.publisher;
    return appendFlush(
      { ...sending, parts },
      {
        connection,
        keys,
        confirm,
        signal: this.#parts.signal,
        deadlineMs: leftOf(settings.deadlineMs, flush.openedMs),
        refusedWrites: refusedWritesOf(settings),
        onRetry: (error) => {
          flush.sentAgain = true;
          if (isOutOfMemory(error)) this.#parts.gauge.outOfMemory();
          if (error instanceof RedisReplyError && error.refuses === 'writes') refused?.(error);
        },
      },
    );
  }

  #appended(
    flush: OpenFlush,
    partition: number,
    parts: readonly FlushPart[],
    { entryId, backlogs }: Appended,
  ): void {
    const { gauge } = this.#parts;
    flush.address = positionPrefix(partition, entryId);
    this.#lastEntryIds[partition] = entryId;
    this.#parts.publisher.meters?.appended(parts, monotonicMs() - flush.openedMs);
    if (backlogs.length > 0 || !gauge.calm) gauge.answered(partition, parts, backlogs);
  }
}
