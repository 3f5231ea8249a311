/**
 * Group commit, per partition. An idle partition sends at once; while one gathering is in flight,
 * the next one gathers. So gatherings grow with the load, and cost no latency without load. The
 * bound on gatherings in flight makes them grow further when Redis is the slower side.
 *
 * Owned here, per partition: the gatherings, the one in flight, and the producer's epoch. A
 * partition's gatherings are sent one after the other, so that no sequence overtakes another.
 */
import { leftOf, monotonicMs } from '../../core/clock.ts';
import { BackpressureError, ProducerGapError } from '../../core/errors/append-errors.ts';
import type { Departures } from './departures.ts';
import { isOutOfMemory } from './pressure.ts';
import { ProducerEpoch } from './producer-epoch.ts';
import { verifyDeployment, type Verify } from './verify-deployment.ts';

/** Events of one partition that are sent together. */
export interface Gathering {
  readonly bytes: number;
  /** Time of the first event, by monotonicMs(). */
  readonly openedMs: number;
}

/** The number under which a gathering is sent: see append.lua, append-history.lua. */
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
  /** Time that an idle partition waits for more before it sends, ms. */
  readonly lingerMs: number;
  /** Time for a gathering since its first event, ms. */
  readonly deadlineMs: number;
  /** Aborts: every sending is given up. */
  readonly signal: AbortSignal;
  /** Null: departures are not spaced. */
  readonly departures: Departures | null;
  readonly verify: Verify | undefined;
  /** Called when Redis has lost gatherings that it had acknowledged. */
  readonly gap: (error: ProducerGapError, partition: number) => void;
  /**
   * Sends a gathering until Redis has answered. Rejects where the gathering was not appended, or
   * the outcome is unknown.
   * @returns whether the sequence was used
   */
  readonly send: (gathering: G, sending: Sending) => Promise<boolean>;
  /** Called when a gathering no longer counts as buffered. `failure` null: it was appended. */
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
  /** Trigger of the next departure; 'soon': a microtask; null: none is due. */
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

  /** Whether so many more bytes have no room. An event larger than the whole buffer goes alone. */
  full(bytes: number): boolean {
    return this.#bytes > 0 && this.#bytes + bytes > this.#parts.bufferBytes;
  }

  /** The open gathering. The caller judges whether it is full. */
  last(partition: number): G | undefined {
    const { gatherings } = this.#queues[partition] as PartitionQueue<G>;
    return gatherings[gatherings.length - 1];
  }

  /** Opens a gathering. The one before it takes no more. */
  open(partition: number, gathering: G): void {
    (this.#queues[partition] as PartitionQueue<G>).gatherings.push(gathering);
  }

  /** An event was added to the last gathering: sends now, or when the linger time is over. */
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

  /** Many events were added: a waiting departure may have enough now. */
  hasten(): void {
    if (this.#departing !== null) this.#departSoon();
  }

  /** Resolves when every event that was added is settled. */
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
   * Prepares the next departure: all partitions with something to send leave together, in one
   * write. They leave after a microtask, so that one call's events travel together, or later (see
   * Departures).
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

  /** @returns why the gathering was not appended; null: it was */
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
      // The use of this number is not known, or Redis has lost some numbers.
      epoch.renew(monotonicMs());
      return isOutOfMemory(error)
        ? new BackpressureError({ reason: 'redis-memory', retryAfterMs: 1000 })
        : error;
    }
  }
}
