/**
 * Group sending, per partition: an idle partition sends at once; while a gathering is in flight the
 * next one gathers. So gatherings grow with the load, and without load they cost no latency. The
 * bound on gatherings in flight makes them grow further when Redis is the slower side.
 *
 * Owned here: per partition the gatherings, the one in flight and the producer's epoch. A
 * partition's gatherings are sent one after the other, so a sequence is never overtaken.
 */
import { leftOf, monotonicMs } from '../../core/clock.ts';
import { BackpressureError, ProducerGapError } from '../../core/errors.ts';
import type { Departures } from './departures.ts';
import { isOutOfMemory } from './pressure.ts';
import { ProducerEpoch } from './producer-epoch.ts';
import { verifyDeployment, type Verify } from './verify-deployment.ts';

/** Events gathered for one partition, sent together. */
export interface Gathering {
  readonly bytes: number;
  /** When its first event came, by the monotonic clock. */
  readonly openedMs: number;
}

/** Under which number a gathering is sent: append.lua, append-history.lua. */
export interface Sending {
  readonly partition: number;
  readonly producer: string;
  readonly sequence: number;
}

export interface SenderParts<G extends Gathering> {
  readonly partitions: number;
  /** Beginning of the producer ids. */
  readonly idPrefix: string;
  /** Most bytes buffered over all partitions, in flight included. */
  readonly bufferBytes: number;
  /** Most gatherings in flight over all partitions. */
  readonly maxInFlight: number;
  /** How long an idle partition waits for more before it sends, in ms. */
  readonly lingerMs: number;
  /** Time for a gathering since its first event, in ms. */
  readonly deadlineMs: number;
  /** Aborted: whatever is under way is given up. */
  readonly signal: AbortSignal;
  /** Null: departures are not spaced. */
  readonly departures: Departures | null;
  readonly verify: Verify | undefined;
  /** Redis has lost what it had acknowledged. */
  readonly gap: (error: ProducerGapError, partition: number) => void;
  /**
   * Sends a gathering until Redis has answered. Rejects where it was not appended, or where that is
   * not known.
   * @returns whether the sequence was used
   */
  readonly send: (gathering: G, sending: Sending) => Promise<boolean>;
  /** A gathering is done, and no longer counts as buffered. `failure` null: it was appended. */
  readonly settled: (gathering: G, failure: unknown) => Promise<void> | void;
}

interface PartitionQueue<G> {
  state: 'idle' | 'ready' | 'in flight';
  readonly epoch: ProducerEpoch;
  /** Full gatherings, then the open one. */
  readonly gatherings: G[];
  linger: NodeJS.Timeout | null;
}

export class PartitionSender<G extends Gathering> {
  readonly #parts: SenderParts<G>;
  readonly #queues: PartitionQueue<G>[];
  /** Partitions with something to send, in turn. */
  readonly #ready: number[] = [];
  readonly #drained: (() => void)[] = [];
  /** What the next departure waits for; 'soon': a microtask. */
  #departing: NodeJS.Timeout | 'soon' | null = null;
  #epochs = 0;
  #inFlight = 0;
  #bytes = 0;

  constructor(parts: SenderParts<G>) {
    this.#parts = parts;
    const newId = (): string => `${parts.idPrefix}.${++this.#epochs}`;
    this.#queues = Array.from({ length: parts.partitions }, () => ({
      state: 'idle',
      epoch: new ProducerEpoch(newId),
      gatherings: [],
      linger: null,
    }));
  }

  /** Bytes added and not yet settled. */
  get bytes(): number {
    return this.#bytes;
  }

  /** No room for so many more bytes. What is larger than the whole buffer goes alone. */
  full(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > this.#parts.bufferBytes;
  }

  /** The gathering to add to, unless it is full. */
  last(partition: number): G | undefined {
    const { gatherings } = this.#queues[partition] as PartitionQueue<G>;
    return gatherings[gatherings.length - 1];
  }

  /** Opens a gathering; the one before it takes no more. */
  open(partition: number, gathering: G): void {
    (this.#queues[partition] as PartitionQueue<G>).gatherings.push(gathering);
  }

  /** Something was added: send now, or when the linger time is over. */
  added(partition: number, bytes: number): void {
    this.#bytes += bytes;
    const { lingerMs } = this.#parts;
    const queue = this.#queues[partition] as PartitionQueue<G>;
    if (lingerMs === 0 || queue.gatherings.length > 1) return this.#enqueue(partition);
    queue.linger ??= setTimeout(() => {
      queue.linger = null;
      this.#enqueue(partition);
    }, lingerMs);
  }

  /** Much was added: a departure that waits may have enough now. */
  hasten(): void {
    if (this.#departing !== null) this.#departSoon();
  }

  /** Resolves when everything that was added is settled. */
  async drain(): Promise<void> {
    while (this.#bytes > 0 || this.#inFlight > 0) {
      for (let partition = 0; partition < this.#queues.length; partition++)
        this.#enqueue(partition);
      await new Promise<void>((resolve) => this.#drained.push(resolve));
    }
  }

  #enqueue(partition: number): void {
    const queue = this.#queues[partition] as PartitionQueue<G>;
    if (queue.state !== 'idle' || queue.gatherings.length === 0) return;
    queue.state = 'ready';
    this.#ready.push(partition);
    this.#departSoon();
  }

  /**
   * The next departure: all partitions with something to send leave together, in one write. After a
   * microtask, so that all of one call travels together, or later (see Departures).
   */
  #departSoon(): void {
    if (this.#departing === 'soon') return;
    const { departures } = this.#parts;
    const waitMs = departures === null ? 0 : departures.waitMs(monotonicMs());
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
    this.#parts.departures?.departed(monotonicMs());
    while (this.#ready.length > 0 && this.#inFlight < this.#parts.maxInFlight)
      void this.#sendNext(this.#ready.shift() as number);
  }

  async #sendNext(partition: number): Promise<void> {
    const queue = this.#queues[partition] as PartitionQueue<G>;
    const gathering = queue.gatherings.shift() as G;
    queue.state = 'in flight';
    this.#inFlight++;
    const failure = await this.#send(gathering, partition, queue.epoch);
    queue.state = 'idle';
    this.#inFlight--;
    this.#bytes -= gathering.bytes;
    this.#enqueue(partition);
    if (this.#ready.length > 0) this.#departSoon();
    await this.#parts.settled(gathering, failure);
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** @returns why it was not appended; null: it was */
  async #send(gathering: G, partition: number, epoch: ProducerEpoch): Promise<unknown> {
    const { verify, signal, deadlineMs, send, gap } = this.#parts;
    const nowMs = monotonicMs();
    const number = epoch.next(nowMs);
    try {
      await verifyDeployment(verify, signal, leftOf(deadlineMs, gathering.openedMs));
      const used = await send(gathering, { partition, ...number });
      if (!used) epoch.giveBack();
      epoch.answered(nowMs);
      return null;
    } catch (error) {
      if (error instanceof ProducerGapError) gap(error, partition);
      // Whether this number was used is not known, or Redis has lost some.
      epoch.renew(monotonicMs());
      return isOutOfMemory(error)
        ? new BackpressureError({ reason: 'redis-memory', retryAfterMs: 1000 })
        : error;
    }
  }
}
