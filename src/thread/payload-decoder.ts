/**
 * Decodes the payloads of a batch's events into `data`. An event that cannot be decoded has failed.
 */
import { CorruptDataError, type EnvelopeError } from '../core/errors/data-errors.ts';
import { END_OF_TIME_MS } from '../core/rfc3339.ts';
import type { Catalog } from '../wire/catalog.ts';
import { errorInfo } from './error-info.ts';
import type { Outcomes } from './outcomes.ts';
import type { PayloadWays, Reader, Way } from './payload-ways.ts';
import type { RunningEvent } from './running-event.ts';

const UNKNOWN: Way = { kind: 'unknown' };

export interface DecoderParts {
  readonly catalog: Catalog;
  readonly payloadWays: PayloadWays;
  readonly reader: Reader;
  /** The batch's buffer. */
  readonly bytes: Buffer;
  readonly outcomes: Outcomes;
}

export class PayloadDecoder {
  readonly #catalog: Catalog;
  readonly #payloadWays: PayloadWays;
  readonly #reader: Reader;
  readonly #bytes: Buffer;
  readonly #outcomes: Outcomes;

  /** Way of the last event's payload, which the next payload mostly shares. */
  #lastSchema = 0;
  #lastType = '';
  #lastWay: Way | null = null;
  /** Schema ids of the batch that the registry does not know. */
  readonly #unknown = new Set<number>();

  constructor({ catalog, payloadWays, reader, bytes, outcomes }: DecoderParts) {
    this.#catalog = catalog;
    this.#payloadWays = payloadWays;
    this.#reader = reader;
    this.#bytes = bytes;
    this.#outcomes = outcomes;
  }

  /**
   * Returns the way to read an event's payload; null: with the function's own schema. A Promise is
   * returned only for the first event of a schema.
   */
  wayOf(event: RunningEvent): Way | null | Promise<Way | null> {
    const { schema, type } = event.view;
    if (schema === 0) return null;
    if (schema === this.#lastSchema && type === this.#lastType) return this.#lastWay;
    const found = this.#unknown.has(schema)
      ? UNKNOWN
      : this.#payloadWays.wayOf(this.#reader, type, schema);
    return found instanceof Promise
      ? found.then((way) => this.#remember(type, schema, way))
      : this.#remember(type, schema, found);
  }

  #remember(type: string, schema: number, way: Way): Way | null {
    if (way.kind === 'unknown') this.#unknown.add(schema);
    this.#lastSchema = schema;
    this.#lastType = type;
    this.#lastWay = way.kind === 'read' ? null : way;
    return this.#lastWay;
  }

  /**
   * Sets the event's `data`.
   * @returns false: the event has failed
   */
  decode(event: RunningEvent, way: Way | null): boolean {
    if (event.envelope !== null) return this.refuse(event, event.envelope);
    try {
      if (event.timeMs >= END_OF_TIME_MS)
        throw new CorruptDataError(
          'decode',
          `its time, ${event.timeMs} ms since 1970, is beyond the year 9999`,
        );
      const { dataStart, dataEnd } = event;
      if (way === null)
        event.view.data = (event.type ?? this.#catalog.get(event.view.type)).decodeAt(
          this.#bytes,
          dataStart,
          dataEnd,
        );
      else if (way.kind === 'upcast')
        event.view.data = way.convert(this.#bytes, dataStart, dataEnd);
      else if (way.kind !== 'read') return this.#unreadable(event, way);
      return true;
    } catch (error) {
      this.#outcomes.failed({
        ref: event.ref(),
        error: errorInfo(error),
        retryable: false,
        reason: way === null ? 'decode' : 'schema',
      });
      return false;
    }
  }

  /** Fails an event without valid attributes: it is dead, and its handler is not called. */
  refuse(event: RunningEvent, { name, message, reason }: EnvelopeError): false {
    this.#outcomes.failed({
      ref: event.ref(),
      error: { name, message, stack: '' },
      retryable: false,
      reason,
    });
    return false;
  }

  /**
   * Fails an event whose schema is missing: it waits for the schema, or is dead. Its handler is not
   * called.
   */
  #unreadable(event: RunningEvent, way: Way): false {
    const { type, schema } = event.view;
    const message =
      way.kind === 'refused'
        ? way.why
        : `schema id ${schema} of "${type}" is not in the registry: register the schema it was written with (millrace schema register), then dlq replay`;
    const waits = way.kind === 'unknown';
    this.#outcomes.failed({
      ref: event.ref(),
      error: { name: waits ? 'UnknownSchemaError' : 'SchemaMismatchError', message, stack: '' },
      retryable: waits,
      reason: 'schema',
      waits,
    });
    return false;
  }
}
