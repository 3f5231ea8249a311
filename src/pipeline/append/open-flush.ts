/** Events gathered for one flush of one partition, type by type. */
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

/** The same for all flushes of a publisher. */
export interface FlushContext {
  readonly source: string;
  readonly catalog: Pick<Catalog, 'types'>;
  /** Buffers of flushes with an answer, for the next ones. */
  readonly spare: SpareBuffers;
}

interface TypeEvents {
  readonly builder: BatchBuilder;
  /** How long an id is remembered, in ms; 0: not at all. */
  readonly windowMs: number;
  /** The events that are not known as repeated, in order; empty where no id is remembered. */
  remembered: EncodedEvent[];
}

export class OpenFlush implements Gathering {
  readonly #context: FlushContext;
  readonly #types = new Map<string, TypeEvents>();
  readonly openedMs = monotonicMs();
  events = 0;
  bytes = 0;
  /** Beginning of its events' positions (core/position.ts); empty until it is appended. */
  address = '';
  /** Whether an attempt without an answer was followed by another one. */
  sentAgain = false;
  /** Settles with the flush, for all events in it. */
  readonly appended: Promise<void>;
  #resolve!: () => void;
  #reject!: (error: unknown) => void;

  constructor(context: FlushContext) {
    this.#context = context;
    this.appended = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Every publishMany looks at it; one that gave up on another flush first must not leave it
    // unhandled.
    this.appended.catch(() => undefined);
  }

  /** @param arena which has the event's bytes */
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

  /** The parts without the events that are there already; a part without events goes too. */
  withoutRepeated(parts: readonly FlushPart[], repeated: Repeated['events']): FlushPart[] {
    const left: FlushPart[] = [];
    parts.forEach((part, p) => {
      const out = new Set(repeated.filter((one) => one.part === p).map((one) => one.index));
      const rest = out.size === 0 ? part : this.#leaveOut(part, out);
      if (rest !== null) left.push(rest);
    });
    return left;
  }

  /** @param out places in the part */
  #leaveOut(part: FlushPart, out: ReadonlySet<number>): FlushPart | null {
    const of = this.#types.get(part.type) as TypeEvents;
    // Kept where later answers speak of the rest.
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

  /** @param failure null: it was appended */
  settle(failure: unknown): void {
    // Without an answer to each sending the client may still write these bytes (SpareBuffers.keep).
    if (failure === null && !this.sentAgain)
      for (const { builder } of this.#types.values()) this.#context.spare.keep(builder.buffer);
    // Events know their flush: its bytes must not stay with them.
    this.#types.clear();
    if (failure === null) this.#resolve();
    else this.#reject(failure);
  }
}
