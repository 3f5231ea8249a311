import type { EventRef } from '../core/batch-task.ts';
import type { FunctionEvent } from '../define/define-function.ts';

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
}

/** One event of the running batch. Owned by run-batch; linked to the next event of its subject. */
export interface RunningEvent {
  readonly view: EventView;
  readonly index: number;
  readonly timeMs: number;
  readonly entry: number;
  readonly indexInEntry: number;
  readonly offset: number;
  readonly length: number;
  readonly position: number;
  /** Payload, within the batch's buffer. */
  readonly dataStart: number;
  readonly dataEnd: number;
  readonly attempt: number;
  startedMs: number;
  timedOut: boolean;
  next: RunningEvent | null;
}

export function refOf(event: RunningEvent): EventRef {
  return {
    index: event.index,
    entry: event.entry,
    indexInEntry: event.indexInEntry,
    offset: event.offset,
    length: event.length,
    position: event.position,
    id: event.view.id,
    subject: event.view.subject,
  };
}
