/**
 * Checks a caller's event and encodes it once, into an arena. All events take this way: published,
 * appended to a history, emitted.
 *
 * An encoder is used again for each event. Its fields describe the last event, so that an event
 * costs no object here.
 */
import { OversizeError, InvalidEventError } from '../core/errors/input-errors.ts';
import { checkOptions } from '../core/known-options.ts';
import { schemaIdOf, type LocalSchema } from '../core/schema-id.ts';
import { whenOf, type Scheduling, type DeliveryTime } from '../core/delivery-time.ts';
import type { Catalog } from './catalog.ts';
import type { EventType } from './event-type.ts';
import {
  checkBytes,
  checkExtensions,
  checkHistorySubject,
  checkId,
  checkTextField,
  LIMITS,
  momentOf,
  subjectFor,
  timeOf,
} from './event-attributes.ts';
import { writeEnvelope, type Envelope } from './batch-writer.ts';
import { PayloadArena } from './payload-arena.ts';

/** Event as its caller gives it, unchecked. */
export interface EventDraft extends Scheduling {
  readonly type: string;
  readonly data: unknown;
  /** Subject. Default: the data's own. */
  readonly subject?: string | undefined;
  /** Source. Default: the encoder's. */
  readonly source?: string | undefined;
  readonly id?: string | undefined;
  /**
   * Time at which the event happened, up to the year 9999. Default: now. ms since 1970 or a Date:
   * whole ms are kept. An RFC 3339 text: its nanoseconds are kept.
   */
  readonly time?: number | Date | string | undefined;
  /**
   * CloudEvents extension attributes. Names: lower case letters and digits, and none of the event's
   * own attributes. Values: strings. At most 4,096 bytes as JSON.
   */
  readonly extensions?: Readonly<Record<string, string>> | undefined;
}

export interface EncoderParts {
  readonly catalog: Pick<Catalog, 'get'>;
  /**
   * Schemas of the types, as the registry has them. A type without a schema is stamped with none.
   */
  readonly schemas: ReadonlyMap<string, Pick<LocalSchema, 'id' | 'refused'>>;
  /** Source of the batches that the events go into. */
  readonly source: string;
  /** Names that a draft may have; null: the caller has checked them. */
  readonly options: ReadonlySet<string> | null;
}

export class EventEncoder implements Envelope {
  readonly arena: PayloadArena;
  readonly #catalog: Pick<Catalog, 'get'>;
  readonly #schemas: EncoderParts['schemas'];
  readonly #source: string;
  readonly #options: ReadonlySet<string> | null;

  // Fields of the last event, until the next one is encoded.
  id = '';
  subject = '';
  /** Source; empty: the batch's. */
  source = '';
  /** Id of the type's schema in the registry; 0: none. */
  schema = 0;
  timeMs = 0;
  timeNanos = 0;
  extensions: Readonly<Record<string, string>> | null = null;
  /** Delivery time; null: now. */
  when: DeliveryTime | null = null;
  /**
   * Start of the event's message, without a position, in the arena. The message ends where the
   * arena ends.
   */
  start = 0;

  constructor({ catalog, schemas, source, options }: EncoderParts, arena = new PayloadArena()) {
    this.arena = arena;
    this.#catalog = catalog;
    this.#schemas = schemas;
    this.#source = source;
    this.#options = options;
  }

  /**
   * Writes the Event message, without its position, behind the arena's content. After an error the
   * arena may hold a part of the message.
   * @param id the draft's id, or one made for it
   * @param nowMs time of an event that names none, ms since 1970; read once for many events,
   *   because the clock is a system call
   * @param history id of the event's history, which the data's subject must equal; null: no
   *   history, and the subject is the draft's or the data's
   * @throws UnknownEventTypeError, InvalidEventError naming the field, OversizeError naming the
   *   limit, SchemaNotRegisteredError
   */
  encode(draft: EventDraft, id: string, nowMs: number, history: string | null): void {
    const type = this.#catalog.get(draft.type);
    if (this.#options !== null) checkOptions(draft.type, draft, this.#options);
    if (history === null) this.subject = subjectFor(type, draft.data, draft.subject);
    else {
      checkHistorySubject(type, draft.data, history);
      this.subject = history;
    }
    checkTextField(draft.type, 'source', draft.source);
    checkId(draft.type, draft.id);
    this.id = id;
    this.when = whenOf(draft.type, draft);
    this.source = this.#sourceOf(draft);
    this.schema = schemaIdOf(this.#schemas, draft.type);
    this.#setTime(draft, nowMs);
    this.extensions = draft.extensions ?? null;
    if (this.extensions !== null) checkExtensions(draft.type, this.extensions);
    this.#write(type, draft.data);
  }

  /**
   * Returns the source to write. A batch carries its source once, but a scheduled event travels
   * without a batch.
   */
  #sourceOf({ type, source }: EventDraft): string {
    if (source === undefined || source === this.#source)
      return this.when === null ? '' : this.#source;
    checkBytes(type, 'source', source, LIMITS.source);
    return source;
  }

  #setTime({ type, time }: EventDraft, nowMs: number): void {
    this.timeNanos = 0;
    if (time === undefined) this.timeMs = nowMs;
    else if (typeof time === 'string') {
      const moment = momentOf(type, time);
      this.timeMs = moment.ms;
      this.timeNanos = moment.nanos;
    } else this.timeMs = timeOf(type, time);
  }

  #write(type: EventType, data: unknown): void {
    const { arena } = this;
    this.start = arena.end;
    const payload = arena.open(0x1a);
    type.encodeTo(data, arena);
    const length = arena.end - payload;
    if (length > type.maxBytes) {
      throw new OversizeError(
        `event "${type.name}"`,
        length,
        type.maxBytes,
        'bytes of payload. Nothing was sent. Raise max_bytes in its (millrace.v1.event) option, or publish a reference to the data',
      );
    }
    arena.close(payload);
    const unfit = writeEnvelope(arena, this);
    if (unfit !== null)
      throw new InvalidEventError(
        type.name,
        unfit,
        'an unpaired surrogate: no proper Unicode text',
      );
  }
}
