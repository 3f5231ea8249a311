/** The events gathered for one flush of one partition, type by type. */
import { monotonicMs } from '../../core/clock.ts';
import { walkBatch } from '../../wire/batch-reader.ts';
import { BatchBuilder } from '../../wire/batch-writer.ts';
import type { Catalog } from '../../wire/catalog.ts';
import type { PayloadArena } from '../../wire/payload-arena.ts';
import type { SpareBuffers } from '../../wire/spare-buffers.ts';
import type { FlushPart, Repeated } from './append.ts';
import type { BacklogLimits } from './backlog-limits.ts';
import type { EncodedEvent } from './encoded-event.ts';
import type { Gathering } from './partition-sender.ts';

/** Parts that all flushes of a publisher share. */
export interface FlushContext {
  readonly source: string;
  readonly catalog: Pick<Catalog, 'types'>;
  /** Buffers of answered flushes, for the next flushes. */
  readonly spare: SpareBuffers;
}

interface TypeEvents {
  readonly builder: BatchBuilder;
  /** Time for which an id is remembered, ms; 0: not at all. */
  readonly windowMs: number;
  /** Events not yet known as repeated, in order. Empty where no id is remembered. */
  remembered: EncodedEvent[];
}

export class OpenFlush implements Gathering {
  readonly #context: FlushContext;
  readonly #types = new Map<string, TypeEvents>();
  readonly openedMs = monotonicMs();
  events = 0;
  bytes = 0;
  /** Beginning of the events' positions (core/position.ts); empty until the flush is appended. */
  address = '';
  /** Whether an attempt without an answer was followed by another one. */
  sentAgain = false;
  /** Settles with the flush, for all its events. */
  readonly appended: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  constructor(context: FlushContext) {
    this.#context = context;
    this.appended = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A publishMany that fails with one flush never looks at its others. Their rejections must not
    // count as unhandled.
    this.appended.catch(() => undefined);
  }

  /** @param arena holds the event's bytes */
  add(event: EncodedEvent, arena: PayloadArena): void {
    let of = this.#types.get(event.type);
    if (of === undefined) of = this.#begin(event.type);
    of.builder.addWritten(arena.buffer, event.start, event.end, this.events);
    if (of.windowMs > 0) of.remembered.push(event);
    event.flush = this;
    event.place = this.events++;
    this.bytes += event.bytes;
  }

  #begin(type: string): TypeEvents {
    const { source, catalog, spare } = this.#context;
    const builder = new BatchBuilder(source, spare.take());
    const windowMs = catalog.types.get(type)?.dedupeMs ?? 0;
    const of: TypeEvents = { builder, windowMs, remembered: [] };
    this.#types.set(type, of);
    return of;
  }

  parts(limits: BacklogLimits): FlushPart[] {
    return Array.from(this.#types, ([type, of]) => ({
      type,
      ...of.builder.finish(),
      maxBacklog: limits.of(type),
      dedupe: this.#dedupeOf(of),
    }));
  }

  /** The parts without the events that are there already. A part without events is left out. */
  withoutRepeated(parts: readonly FlushPart[], repeated: Repeated['events']): FlushPart[] {
    const left: FlushPart[] = [];
    parts.forEach((part, p) => {
      const out = new Set(repeated.filter((one) => one.part === p).map((one) => one.index));
      const rest = out.size === 0 ? part : this.#leaveOut(part, out);
      if (rest !== null) left.push(rest);
    });
    return left;
  }

  /** @param out places in the part of the events to leave out */
  #leaveOut(part: FlushPart, out: ReadonlySet<number>): FlushPart | null {
    const of = this.#types.get(part.type) as TypeEvents;
    // A later answer counts its places in the rest.
    of.remembered = of.remembered.filter((event, index) => {
      if (out.has(index)) event.duplicate = true;
      return !out.has(index);
    });
    if (of.remembered.length === 0) return null;
    const builder = new BatchBuilder(this.#context.source);
    walkBatch(part.bytes, ({ index, offset, length }) => {
      if (!out.has(index)) builder.addRaw(part.bytes.subarray(offset, offset + length));
    });
    return { ...part, ...builder.finish(), dedupe: this.#dedupeOf(of) };
  }

  #dedupeOf({ windowMs, remembered }: TypeEvents): FlushPart['dedupe'] {
    if (windowMs === 0) return undefined;
    const { source } = this.#context;
    return { ids: remembered.map((event) => event.identity(source)), windowMs };
  }

  /** @param failure null: the flush was appended */
  settle(failure: unknown): void {
    // Without an answer to each sending the client may still write these bytes (SpareBuffers.keep).
    if (failure === null && !this.sentAgain)
      for (const { builder } of this.#types.values()) this.#context.spare.keep(builder.buffer);
    // Published events refer to their flush: it must not keep its bytes alive.
    this.#types.clear();
    if (failure === null) this.#resolve();
    else this.#reject(failure);
  }
}
