/** Folds histories into the states of aggregates, from a snapshot where one fits. */
import { wallClockMs } from '../core/clock.ts';
import { parseRfc3339 } from '../core/rfc3339.ts';
import { schemaIdOf } from '../core/schema-id.ts';
import { textProblem } from '../core/well-formed.ts';
import type { Aggregate, NewEvent, RecordedEvent } from '../define/define-aggregate.ts';
import type { Log } from '../core/log.ts';
import type { AppendedEvent, AppendResult } from './append-result.ts';
import type { KnownTypes } from './read-data.ts';
import {
  parseElement,
  readElement,
  readPage,
  revisionAt,
  type HistoryAddress,
  type HistoryPage,
  type HistorySource,
  type ReadData,
} from './read-history.ts';
import { schemaOf, Snapshots } from './snapshots.ts';
import { StoreInputError } from './store-errors.ts';

export interface LoadOptions {
  /**
   * An earlier state: after this number of events, or at this time of the server's clock. Default:
   * the current state.
   */
  readonly at?: number | Date;
  /** First event id of an append to look for. */
  readonly remembered?: string;
}

export interface Loaded<State> {
  readonly state: State;
  /** Number of events that led to the state; 0: the history did not exist. */
  readonly revision: number;
  /** Revision of the last snapshot; 0: none. */
  readonly snapshotRevision: number;
  /**
   * The append that was looked for: the history's revision before it, and its number of events.
   * Null: it is not there.
   */
  readonly remembered: { readonly before: number; readonly events: number } | null;
}

export interface LoaderParts {
  readonly types: KnownTypes;
  readonly source: HistorySource;
  readonly readData: ReadData;
  /** Source of events that name none. */
  readonly eventSource: string;
  readonly log: Log;
}

export class AggregateLoader {
  readonly #parts: LoaderParts;
  readonly #snapshots: Snapshots;

  constructor(parts: LoaderParts) {
    this.#parts = parts;
    this.#snapshots = new Snapshots(parts.source, parts.log);
  }

  /** See EventStore.load. */
  async load<State, T extends string>(
    aggregate: Aggregate<State, T>,
    at: HistoryAddress,
    options: LoadOptions,
  ): Promise<Loaded<State>> {
    const { source, readData } = this.#parts;
    const folded = aggregate as unknown as Aggregate<State, never>;
    const unfit = options.remembered === undefined ? null : textProblem(options.remembered);
    if (unfit !== null) throw new StoreInputError('remembered', unfit);
    const last = await lastRevision(source, at, options.at);
    const fold = await this.#start(folded, at, last, options.remembered);
    const types = new Set<string>(aggregate.events);
    for (;;) {
      const { page } = fold;
      for (const bytes of page.elements) {
        fold.revision++;
        const element = parseElement(bytes, at, fold.revision);
        // An event of another type is not decoded: most histories hold no such event.
        if (!types.has(element.type)) continue;
        const event = readElement(bytes, element, at, fold.revision, readData);
        fold.state = folded.evolve(
          fold.state,
          (event instanceof Promise ? await event : event) as never,
        );
      }
      if (page.elements.length === 0 || fold.revision >= Math.min(page.revision, last)) break;
      fold.page = await readPage(source, at, { first: fold.revision + 1, last });
    }
    const { state, revision, snapshotRevision, remembered, unreadable } = fold;
    const taken =
      options.at === undefined &&
      this.#snapshots.offer(folded, at, { state, revision, snapshotRevision }, unreadable);
    return { state, revision, snapshotRevision: taken ? revision : snapshotRevision, remembered };
  }

