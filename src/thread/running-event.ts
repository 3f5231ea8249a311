import type { InspectOptions } from 'node:util';
import type { EventRef } from '../core/batch-task.ts';
import type { EnvelopeError } from '../core/errors.ts';
import { INSPECT, shown } from '../core/shown.ts';
import type { FunctionEvent } from '../define/define-function.ts';
import type { EventType } from '../wire/catalog.ts';
import type { EventHeader } from '../wire/event-batch.ts';
import type { EmittedBy } from './emits.ts';

const NO_EXTENSIONS: Readonly<Record<string, string>> = Object.freeze({});

/** The event as the function sees it. A class, so that all events share one hidden class and the Date is made on demand. */
export class EventView implements FunctionEvent<string, unknown> {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly source: string;
  readonly schema: number;
  readonly extensions: Readonly<Record<string, string>>;
  data: unknown = undefined;
  readonly #timeMs: number;
  readonly #partition: number;
  readonly #entryId: string;
  readonly #position: number;

  constructor(
    id: string,
    type: string,
    subject: string,
    source: string,
    schema: number,
    extensions: Readonly<Record<string, string>> | null,
    timeMs: number,
    partition: number,
    entryId: string,
    position: number,
  ) {
    this.id = id;
    this.type = type;
    this.subject = subject;
    this.source = source;
    this.schema = schema;
    this.extensions = extensions ?? NO_EXTENSIONS;
    this.#timeMs = timeMs;
    this.#partition = partition;
    this.#entryId = entryId;
    this.#position = position;
  }
  get time(): Date {
    return new Date(this.#timeMs);
  }
  get entryId(): string {
    return this.#entryId;
  }
  /** Its place in the flush. */
  get place(): number {
    return this.#position;
  }
  get position(): string {
    return `${this.#partition}/${this.#entryId}/${this.#position}`;
  }
  /** For what prints or clones the event whole. */
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
  [INSPECT](_: number, options: InspectOptions, inspect: (value: unknown, options: InspectOptions) => string): string {
    return shown('', { ...this.toJSON(), time: this.time }, options, inspect);
  }
}

/** One event of the running batch. Owned by run-batch; linked to the next event of its subject. */
export class RunningEvent {
  readonly view: EventView;
  /** The Event message, in the entry's bytes. */
  readonly offset: number;
  readonly length: number;
  /** The payload, in the batch's buffer. */
  readonly dataStart: number;
  readonly dataEnd: number;
  readonly timeMs: number;
  readonly index: number;
  readonly entry: number;
  readonly indexInEntry: number;
  readonly attempt: number;
  /** Null: to be looked up. */
  readonly type: EventType | null;
  startedMs = 0;
  timedOut = false;
  next: RunningEvent | null = null;
  /** Null: nothing. */
  emitted: EmittedBy | null = null;
  /** Its attributes are none: it is not to be run. Ids and subjects that are none are '' in `view`. */
  envelope: EnvelopeError | null = null;
  /** Done or failed: nothing more can be emitted for it. */
  settled = false;

  /**
   * @param header read once: it may be another event's afterwards
   * @param base where the bytes start to which the header's offsets are relative, in the batch's buffer
   */
  constructor(view: EventView, header: EventHeader, base: number, index: number, entry: number, indexInEntry: number, attempt: number, type: EventType | null) {
    this.view = view;
    this.offset = header.offset;
    this.length = header.length;
    this.dataStart = base + header.dataOffset;
    this.dataEnd = this.dataStart + header.dataLength;
    this.timeMs = header.timeMs;
    this.index = index;
    this.entry = entry;
    this.indexInEntry = indexInEntry;
    this.attempt = attempt;
    this.type = type;
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
