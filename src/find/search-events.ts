/**
 * Searches the streams for events of which an expression is true, the newest first. Reads only, in
 * small pages, with pauses. Each limit ends the search with a report of what was searched.
 */
import { setImmediate } from 'node:timers/promises';
import { monotonicMs } from '../core/clock.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { entryIdTime, formatPosition, parsePosition, type Position } from '../core/position.ts';
import {
  counterFields,
  countOf,
  knownTypes,
  readPartitions,
  type PartitionState,
} from '../redis/counters.ts';
import type { RedisSource } from '../redis/source.ts';
import { envelopeProblem } from '../wire/envelope-problem.ts';
import { EntryMerge, type ScannedEntry, type ScannedStream } from './entry-merge.ts';
import { EventExpression } from './event-expression.ts';
import { FindOptionError, SlowExpressionError, UnknownFindTypeError } from './find-errors.ts';
import { eventsOf, foundEvent, type EntryEvent, type FoundEvent } from './found-event.ts';
import { RedisShare } from './redis-share.ts';
import { runInTime } from './time-box.ts';
import { WriterPayloads, type PayloadParts } from './writer-payloads.ts';

/** The part of a Deployment that a search needs. */
export interface FindSource extends RedisSource, PayloadParts {}

export interface SearchOptions {
  /** Types to search. Default: all types of the deployment. */
  readonly types?: readonly string[];
  /** First and last time of the entries, ms since 1970, by the server's clock. Default: none. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Goes on where a search of the same types has ended: the `next` of its progress. */
  readonly after?: string;
  /**
   * Whether the fields that schemas mask are left out: null in the data of the matches, and absent
   * for the expression. Else an expression would tell their values. Default false.
   */
  readonly masked?: boolean;
  /** Most matches. Default 20. */
  readonly limit?: number;
  /** Most events to search. Default 1,000,000. */
  readonly maxEvents?: number;
  /** Longest time of the search, ms. Default 60,000. */
  readonly maxMs?: number;
  /** Largest share of Redis' time, above 0, at most 1. Default 0.1. */
  readonly share?: number;
  /** Time between two reports of the progress, ms. Default 500. */
  readonly progressMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Reason for the end: all events were searched (`all`), or all since `sinceMs` (`since`); a limit
 * was reached; or the signal was aborted.
 */
export type SearchEnd = 'all' | 'since' | 'matches' | 'events' | 'time' | 'aborted';

export interface SearchProgress {
  /** Events searched, and about the number of all that these types have in their streams. */
  readonly searched: number;
  readonly retained: number;
  readonly matches: number;
  /** Events of which the expression could not say true or false, such as for a missing field. */
  readonly unjudged: number;
  /** Events that could not be read. The unreadable events of an entry count together. */
  readonly unreadable: number;
  /** First reason for an unjudged event, and for an unreadable one. Null: there is none. */
  readonly firstUnjudged: string | null;
  readonly firstUnreadable: string | null;
  /** Time of the last entry searched, ms since 1970. Null: none. */
  readonly reachedMs: number | null;
  /** Place behind the last event searched: the next search goes on `after` it. Null: none. */
  readonly next: string | null;
  /** Cost: commands sent to Redis, and the time for which their answers were awaited, ms. */
  readonly commands: number;
  readonly redisMs: number;
  readonly passedMs: number;
  /** Null: the search goes on. */
  readonly end: SearchEnd | null;
}

export type SearchStep =
  | { readonly match: FoundEvent; readonly progress?: never }
  | { readonly progress: SearchProgress; readonly match?: never };

const DEFAULTS = {
  limit: 20,
  maxEvents: 1_000_000,
  maxMs: 60_000,
  share: 0.1,
  progressMs: 500,
  masked: false,
};
/** A number of events that no flush has. */
const MOST_OF_FLUSH = 999_999_999;
/** Events and bytes of payloads judged at once, and the longest time for that, ms. */
const SLICE = { events: 256, bytes: 1_048_576, ms: 1000 } as const;

/**
 * Yields the matches, the newest first, and the progress. The last step is a progress with its
 * `end`.
 * @throws FindExpressionError, FindOptionError, UnknownFindTypeError: nothing was searched
 * @throws SlowExpressionError, UnknownOutcomeError, RedisReplyError
 */
export async function* searchEvents(
  source: FindSource,
  expression: string,
  options: SearchOptions = {},
): AsyncGenerator<SearchStep, void, void> {
  const compiled = new EventExpression(expression);
  checkSearch(options);
  const states = await readPartitions(source);
  const types = typesToSearch(source, states, options.types);
  yield* new EventSearch(source, compiled, options, { states, types }).steps();
}

/** @throws FindOptionError */
function checkSearch(options: SearchOptions): void {
  const { share = DEFAULTS.share, sinceMs, untilMs, after } = options;
  for (const name of ['limit', 'maxEvents', 'maxMs', 'progressMs'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new FindOptionError(name, `it must be a whole number from 1, it is ${value}`);
  }
  if (!(share > 0 && share <= 1))
    throw new FindOptionError('share', `it must be above 0, and at most 1, it is ${share}`);
  for (const [name, value] of Object.entries({ sinceMs, untilMs }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw new FindOptionError(name, `it must be ms since 1970, it is ${value}`);
  if (after !== undefined && parsePosition(after) === null)
    throw new FindOptionError('after', 'it must be the place where another search has ended');
}

/** @throws UnknownFindTypeError */
function typesToSearch(
  { catalog }: FindSource,
  states: readonly PartitionState[],
  wanted: readonly string[] = [],
): string[] {
  const known = new Set([...knownTypes(states), ...catalog.types.keys()]);
  if (wanted.length === 0) return [...known].sort();
  for (const type of wanted)
    if (!known.has(type)) throw new UnknownFindTypeError(type, [...known].sort());
  return [...new Set(wanted)];
}

/** Counters and types at the beginning of a search. */
interface SearchedParts {
  readonly states: readonly PartitionState[];
  readonly types: readonly string[];
}

class EventSearch {
  readonly #expression: EventExpression;
  readonly #options: SearchOptions & typeof DEFAULTS;
  readonly #payloads: WriterPayloads;
  readonly #share: RedisShare;
  readonly #merge: EntryMerge;
  readonly #retained: number;
  readonly #startMs = monotonicMs();
  readonly #matched: EntryEvent[] = [];
  /**
   * Last flush that was searched, with the number of its events that were. Their order never
   * changes, so a later search may go on there.
   */
  #place: Position | null;
  #toldMs = monotonicMs();
  #searched = 0;
  #matches = 0;
  #unjudged = 0;
  #unreadable = 0;
  #firstUnjudged: string | null = null;
  #firstUnreadable: string | null = null;
  #reachedMs: number | null = null;

  constructor(
    source: FindSource,
    expression: EventExpression,
    options: SearchOptions,
    { states, types }: SearchedParts,
  ) {
    this.#expression = expression;
    this.#options = { ...DEFAULTS, ...withoutUndefined(options) };
    this.#payloads = new WriterPayloads(source, this.#options.masked);
    this.#place = options.after === undefined ? null : parsePosition(options.after);
    const { signal, sinceMs, untilMs, share, maxMs } = this.#options;
    this.#share = new RedisShare(share, { signal, untilMs: this.#startMs + maxMs });
    const streams = states.flatMap(({ partition }) =>
      types.map((type): ScannedStream => ({ partition, type })),
    );
    this.#merge = new EntryMerge({
      source,
      streams,
      order: 'newest',
      from: this.#place?.entryId ?? (untilMs === undefined ? '+' : String(untilMs)),
      to: sinceMs === undefined ? '-' : String(sinceMs),
      share: this.#share,
      signal,
    });
    this.#retained = retainedEvents(states, types);
  }

  async *steps(): AsyncGenerator<SearchStep, void, void> {
    for (;;) {
      const group = this.#end() === null ? await this.#merge.next() : null;
      if (group === null) break;
      const { partition, entryId } = group[0] as ScannedEntry;
      const before = this.#searchedOf(partition, entryId);
      if (before === null) continue;
      this.#reachedMs = entryIdTime(entryId);
      const events = this.#eventsIn(group, before > 0).slice(before);
      let position = before;
      for (const slice of slicesOf(events)) {
        if (this.#end() !== null) break;
        const searched = this.#searched;
        await this.#judge(slice);
        position += this.#searched - searched;
        this.#place = { partition, entryId, position };
        for (const event of this.#matched.splice(0))
          yield { match: await foundEvent(event, this.#payloads) };
        if (this.#isDue()) yield { progress: this.#progress(null) };
        // The process has other work, and the signal may be aborted by it.
        await setImmediate();
      }
      if (events.length === 0) this.#place = { partition, entryId, position: MOST_OF_FLUSH };
      if (this.#isDue()) yield { progress: this.#progress(null) };
    }
    const all = this.#options.sinceMs === undefined ? 'all' : 'since';
    yield { progress: this.#progress(this.#end() ?? all) };
  }

  #progress(end: SearchEnd | null): SearchProgress {
    return {
      searched: this.#searched,
      retained: Math.max(this.#retained, this.#searched),
      matches: this.#matches,
      unjudged: this.#unjudged,
      unreadable: this.#unreadable,
      firstUnjudged: this.#firstUnjudged,
      firstUnreadable: this.#firstUnreadable,
      reachedMs: this.#reachedMs,
      next: this.#place && formatPosition(this.#place),
      commands: this.#share.commands,
      redisMs: this.#share.waitedMs,
      passedMs: monotonicMs() - this.#startMs,
      end,
    };
  }

  /** Returns the limit that was reached. Null: none. */
  #end(): SearchEnd | null {
    const { signal, limit, maxEvents, maxMs } = this.#options;
    if (signal?.aborted) return 'aborted';
    if (this.#matches >= limit) return 'matches';
    if (this.#searched >= maxEvents) return 'events';
    return monotonicMs() - this.#startMs >= maxMs ? 'time' : null;
  }

  #isDue(): boolean {
    const now = monotonicMs();
    if (now - this.#toldMs < this.#options.progressMs) return false;
    this.#toldMs = now;
    return true;
  }

  /** Returns the number of events of a flush that the search before has searched. Null: all. */
  #searchedOf(partition: number, entryId: string): number | null {
    const place = this.#place;
    if (place === null || place.entryId !== entryId || partition > place.partition) return 0;
    return partition < place.partition ? null : place.position;
  }

  /**
   * Returns the events of a flush, the last one first.
   * @param isKnown whether the search before has counted its damaged entries
   */
  #eventsIn(flush: readonly ScannedEntry[], isKnown: boolean): EntryEvent[] {
    const events = flush.flatMap((entry) => {
      const found = eventsOf(entry);
      if (found !== null || isKnown) return found ?? [];
      this.#searched += entry.count;
      this.#cannotRead(entry.count, `entry ${entry.partition}/${entry.entryId} is damaged`);
      return [];
    });
    // The events of one flush have one numbering across its types.
    return events.sort(
      (a, b) => b.header.position - a.header.position || b.header.index - a.header.index,
    );
  }

  #cannotRead(events: number, why: string): void {
    this.#unreadable += events;
    this.#firstUnreadable ??= why;
  }

  /** @throws SlowExpressionError */
  async #judge(slice: readonly EntryEvent[]): Promise<void> {
    if (this.#expression.usesData)
      for (const { type, header } of slice)
        if (this.#payloads.ready(type, header.schema) === undefined)
          await this.#payloads.prepare(type, header.schema);
    const { limit, maxEvents } = this.#options;
    const judgeAll = (): void => {
      for (const event of slice) {
        if (this.#matches >= limit || this.#searched >= maxEvents) return;
        this.#judgeOne(event);
      }
    };
    // The time limit costs more than the judging of a small slice.
    if (this.#expression.isQuick) judgeAll();
    else if (!runInTime(judgeAll, SLICE.ms))
      throw new SlowExpressionError(this.#expression.text, slice.length, SLICE.ms);
  }

  #judgeOne(event: EntryEvent): void {
    this.#searched++;
    const { header, type, entry } = event;
    const envelope = envelopeProblem(header);
    if (envelope !== null) return this.#cannotRead(1, this.#named(event, envelope.message));
    let data: ReadonlyMap<string, unknown> | null = null;
    if (this.#expression.usesData) {
      const typed = this.#typedData(event);
      if (typeof typed === 'string') return this.#cannotRead(1, this.#named(event, typed));
      data = typed;
    }
    const { partition, entryId } = entry;
    const verdict = this.#expression.judge({ header, type, partition, entryId, data });
    if (verdict === false) return;
    if (verdict === true) {
      this.#matches++;
      this.#matched.push(event);
      return;
    }
    this.#unjudged++;
    this.#firstUnjudged ??= this.#named(event, verdict);
  }

  /** Returns the typed data, or the reason for which there is none. */
  #typedData({ header, type, entry }: EntryEvent): ReadonlyMap<string, unknown> | string {
    const codec = this.#payloads.ready(type, header.schema);
    if (codec === undefined) return `its schema, id ${header.schema}, is not at hand`;
    if (codec instanceof CorruptDataError) return codec.message;
    const { dataOffset, dataLength } = header;
    try {
      const place = { bytes: entry.bytes, start: dataOffset, end: dataOffset + dataLength };
      return codec.typed(codec.decode(place).data);
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      return error.message;
    }
  }

  #named({ header: { id } }: EntryEvent, why: string): string {
    return `event ${id}: ${why}`;
  }
}

/** Cuts events into slices that are judged at once. A large payload is a slice of its own. */
function* slicesOf(events: readonly EntryEvent[]): Generator<readonly EntryEvent[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, { header }] of events.entries()) {
    const full = at - from >= SLICE.events || bytes + header.dataLength > SLICE.bytes;
    if (full && at > from) {
      yield events.slice(from, at);
      [from, bytes] = [at, 0];
    }
    bytes += header.dataLength;
  }
  if (from < events.length) yield events.slice(from);
}

/** Counts the events that the streams of the types still have, as far as counters tell. */
function retainedEvents(states: readonly PartitionState[], types: readonly string[]): number {
  let events = 0;
  for (const state of states)
    for (const type of types)
      events +=
        countOf(state, counterFields.appended(type)) - countOf(state, counterFields.trimmed(type));
  return Math.max(0, events);
}

/** An option that is given as undefined has its default. */
function withoutUndefined(options: SearchOptions): SearchOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