  /** See EventStore.advance. */
  advance<State, T extends string>(
    aggregate: Aggregate<State, T>,
    at: HistoryAddress,
    loaded: Loaded<State>,
    events: readonly NewEvent[],
    appended: AppendResult,
  ): State {
    const folded = aggregate as unknown as Aggregate<State, never>;
    const types = new Set<string>(aggregate.events);
    let { state } = loaded;
    events.forEach((event, i) => {
      if (types.has(event.type))
        state = folded.evolve(
          state,
          this.#recorded(event, at.id, appended.events[i] as AppendedEvent) as never,
        );
    });
    const { revision } = appended;
    const { snapshotRevision } = loaded;
    this.#snapshots.offer(folded, at, { state, revision, snapshotRevision });
    return state;
  }

  /** Waits for snapshots under way. */
  async close(): Promise<void> {
    await this.#snapshots.close();
  }

  /** Reads the first page, and the state that it is folded onto. */
  async #start<State>(
    aggregate: Aggregate<State, never>,
    at: HistoryAddress,
    last: number,
    remembered: string | undefined,
  ): Promise<Fold<State>> {
    const { source } = this.#parts;
    const query = { first: 1, last, ...(remembered === undefined ? {} : { remembered }) };
    const page = await readPage(source, at, {
      ...query,
      ...(aggregate.snapshot ? { snapshot: schemaOf(aggregate.snapshot) } : {}),
    });
    if (page.noSnapshot !== null) this.#snapshots.leftAside(at, page.noSnapshot);
    const { snapshot } = page;
    const found =
      snapshot === null ? undefined : this.#snapshots.read(aggregate, at, snapshot.state);
    if (snapshot !== null && found !== undefined)
      return {
        page,
        state: found.state,
        revision: snapshot.revision,
        snapshotRevision: snapshot.revision,
        unreadable: page.noSnapshot !== null,
        remembered: page.remembered,
      };
    return {
      page: snapshot === null ? page : await readPage(source, at, query),
      state: aggregate.initialState(),
      revision: 0,
      snapshotRevision: 0,
      unreadable: page.noSnapshot !== null || snapshot !== null,
      remembered: page.remembered,
    };
  }

  /** Returns the event as a read would give it. */
  #recorded(
    event: NewEvent,
    id: string,
    { id: eventId, revision, position }: AppendedEvent,
  ): RecordedEvent {
    const { types, eventSource } = this.#parts;
    const { catalog, schemas } = types;
    const type = catalog.get(event.type);
    return {
      id: eventId,
      type: event.type,
      subject: id,
      source: event.source ?? eventSource,
      time: dateOf(event.time),
      schema: schemaIdOf(schemas, event.type),
      data: type.decode(type.encode(event.data)),
      position,
      extensions: event.extensions ?? {},
      revision,
    } as RecordedEvent;
  }
}

/** A fold under way. */
interface Fold<State> {
  /** The page that is folded. */
  page: HistoryPage;
  state: State;
  /** Number of events in the state. */
  revision: number;
  /** Revision of the snapshot that the fold began with; 0: none. */
  readonly snapshotRevision: number;
  /** Whether the kept snapshot cannot be read. */
  readonly unreadable: boolean;
  readonly remembered: Loaded<State>['remembered'];
}

/**
 * Returns the last revision to read.
 * @param when default: all
 * @throws StoreInputError
 */
export async function lastRevision(
  source: HistorySource,
  at: HistoryAddress,
  when: number | Date | undefined,
): Promise<number> {
  if (when === undefined) return Number.MAX_SAFE_INTEGER;
  if (when instanceof Date) {
    if (Number.isNaN(when.getTime())) throw new StoreInputError('at', 'is no valid date');
    return revisionAt(source, at, when.getTime());
  }
  if (!Number.isSafeInteger(when) || when < 0)
    throw new StoreInputError(
      'at',
      `must be a whole number from 0 or a Date, it is ${String(when)}`,
    );
  return when;
}

/** @param time already checked: a text is an RFC 3339 time. Default: now */
function dateOf(time: number | Date | string = wallClockMs()): Date {
  return new Date(typeof time === 'string' ? (parseRfc3339(time)?.ms ?? Number.NaN) : time);
}
