import type { InspectOptions } from 'node:util';
import type { EventRef } from '../core/thread-protocol.ts';
import type { EnvelopeError } from '../core/errors/data-errors.ts';
import { INSPECT, shown } from '../core/shown.ts';
import type { FunctionEvent } from '../define/function-event.ts';
import type { EventType } from '../wire/event-type.ts';
import { nameOr } from '../wire/envelope-problem.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { EmittedBy } from './emission.ts';

/** Entry or parked record that events come from; one object for all events of an entry. */
export interface EventOrigin {
  /** Name of the events' type. */
  readonly typeName: string;
  /** Type of the events; null: to be looked up. */
  readonly type: EventType | null;
  readonly partition: number;
  readonly entryId: string;
  /** Index into the task's entries; -1: a retried record. */
  readonly entry: number;
  /** Start of the header's offsets, in the batch's buffer. */
  readonly base: number;
  readonly attempt: number;
}

const NO_EXTENSIONS: Readonly<Record<string, string>> = Object.freeze({});

/**
 * Event as the function sees it. A class, so that all events share one hidden class and the Date is
 * made on demand.
 */
export class EventView implements FunctionEvent<string, unknown> {
  // `declare`: only the constructor assigns these fields. One object is made for every event.
  // Without `declare`, each field would be written twice.
  declare readonly id: string;
  declare readonly type: string;
  declare readonly subject: string;
  declare readonly source: string;
  declare readonly schema: number;
  declare readonly extensions: Readonly<Record<string, string>>;
  declare data: unknown;
  readonly #timeMs: number;
  readonly #partition: number;
  readonly #entryId: string;
  readonly #position: number;

  /**
   * @param header read once: its object is reused for the next event
   * @param valid whether the header has no problem; else an invalid id or subject becomes ''
   * @param position the event's place in the flush
   */
  constructor(header: EventHeader, valid: boolean, origin: EventOrigin, position: number) {
    this.id = valid ? header.id : nameOr('id', header.id);
    this.type = origin.typeName;
    this.subject = valid ? header.subject : nameOr('subject', header.subject);
    this.source = header.source;
    this.schema = header.schema;
    this.extensions = header.extensions ?? NO_EXTENSIONS;
    this.data = undefined;
    this.#timeMs = header.timeMs;
    this.#partition = origin.partition;
    this.#entryId = origin.entryId;
    this.#position = position;
  }
  get time(): Date {
    return new Date(this.#timeMs);
  }
  get entryId(): string {
    return this.#entryId;
  }
  /** Place of the event in the flush. */
  get place(): number {
    return this.#position;
  }
  get position(): string {
    return `${this.#partition}/${this.#entryId}/${this.#position}`;
  }
  /** For code that prints or clones the whole event. */
  toJSON(): Record<string, unknown> {
    return {
      id: this.id,
      type: this.type,
      subject: this.subject,
      source: this.source,
      time: this.time.toISOString(),
      schema: this.schema,
      position: this.position,
      extensions: this.extensions,
      data: this.data,
    };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('', { ...this.toJSON(), time: this.time }, options, inspect);
  }
}

/** An event of the running batch. Events of one subject are linked. */
export class RunningEvent {
  declare readonly view: EventView;
  /** Place of the Event message, in the entry's bytes. */
  declare readonly offset: number;
  declare readonly length: number;
  /** Place of the payload, in the batch's buffer. */
  declare readonly dataStart: number;
  declare readonly dataEnd: number;
  declare readonly timeMs: number;
  declare readonly index: number;
  declare readonly entry: number;
  declare readonly indexInEntry: number;
  declare readonly attempt: number;
  /** Type of the event; null: to be looked up. */
  declare readonly type: EventType | null;
  declare startedMs: number;
  declare timedOut: boolean;
  declare next: RunningEvent | null;
  /** Emissions of the event; null: none. */
  declare emitted: EmittedBy | null;
  /** First problem of the event's attributes: an event with a problem is not run. */
  declare envelope: EnvelopeError | null;
  /** Whether the event is done or failed: nothing more can be emitted for it. */
  declare settled: boolean;

  /** @param header read once: its object is reused for the next event */
  constructor(
    view: EventView,
    header: EventHeader,
    origin: EventOrigin,
    index: number,
    indexInEntry: number,
  ) {
    this.view = view;
    this.offset = header.offset;
    this.length = header.length;
    this.dataStart = origin.base + header.dataOffset;
    this.dataEnd = this.dataStart + header.dataLength;
    this.timeMs = header.timeMs;
    this.index = index;
    this.entry = origin.entry;
    this.indexInEntry = indexInEntry;
    this.attempt = origin.attempt;
    this.type = origin.type;
    this.startedMs = 0;
    this.timedOut = false;
    this.next = null;
    this.emitted = null;
    this.envelope = null;
    this.settled = false;
  }

  get entryId(): string {
    return this.view.entryId;
  }

  ref(): EventRef {
    const { view } = this;
    return {
      index: this.index,
      entry: this.entry,
      indexInEntry: this.indexInEntry,
      offset: this.offset,
      length: this.length,
      position: view.place,
      id: view.id,
      subject: view.subject,
    };
  }
}
