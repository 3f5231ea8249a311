/**
 * Events that a batch emits. An emitted event is checked and encoded at the call, and kept with its
 * cause until the cause is done. Then the event is written into the batch's block. Events are
 * written in the order in which their causes were done. A cause that failed has emitted nothing.
 */
import { wallClockMs } from '../core/clock.ts';
import { emittedEventId, emittedIdPrefix } from '../core/emitted-ids.ts';
import { CAUSATION, EMIT_LIMITS, type Emitted } from '../core/emitted.ts';
import { EmitClosedError, EmitLoopError } from '../core/errors/handler-errors.ts';
import { OversizeError } from '../core/errors/input-errors.ts';
import { checkOptions, EMIT_OPTIONS } from '../core/known-options.ts';
import { partitionOf } from '../core/partition.ts';
import { inheritedTrace, traceExtensions } from '../core/trace-context.ts';
import type { LocalSchema } from '../core/schema-id.ts';
import type { DeliveryTime } from '../core/delivery-time.ts';
import type { EmitOptions } from '../define/define-function.ts';
import type { Catalog } from '../wire/catalog.ts';
import { BatchBuilder } from '../wire/batch-writer.ts';
import { EventEncoder } from '../wire/event-encoder.ts';
import { PackWriter } from '../wire/message-pack.ts';
import { PayloadArena } from '../wire/payload-arena.ts';
import type { BatchTrace } from './batch-trace.ts';
import type { EmittedBy, Emission } from './emission.ts';
import type { RunningEvent } from './running-event.ts';

export interface EmitsParts {
  /** Spans of the batch. Null: no SDK is registered in the thread. */
  readonly trace: BatchTrace | null;
  readonly fn: string;
  readonly partition: number;
  readonly partitions: number;
  readonly catalog: Catalog;
  /** Schemas of the types, as the registry has them. */
  readonly schemas: ReadonlyMap<string, LocalSchema>;
}

/** Limits of a flush, which goes into one partition under one entry id. */
const FLUSH = { bytes: 262_144, events: 16_384, scheduled: 500, types: 100 } as const;

/**
 * Arena for the next batch. A batch with handlers that still run keeps its own arena until they
 * have settled.
 */
let spare: PayloadArena | null = null;

export class Emits {
  readonly #parts: EmitsParts;
  readonly #encoder: EventEncoder;
  readonly #arena: PayloadArena;
  #settled: Emission[] = [];
  /** Bytes emitted by running events, and by events that are done but not yet reported. */
  #bytes = 0;

  constructor(parts: EmitsParts) {
    this.#parts = parts;
    this.#arena = spare ?? new PayloadArena();
    spare = null;
    this.#arena.clear();
    const { fn: source, catalog, schemas } = parts;
    this.#encoder = new EventEncoder({ catalog, schemas, source, options: null }, this.#arena);
  }

  /** Gives the arena back. Nothing can be emitted any more. */
  close(): void {
    spare = this.#arena;
  }

  /** Whether the turn has emitted enough, and is to run no further event. */
  get full(): boolean {
    return this.#bytes >= EMIT_LIMITS.turnBytes;
  }

  /**
   * Emits an event for a cause.
   * @returns the emitted event's id
   * @throws UnknownEventTypeError, InvalidEventError (naming the field), OversizeError (naming the
   *   limit), EmitLoopError, EmitClosedError: the event is not emitted
   * @throws SchemaNotRegisteredError: Redis lost the schema registry, which refuses the type's
   *   schema now
   */
  add(cause: RunningEvent, type: string, data: unknown, options: EmitOptions): string {
    const { fn, partitions } = this.#parts;
    if (cause.settled) throw new EmitClosedError(fn, cause.view.id);
    checkOptions(type, options, EMIT_OPTIONS);
    const by = (cause.emitted ??= emittedBy(fn, cause));
    this.#checkCount(by, cause);
    const id = options.id ?? emittedEventId(by.idPrefix, by.emissions.length);
    const { trace } = this.#parts;
    const context = trace && trace.emit(cause, type, id);
    const extensions = context ? { ...by.extensions, ...traceExtensions(context) } : by.extensions;
    const { subject, deliverAt, delayMs } = options;
    const draft = { type, data, id: options.id, subject, deliverAt, delayMs, extensions };
    const encoder = this.#encoder;
    const arena = this.#arena;
    const before = arena.end;
    try {
      encoder.encode(draft, id, wallClockMs(), null);
      this.#take(by, arena.end - before, cause);
    } catch (error) {
      arena.truncate(before);
      throw error;
    }
    by.emissions.push({
      id,
      type,
      partition: partitionOf(encoder.subject, partitions),
      when: encoder.when,
      start: before,
      end: arena.end,
    });
    return id;
  }

