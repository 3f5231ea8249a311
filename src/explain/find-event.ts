/**
 * Finds the places of an event, or of a subject's events: in the streams, parked, dead-lettered.
 */
import { partitionOf } from '../core/partition.ts';
import { compareEntryIds } from '../core/position.ts';
import type { RedisSource } from '../redis/source.ts';
import { lettersOf, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import {
  counterFields,
  countOf,
  readPartition,
  readPartitions,
  splitCounterField,
  type PartitionState,
  type RegisteredFunction,
} from '../redis/counters.ts';
import { countEntry, entryFields } from '../wire/count-entry.ts';
import { walkBatch } from '../wire/batch-reader.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { ParkedRecord } from '../wire/parked.ts';
import { parkedRecords } from './parked-records.ts';
import type { ExplainQuery } from './report.ts';
import type { Unseen } from './unseen.ts';

export interface EventPlace {
  readonly id: string;
  readonly subject: string;
  readonly type: string;
  readonly partition: number;
  readonly entryId: string;
  readonly index: number;
  readonly position: number;
  /** Ordinal of the entry's last event. Null: the entry is foreign, or not in the stream. */
  readonly ordinal: number | null;
  /** Number of the entry's events; 0 where it is not in the stream. */
  readonly count: number;
  readonly inStream: boolean;
}

export interface Found {
  /** Places in the order of partitions, entries and positions. */
  readonly places: readonly EventPlace[];
  /** State of each partition that was looked at. */
  readonly states: readonly PartitionState[];
  /** Number of events looked at in the streams. */
  readonly events: number;
  /** Whether the streams were looked at to their ends. */
  readonly complete: boolean;
}

/** Entries of a stream read at once. */
const PAGE = 32;
/** Streams read at once. */
const PARALLEL = 16;
/** Most units, records and letters of a function's lane that are looked at. */
const LIMITS = { units: 2_000, records: 10_000, letters: 10_000 } as const;

export interface SearchBounds {
  /** Events of the streams after which the search ends. */
  readonly scan: number;
  /** Number of places after which the search ends, about. */
  readonly limit: number;
  /** Is told of the lists that were not looked at to their ends. */
  readonly unseen: Unseen;
  /** Ends the search. */
  readonly signal?: AbortSignal | undefined;
}

export async function findEvents(
  source: RedisSource,
  query: ExplainQuery,
  bounds: SearchBounds,
): Promise<Found> {
  const states =
    'subject' in query
      ? [await readPartition(source, partitionOf(query.subject, source.partitions))]
      : await readPartitions(source);
  const streams = new StreamSearch(source, query, bounds);
  const complete = await streams.run(states);
  const { places, events } = streams;
  // The event may have left the stream by retention, or lie beyond the scan.
  if ('subject' in query || places.length === 0) {
    const known = new Set(places.map(placeKey));
    for (const place of await searchAside(source, states, query, bounds)) {
      if (known.has(placeKey(place))) continue;
      known.add(placeKey(place));
      places.push(place);
    }
  }
  places.sort(
    (a, b) =>
      a.partition - b.partition ||
      compareEntryIds(a.entryId, b.entryId) ||
      a.position - b.position ||
      a.index - b.index,
  );
  return { places, states, events, complete };
}

function placeKey(place: EventPlace): string {
  return `${place.partition}/${place.type}/${place.entryId}/${place.index}`;
}

// ---------------------------------------------------------------- in the streams

interface Stream {
  readonly partition: number;
  readonly type: string;
  /** End of the next page, as XREVRANGE takes it. */
  before: string;
}

/** Searches the streams, the newest entries first, a page of each stream in turn. */
class StreamSearch {
  readonly places: EventPlace[] = [];
  /** Events looked at. */
  events = 0;
  readonly #source: RedisSource;
  readonly #by: 'id' | 'subject';
  readonly #wanted: string;
  readonly #needle: Buffer;
  readonly #bounds: SearchBounds;

  constructor(source: RedisSource, query: ExplainQuery, bounds: SearchBounds) {
    this.#source = source;
    this.#bounds = bounds;
    this.#by = 'eventId' in query ? 'id' : 'subject';
    this.#wanted = 'eventId' in query ? query.eventId : query.subject;
    this.#needle = Buffer.from(this.#wanted);
  }

  /**
   * Searches round by round. The search for an id ends with the round that found it. False: there
   * are more events.
   */
  async run(states: readonly PartitionState[]): Promise<boolean> {
    const { scan, limit, signal } = this.#bounds;
    let streams: Stream[] = states.flatMap((state) =>
      [...typesOf(state)].map((type) => ({ partition: state.partition, type, before: '+' })),
    );
    while (streams.length > 0) {
      const open: Stream[] = [];
      for (let i = 0; i < streams.length; i += PARALLEL) {
        if (signal?.aborted || this.events >= scan || this.places.length >= limit) return false;
        await Promise.all(
          streams.slice(i, i + PARALLEL).map(async (stream) => {
            if (await this.#readPage(stream)) open.push(stream);
          }),
        );
      }
      streams = open;
      if (this.#by === 'id' && this.places.length > 0) return streams.length === 0;
    }
    return true;
  }

  /** Reads a page. Returns whether there may be a further one. */
  async #readPage(stream: Stream): Promise<boolean> {
    const page = (await this.#source.connection.commandBuffer(
      'XREVRANGE',
      this.#source.keys.events(stream.partition, stream.type),
      stream.before,
      '-',
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    for (const [idBytes, fields] of page) {
      const entryId = idBytes.toString('latin1');
      stream.before = `(${entryId}`;
      this.#readEntry(stream, entryId, fields);
    }
    return page.length === PAGE;
  }

  #readEntry({ partition, type }: Stream, entryId: string, fields: Buffer[]): void {
    const { bytes, ordinal } = entryFields(fields);
    const count = countEntry(fields);
    this.events += count;
    if (this.#needle.length === 0 || !bytes.includes(this.#needle)) return;
    const { headers, corrupt } = headersOf(bytes);
    let found = 0;
    for (const { id, subject, index, position } of headers) {
      if ((this.#by === 'id' ? id : subject) !== this.#wanted) continue;
      found++;
      this.places.push({
        id,
        subject,
        type,
        partition,
        entryId,
        index,
        position,
        ordinal,
        count,
        inStream: true,
      });
    }
    if (corrupt && !(this.#by === 'id' && found > 0))
      this.#bounds.unseen.unreadable({ partition }, 'stream entry');
  }
}

/**
 * Reads the headers up to the place where the bytes are corrupt. Such an entry is dead as a whole.
 */
function headersOf(bytes: Buffer): { headers: EventHeader[]; corrupt: boolean } {
  const headers: EventHeader[] = [];
  try {
    walkBatch(bytes, (header) => headers.push(header));
  } catch {
    // The dead letter of the entry names the fault.
    return { headers, corrupt: true };
  }
  return { headers, corrupt: false };
}

function typesOf(state: PartitionState): Set<string> {
  const types = new Set(state.functions.flatMap((fn) => fn.types));
  for (const field of state.counters.keys()) {
    const [name, type] = splitCounterField(field);
    if (name === 'appended' && type !== undefined) types.add(type);
  }
  return types;
}

// ---------------------------------------------------------------- parked or dead

/** Searches the parked lists and the dead letters. */
async function searchAside(
  source: RedisSource,
  states: readonly PartitionState[],
  query: ExplainQuery,
  bounds: SearchBounds,
): Promise<EventPlace[]> {
  const search = new AsideSearch(source, query, bounds);
  for (const state of states) {
    for (const fn of state.functions) {
      if (search.isFull || bounds.signal?.aborted) return search.places;
      await search.readParked(state, fn);
      await search.readLetters(state.partition, fn);
    }
  }
  return search.places;
}

class AsideSearch {
  readonly places: EventPlace[] = [];
  readonly #source: RedisSource;
  readonly #query: ExplainQuery;
  readonly #bounds: SearchBounds;

  constructor(source: RedisSource, query: ExplainQuery, bounds: SearchBounds) {
    this.#source = source;
    this.#query = query;
    this.#bounds = bounds;
  }

  get isFull(): boolean {
    return this.places.length >= this.#bounds.limit;
  }

  async readParked(state: PartitionState, fn: RegisteredFunction): Promise<void> {
    const { partition } = state;
    const { unseen } = this.#bounds;
    let left: number = LIMITS.records;
    for (const unit of await this.#unitsOf(partition, fn)) {
      const records = parkedRecords(this.#source, partition, fn.name, unit, unseen);
      for await (const { record } of records) {
        if (--left < 0) {
          const counted = parkedCount(state, fn);
          unseen.leave({ fn: fn.name, partition }, LIMITS.records, counted, 'parked events');
          return;
        }
        if (!this.#isWanted(record.eventId, record.subject)) continue;
        this.places.push(placeOfRecord(partition, record));
        if (this.isFull) return;
      }
    }
  }

  async readLetters(partition: number, fn: RegisteredFunction): Promise<void> {
    let left: number = LIMITS.letters;
    for await (const letter of lettersOf(this.#source, fn.name, partition)) {
      if (--left < 0) {
        const counted = Number(
          await this.#source.connection.command('XLEN', this.#source.keys.dead(partition, fn.name)),
        );
        const { unseen } = this.#bounds;
        unseen.leave({ fn: fn.name, partition }, LIMITS.letters, counted, 'dead letters');
        return;
      }
      if (letter.kind !== 'event') {
        if (this.#mayHold(letter))
          this.#bounds.unseen.unreadable({ fn: fn.name, partition }, 'dead letter');
        continue;
      }
      if (!this.#isWanted(letter.eventId, letter.subject)) continue;
      this.places.push(placeOfRecord(partition, letter));
      if (this.isFull) break;
    }
  }

  #isWanted(id: string, subject: string): boolean {
    const query = this.#query;
    return 'eventId' in query ? id === query.eventId : subject === query.subject;
  }

  /** Whether an unreadable letter may hold the event: its id or subject is the same, or unknown. */
  #mayHold({ eventId, subject }: DeadLetter): boolean {
    const query = this.#query;
    const [named, wanted] =
      'eventId' in query ? [eventId, query.eventId] : [subject, query.subject];
    return named === '' || named === wanted;
  }

  /**
   * Returns the one unit that can hold the event, where the query says so; else the units that
   * wait.
   */
  async #unitsOf(partition: number, { name, ordering }: RegisteredFunction): Promise<string[]> {
    const query = this.#query;
    if ('eventId' in query && ordering === 'none') return [query.eventId];
    if ('subject' in query && ordering === 'key') return [query.subject];
    const due = this.#source.keys.due(partition, name);
    const all = Number(await this.#source.connection.command('ZCARD', due));
    this.#bounds.unseen.note({ fn: name, partition }, LIMITS.units, all, 'parked subjects');
    return (await this.#source.connection.command('ZRANGE', due, 0, LIMITS.units - 1)) as string[];
  }
}

function parkedCount(state: PartitionState, { name, types }: RegisteredFunction): number {
  return types.reduce((sum, type) => sum + countOf(state, counterFields.parked(name, type)), 0);
}

/** Returns the place of an event of which a parked record, or a letter, is all that is known. */
export function placeOfRecord(
  partition: number,
  from: Pick<ParkedRecord, 'eventId' | 'subject' | 'type' | 'entryId' | 'index' | 'position'>,
): EventPlace {
  return {
    id: from.eventId,
    subject: from.subject,
    type: from.type,
    partition,
    entryId: from.entryId,
    index: from.index,
    position: from.position,
    ordinal: null,
    count: 0,
    inStream: false,
  };
}
