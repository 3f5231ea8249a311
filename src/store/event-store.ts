/**
 * The event store. Events are appended to histories of aggregates with an expectation of the
 * revision, read, and folded into states.
 */
import { randomBytes } from 'node:crypto';
import type { InspectOptions } from 'node:util';
import { wallClockMs } from '../core/clock.ts';
import type { ProducerGapError } from '../core/errors/append-errors.ts';
import { OversizeError } from '../core/errors/input-errors.ts';
import { APPEND_EVENT } from '../core/known-options.ts';
import { INSPECT, shown } from '../core/shown.ts';
import type { Tracing } from '../core/tracing.ts';
import type { Aggregate, NewEvent, RecordedEvent } from '../define/define-aggregate.ts';
import type { Upcast } from '../define/upcast.ts';
import type { Confirm } from '../pipeline/append/confirm.ts';
import { tracePublish } from '../pipeline/append/publish-trace.ts';
import type { Verify } from '../pipeline/append/verify-deployment.ts';
import { EventEncoder } from '../wire/event-encoder.ts';
import { DEFAULT_SOURCE } from '../wire/event-identity.ts';
import type { RedisSource } from '../redis/source.ts';
import { AppendQueue, type QueueSettings, type SettledAppend } from './append-queue.ts';
import { ConflictError, HistoryFullError, StoreInputError } from './store-errors.ts';
import {
  AggregateLoader,
  lastRevision,
  type Loaded,
  type LoadOptions,
} from './aggregate-loader.ts';
import { encodeExpected } from './append-history.ts';
import { checkCategory, historyAddress } from './history-address.ts';
import { appendedResult, firstResult, type AppendResult } from './append-result.ts';
import type { ExpectedRevision } from './expected-revision.ts';
import { createDataReader, type DataReaderParts } from './read-data.ts';
import {
  parseElement,
  readElement,
  readIds,
  readPage,
  type HistoryAddress,
  type HistorySource,
  type ReadData,
} from './read-history.ts';

export interface StoreSettings extends QueueSettings {
  /** Conversions of older event versions into the version that `evolve` expects: see upcast. */
  readonly upcasts: readonly Upcast[];
}

export const DEFAULT_STORE: StoreSettings = {
  maxEvents: 100_000,
  bufferBytes: 32 * 1024 * 1024,
  deadlineMs: 30_000,
  source: DEFAULT_SOURCE,
  upcasts: [],
};

/** Limits of one append: its events are one entry, and one step of Redis. */
const MAX_APPEND = { events: 1000, bytes: 4 * 1024 * 1024 } as const;
/** Ids of a category per page. */
const IDS_PAGE = 1000;

export interface AppendOptions {
  /** Expected revision of the history. Otherwise nothing is appended. */
  readonly expectedRevision: ExpectedRevision;
}

export interface ReadOptions {
  /** First revision to read, in the order of reading. Default: 1; backwards the last one. */
  readonly from?: number;
  /** Last revision to read, itself included. Default: the last one; backwards 1. */
  readonly to?: number;
  readonly backwards?: boolean;
  /** Most events to read. Default: all. */
  readonly limit?: number;
}

export interface StoreParts extends RedisSource, DataReaderParts {
  readonly confirm: Confirm;
  readonly settings: StoreSettings;
  /** Told that the store is closed. */
  readonly closed?: () => Promise<void>;
  readonly gap: (error: ProducerGapError) => void;
  /** Null: OpenTelemetry's API is not installed. */
  readonly tracing: Tracing | null;
  readonly verify: Verify;
}

export class EventStore {
  readonly #parts: StoreParts;
  readonly #queue: AppendQueue;
  readonly #loader: AggregateLoader;
  readonly #source: HistorySource;
  readonly #readData: ReadData;
  readonly #encoder: EventEncoder;
  readonly #idPrefix = randomBytes(8).toString('hex');
  #nextId = 0;
  #closing: Promise<void> | null = null;