  /** @throws EmitLoopError, OversizeError */
  #checkCount(by: EmittedBy, { view }: RunningEvent): void {
    const { fn } = this.#parts;
    if (by.depth > EMIT_LIMITS.depth) throw new EmitLoopError(fn, view.id, EMIT_LIMITS.depth);
    if (by.emissions.length < EMIT_LIMITS.events) return;
    throw new OversizeError(
      `the output of function "${fn}" for event ${view.id}`,
      by.emissions.length + 1,
      EMIT_LIMITS.events,
      'events. Emit fewer, larger ones, or one event whose function emits the rest',
    );
  }

  /**
   * Counts one more event of so many bytes.
   * @throws OversizeError
   */
  #take(by: EmittedBy, bytes: number, { view }: RunningEvent): void {
    const { fn } = this.#parts;
    if (by.bytes + bytes > EMIT_LIMITS.eventBytes) {
      throw new OversizeError(
        `the output of function "${fn}" for event ${view.id}`,
        by.bytes + bytes,
        EMIT_LIMITS.eventBytes,
        'bytes. Emit references to the data',
      );
    }
    if (this.#bytes + bytes > EMIT_LIMITS.turnMostBytes) {
      throw new OversizeError(
        `the output of function "${fn}" in one turn`,
        this.#bytes + bytes,
        EMIT_LIMITS.turnMostBytes,
        'bytes. Lower its concurrency or batchSize; this event is tried again',
      );
    }
    by.bytes += bytes;
    this.#bytes += bytes;
  }

  /**
   * Marks a cause as done: its emissions will be written.
   * @returns whether there are any
   */
  settle(cause: RunningEvent): boolean {
    cause.settled = true;
    if (cause.emitted === null || cause.emitted.emissions.length === 0) return false;
    for (const emission of cause.emitted.emissions) this.#settled.push(emission);
    return true;
  }

  /** Drops the emissions of a cause that failed or is to run again. */
  drop(cause: RunningEvent): void {
    if (cause.emitted === null) return;
    this.#bytes -= cause.emitted.bytes;
    cause.emitted = null;
  }

  /** Returns the emissions of the causes that were done since the last report; null: none. */
  report(): Emitted | null {
    const emissions = this.#settled;
    if (emissions.length === 0) return null;
    this.#settled = [];
    const { fn, partition } = this.#parts;
    const types = new Set<string>();
    let bytes = 0;
    for (const { start, end } of emissions) bytes += end - start;
    this.#bytes -= bytes;
    const pack = new PackWriter(bytes + 1024);
    const open = new Map<number, Flush>();
    for (const emission of emissions) {
      let flush = open.get(emission.partition);
      if (!flush) open.set(emission.partition, (flush = new Flush(fn, this.#arena)));
      flush.add(emission);
      if (emission.partition === partition && emission.when === null) types.add(emission.type);
      if (!flush.full) continue;
      flush.writeTo(pack, emission.partition === partition ? 0 : emission.partition + 1);
      open.delete(emission.partition);
    }
    for (const [to, flush] of open) flush.writeTo(pack, to === partition ? 0 : to + 1);
    return { types: [...types], block: pack.finish(), bytes };
  }
}

class Flush {
  readonly #source: string;
  readonly #arena: PayloadArena;
  readonly #builders = new Map<string, BatchBuilder>();
  readonly #scheduled: Emission[] = [];
  #events = 0;
  #bytes = 0;

  constructor(source: string, arena: PayloadArena) {
    this.#source = source;
    this.#arena = arena;
  }

  get full(): boolean {
    return (
      this.#bytes >= FLUSH.bytes ||
      this.#events >= FLUSH.events ||
      this.#scheduled.length >= FLUSH.scheduled ||
      this.#builders.size >= FLUSH.types
    );
  }

  add(emission: Emission): void {
    this.#bytes += emission.end - emission.start;
    if (emission.when !== null) {
      this.#scheduled.push(emission);
      return;
    }
    let builder = this.#builders.get(emission.type);
    if (!builder) this.#builders.set(emission.type, (builder = new BatchBuilder(this.#source)));
    builder.addWritten(this.#arena.buffer, emission.start, emission.end, this.#events++);
  }

  writeTo(pack: PackWriter, to: number): void {
    pack.uint(to);
    pack.uint(this.#bytes);
    pack.uint(this.#builders.size);
    for (const [type, builder] of this.#builders) {
      const { bytes, count, crc } = builder.finish();
      pack.text(type);
      pack.uint(count);
      pack.uint(crc);
      pack.raw(bytes);
    }
    pack.uint(this.#scheduled.length);
    for (const { id, type, when, start, end } of this.#scheduled) {
      const { kind, ms } = when as DeliveryTime;
      pack.text(id);
      pack.text(kind === 'delay' ? '1' : '0');
      pack.text(String(ms));
      pack.text(type);
      pack.raw(this.#arena.buffer.subarray(start, end));
    }
  }
}

function emittedBy(fn: string, { view }: RunningEvent): EmittedBy {
  const { extensions } = view;
  const depth = (Number(extensions[CAUSATION.depth]) || 0) + 1;
  return {
    emissions: [],
    bytes: 0,
    idPrefix: emittedIdPrefix(view.id, fn),
    depth,
    // Where no span is made, the emitted event is in the trace of its cause all the same.
    extensions: {
      ...inheritedTrace(extensions),
      [CAUSATION.cause]: view.id,
      [CAUSATION.correlation]: extensions[CAUSATION.correlation] || view.id,
      [CAUSATION.depth]: String(depth),
    },
  };
}
