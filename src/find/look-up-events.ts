/** Looks an event up by its id, its subject or its position, with its data decoded. */
import { entryIdTime, formatPosition, parsePosition, type Position } from '../core/position.ts';
import { checkText } from '../core/well-formed.ts';
import { findEvents, type EventPlace } from '../explain/find-event.ts';
import type { ExplainQuery } from '../explain/report.ts';
import { Unseen } from '../explain/unseen.ts';
import { knownTypes, readPartition } from '../redis/counters.ts';
import { scannedEntry, type ScannedEntry, type ScannedStream } from './entry-merge.ts';
import { FindOptionError } from './find-errors.ts';
import { eventsOf, foundEvent, type FoundEvent } from './found-event.ts';
import type { FindSource } from './search-events.ts';
import { WriterPayloads } from './writer-payloads.ts';

/** `position`: `<partition>/<entry id>/<position>`, such as `3/1795450694309-0/17`. */
export type EventWhere = ExplainQuery | { readonly position: string };

export interface LookUpOptions {
  /** Most events to search through, newest first. Default 100,000. A position needs no search. */
  readonly scan?: number;
  /** Most events to return, the newest of a subject. Default 100. */
  readonly limit?: number;
  /** Ends the search. Default: none. */
  readonly signal?: AbortSignal;
}

export interface LookedUp {
  /**
   * The events in the order of partitions, entries and positions. An event that left its stream is
   * known from its parked record or its dead letter: it has no data here.
   */
  readonly events: readonly FoundEvent[];
  /** Events searched, and whether all retained data was looked at. */
  readonly searched: number;
  readonly complete: boolean;
  /** Lists that were not looked at to their ends, and unreadable records, one text each. */
  readonly unseen: readonly string[];
}

/** @throws FindOptionError, InvalidTextError, UnknownOutcomeError, RedisReplyError */
export async function lookUpEvents(
  source: FindSource,
  where: EventWhere,
  { scan = 100_000, limit = 100, signal }: LookUpOptions = {},
): Promise<LookedUp> {
  const payloads = new WriterPayloads(source);
  if ('position' in where) {
    const event = await eventAt(source, checkPosition(source, where.position), payloads);
    const events = event === null ? [] : [event];
    return { events, searched: events.length, complete: true, unseen: [] };
  }
  if ('subject' in where) checkText('the subject', where.subject);
  else checkText('the event id', where.eventId);
  const unseen = new Unseen();
  const found = await findEvents(source, where, { scan, limit, unseen, signal });
  const events: FoundEvent[] = [];
  for (const place of found.places.slice(-limit))
    events.push((await eventOf(source, place, payloads)) ?? withoutEntry(place));
  return {
    events,
    searched: found.events,
    complete: found.complete && unseen.parts.length === 0,
    unseen: unseen.parts,
  };
}

/** @throws FindOptionError */
function checkPosition({ partitions }: FindSource, text: string): Position {
  const position = parsePosition(text);
  if (position === null) {
    throw new FindOptionError(
      'position',
      `"${text.slice(0, 100)}" is none. It has a partition, an entry id and a number: 3/1795450694309-0/17`,
    );
  }
  if (position.partition >= partitions) {
    throw new FindOptionError(
      'position',
      `this deployment has the partitions 0 to ${partitions - 1}, not ${position.partition}`,
    );
  }
  return position;
}

/** Reads the event at a position: one of all types has it. Null: no stream has it any more. */
async function eventAt(
  source: FindSource,
  { partition, entryId, position }: Position,
  payloads: WriterPayloads,
): Promise<FoundEvent | null> {
  const types = knownTypes([await readPartition(source, partition)]);
  for (const type of types) {
    const entry = await readEntry(source, { partition, type }, entryId);
    const event = entry && eventsOf(entry)?.find(({ header }) => header.position === position);
    if (event) return foundEvent(event, payloads);
  }
  return null;
}

async function eventOf(
  source: FindSource,
  { partition, type, entryId, index, inStream }: EventPlace,
  payloads: WriterPayloads,
): Promise<FoundEvent | null> {
  if (!inStream) return null;
  const entry = await readEntry(source, { partition, type }, entryId);
  const event = entry && eventsOf(entry)?.[index];
  return event ? foundEvent(event, payloads) : null;
}

async function readEntry(
  { connection, keys }: FindSource,
  { partition, type }: ScannedStream,
  entryId: string,
): Promise<ScannedEntry | null> {
  const [raw] = (await connection.commandBuffer(
    'XRANGE',
    keys.events(partition, type),
    entryId,
    entryId,
  )) as [Buffer, Buffer[]][];
  if (raw === undefined) return null;
  return scannedEntry({ partition, type }, raw);
}

/** Returns an event of which only its place is known. */
function withoutEntry(place: EventPlace): FoundEvent {
  const { partition, entryId, position } = place;
  return {
    ...place,
    where: formatPosition({ partition, entryId, position }),
    source: '',
    timeMs: 0,
    timeNanos: 0,
    appendedMs: entryIdTime(entryId),
    extensions: {},
    schema: 0,
    data: null,
    masked: [],
    problem: 'its entry has left the stream, or is damaged; its dead letter has the payload',
  };
}