  constructor(parts: StoreParts) {
    const { connection, keys, partitions, catalog, schemas, log } = parts;
    const { confirm, settings, gap, verify } = parts;
    const { source } = settings;
    this.#parts = parts;
    this.#encoder = new EventEncoder({ catalog, schemas, source, options: APPEND_EVENT });
    this.#queue = new AppendQueue({
      connection,
      keys,
      partitions,
      confirm,
      settings,
      gap,
      verify,
    });
    this.#source = { connection, keys, deadlineMs: settings.deadlineMs };
    this.#readData = createDataReader(parts, settings.upcasts);
    this.#loader = new AggregateLoader({
      types: { catalog, schemas },
      source: this.#source,
      readData: this.#readData,
      eventSource: source,
      log,
    });
  }

  /**
   * Appends events to the history (category, id) if its revision is the expected one. The same step
   * publishes the events to the streams of their types: both happen, or neither. The subject of
   * each event must be the id.
   *
   * An append that is made again with the same event ids gets the first time's result, as long as
   * the history exists. Without ids given by the caller only a lost reply is made up for: the store
   * itself sends the append again.
   *
   * @throws ConflictError: the history has another revision · HistoryFullError · EventIdReusedError
   *   · StoreInputError
   * @throws UnknownEventTypeError, InvalidEventError, OversizeError: bad input, nothing was sent
   * @throws BackpressureError: Redis was out of memory for all of `deadlineMs`
   * @throws ProducerGapError: Redis lost acknowledged batches; this append was not made
   * @throws DurabilityError, UnknownOutcomeError: the events may have been appended
   * @throws ClosedError
   */
  async append(
    category: string,
    id: string,
    events: readonly NewEvent[],
    options: AppendOptions,
  ): Promise<AppendResult> {
    const at = this.#address(category, id);
    const { expectedRevision } = options;
    const expected = encodeExpected(expectedRevision);
    const given = events as readonly NewEvent<string>[];
    if (!Array.isArray(given) || given.length === 0)
      throw new StoreInputError('an append', 'must have at least one event');
    if (given.length > MAX_APPEND.events) throw tooLarge(at, 'events', given.length);
    const tracer = this.#parts.tracing?.tracer() ?? null;
    // Awaited here: a promise that is returned costs two more turns of the microtask queue.
    if (tracer === null) return await this.#append(at, expectedRevision, expected, given);
    return tracePublish(tracer, {
      operation: 'append',
      items: given,
      work: (carrying) => this.#append(at, expectedRevision, expected, carrying),
      placesOf: (result) => result.events,
    });
  }

  async #append(
    at: HistoryAddress,
    expectedRevision: ExpectedRevision,
    expected: number,
    given: readonly NewEvent<string>[],
  ): Promise<AppendResult> {
    const { category, id } = at;
    const ids = given.map(
      (event) => event.id ?? `${this.#idPrefix}-${(this.#nextId++).toString(36)}`,
    );
    const { answer, place } = await this.#send(at, expected, given, ids);
    switch (answer.kind) {
      case 'appended':
        return appendedResult(at, answer, place, ids);
      case 'remembered':
        return firstResult(this.#source, at, answer, given);
      case 'conflict':
        throw new ConflictError(category, id, expectedRevision, answer.actual);
      case 'full':
        throw new HistoryFullError(category, id, answer.actual, this.#parts.settings.maxEvents);
      case 'failed':
        throw answer.error;
    }
  }

  /** Encodes and queues the events before it returns. */
  #send(
    at: HistoryAddress,
    expected: number,
    given: readonly NewEvent<string>[],
    ids: readonly string[],
  ): Promise<SettledAppend> {
    const encoder = this.#encoder;
    const { arena } = encoder;
    try {
      const nowMs = wallClockMs();
      const events = given.map((event, i) => {
        encoder.encode(event, ids[i] as string, nowMs, at.id);
        return { type: event.type, start: encoder.start, end: arena.end };
      });
      const bytes = arena.end;
      if (bytes > MAX_APPEND.bytes) throw tooLarge(at, 'bytes', bytes);
      const remember = given[0]?.id ?? null;
      // Each field by name: a spread here takes a sixth of an append's time.
      return this.#queue.add({
        partition: at.partition,
        category: at.category,
        id: at.id,
        expected,
        remember,
        buffer: arena.buffer,
        events,
        bytes,
      });
    } finally {
      // The queue has its own copy.
      arena.clear();
    }
  }

  /**
   * Reads the events of a history in order, or backwards, a page at a time. A history that does not
   * exist has none. Events appended during the read are read too.
   *
   * @throws StoreInputError, UnknownEventTypeError, UnknownOutcomeError, RedisReplyError
   * @throws CorruptDataError at a damaged event, `error.history.revision`. Go on reading at the
   *   next revision
   */
  async *read(
    category: string,
    id: string,
    options: ReadOptions = {},
  ): AsyncGenerator<RecordedEvent, void, void> {
    const at = this.#address(category, id);
    const { backwards = false, limit: most = Infinity } = options;
    for (const [name, value] of [
      ['from', options.from],
      ['to', options.to],
      ['limit', options.limit],
    ] as const) {
      if (value !== undefined && (!Number.isSafeInteger(value) || value < 1))
        throw new StoreInputError(name, `must be a whole number from 1, it is ${String(value)}`);
    }
    let next = options.from ?? (backwards ? Number.MAX_SAFE_INTEGER : 1);
    const last = options.to ?? (backwards ? 1 : Number.MAX_SAFE_INTEGER);
    for (let left = most; left > 0 && (backwards ? next >= last : next <= last);) {
      const page = await readPage(this.#source, at, { first: next, last, backwards, events: left });
      for (const [i, bytes] of page.elements.entries()) {
        const revision = page.first + (backwards ? -i : i);
        yield await readElement(
          bytes,
          parseElement(bytes, at, revision),
          at,
          revision,
          this.#readData,
        );
      }
      if (page.elements.length === 0) return;
      left -= page.elements.length;
      next = page.first + (backwards ? -page.elements.length : page.elements.length);
    }
  }

  /**
   * Returns the number of events of a history; 0: there is none.
   * @throws StoreInputError, UnknownOutcomeError, RedisReplyError
   */
  async revision(category: string, id: string): Promise<number> {
    return (
      await readPage(this.#source, this.#address(category, id), { first: 1, last: 0, events: 0 })
    ).revision;
  }

  /**
   * Returns the number of events that a history had at a time of the server's clock.
   * @throws StoreInputError, UnknownOutcomeError, RedisReplyError
   */
  async revisionAt(category: string, id: string, time: Date): Promise<number> {
    return lastRevision(this.#source, this.#address(category, id), time);
  }

  /**
   * Loads the state of an aggregate: the last snapshot that fits, and the events after it. This
   * takes one round trip if these events fit a page.
   *
   * @throws CorruptDataError naming the damaged record; for an event with `error.history`
   * @throws StoreInputError, UnknownOutcomeError, RedisReplyError; any error of `evolve`
   */
  async load<State, T extends string>(
    aggregate: Aggregate<State, T>,
    id: string,
    options: LoadOptions = {},
  ): Promise<Loaded<State>> {
    return this.#loader.load(aggregate, this.#address(aggregate.category, id), options);
  }

  /**
   * Returns the state after an append that was made at the loaded revision. It equals the result of
   * `load`, without another read.
   * @throws any error of `evolve`
   */
  advance<State, T extends string>(
    aggregate: Aggregate<State, T>,
    id: string,
    loaded: Loaded<State>,
    events: readonly NewEvent[],
    appended: AppendResult,
  ): State {
    const at = this.#address(aggregate.category, id);
    return this.#loader.advance(aggregate, at, loaded, events, appended);
  }

  /**
   * Lists the ids of a category's histories, a page at a time: partition by partition, sorted by
   * their bytes within each.
   * @throws StoreInputError, UnknownOutcomeError, RedisReplyError
   */
  async *histories(category: string): AsyncGenerator<string, void, void> {
    checkCategory(category);
    for (let partition = 0; partition < this.#parts.partitions; partition++) {
      let last: string | null = null;
      for (;;) {
        const ids: string[] = await readIds(this.#source, partition, category, last, IDS_PAGE);
        yield* ids;
        if (ids.length < IDS_PAGE) break;
        last = ids[ids.length - 1] as string;
      }
    }
  }

  /**
   * Sends the accepted appends, waits for snapshots under way, and refuses all later calls.
   * Each call waits for the one end.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#queue.close();
    await this.#loader.close();
    await this.#parts.closed?.();
  }

  /** The settings, for logs. */
  toJSON(): Record<string, unknown> {
    const { source, maxEvents, bufferBytes, deadlineMs } = this.#parts.settings;
    return { source, maxEvents, bufferBytes, deadlineMs };
  }
  [INSPECT](
    _: number,
    options: InspectOptions,
    inspect: (value: unknown, options: InspectOptions) => string,
  ): string {
    return shown('EventStore', this.toJSON(), options, inspect);
  }

  #address(category: string, id: string): HistoryAddress {
    return historyAddress(this.#parts.partitions, category, id);
  }
}

function tooLarge(
  { category, id }: HistoryAddress,
  what: keyof typeof MAX_APPEND,
  actual: number,
): OversizeError {
  return new OversizeError(
    `an append to ${category} ${id}`,
    actual,
    MAX_APPEND[what],
    `${what}. Nothing was sent. Make several`,
  );
}
