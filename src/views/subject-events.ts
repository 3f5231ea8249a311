/**
 * Finds the events of one subject that a view folds: in the subject's histories, then in the
 * streams of its partition, the newest entries first. The work is bounded, and the answer says what
 * was not looked at.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { NAME_PATTERN } from '../core/function-spec.ts';
import { compareEntryIds, formatPosition } from '../core/position.ts';
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import type { RedisSource } from '../redis/source.ts';
import { readHistoryElement, walkBatch, walkSubjects } from '../wire/batch-reader.ts';
import { batchOfOne } from '../wire/batch-writer.ts';
import { entryFields } from '../wire/count-entry.ts';
import type { EventHeader } from '../wire/event-header.ts';
import { readSubject } from './history-walk.ts';

export interface SubjectEvent {
  readonly type: string;
  readonly id: string;
  readonly source: string;
  readonly timeMs: number;
  readonly extensions: Readonly<Record<string, string>>;
  /** Id of the writer's schema; 0: none. */
  readonly schema: number;
  /** As publish() returns it. */
  readonly position: string;
  readonly entryId: string;
  /** Position in its flush. */
  readonly place: number;
  /** The history that holds it. Null: it was found in a stream. */
  readonly history: { readonly category: string; readonly revision: number } | null;
  /** The encoded payload. */
  readonly data: Buffer;
  /** An EventBatch of one. */
  readonly bytes: Buffer;
}

export interface SubjectSearch {
  /** Events in the order in which they were appended. */
  readonly events: readonly SubjectEvent[];
  /** Categories whose histories were looked at. */
  readonly categories: readonly string[];
  /** Categories whose history is too long for this search. */
  readonly tooLong: readonly string[];
  /** Events looked at in the streams. */
  readonly scanned: number;
  /** Whether the streams were looked at to their ends, or as far as was asked for. */
  readonly complete: boolean;
}

export interface SubjectQuery {
  readonly partition: number;
  readonly subject: string;
  readonly types: readonly string[];
  /** Categories to look into. Default: those that the types' names begin with. */
  readonly categories?: readonly string[] | undefined;
  /** Most events to look at in the streams. */
  readonly scan: number;
  /** Whether the events found so far are enough. */
  readonly enough: (events: readonly SubjectEvent[]) => boolean;
}

/** Longest histories that are read. */
const HISTORY = { events: 2000, bytes: 2_097_152 } as const;
/** Entries of a stream read at once: few at first, then as many as have about so many bytes. */
const PAGE = { first: 4, most: 128, bytes: 131_072 } as const;
/** Most events that are kept. */
const KEPT = 2000;

/**
 * Returns the categories that the types' names begin with: `shop.order.created` -> `shop`,
 * `shop.order`. Nothing lists the categories of a deployment.
 */
export function likelyCategories(types: readonly string[]): string[] {
  const found = types.flatMap((type) => {
    const parts = type.toLowerCase().split('.').slice(0, -1);
    return parts.map((_, i) => parts.slice(0, i + 1).join('.'));
  });
  return [...new Set(found)].filter((name) => NAME_PATTERN.test(name)).sort();
}

/** @throws UnknownOutcomeError, RedisReplyError; CorruptDataError for a damaged history */
export async function findSubjectEvents(
  source: RedisSource,
  query: SubjectQuery,
): Promise<SubjectSearch> {
  const { partition, subject, types } = query;
  const categories = query.categories ?? likelyCategories(types);
  const found = new Map<string, SubjectEvent>();
  const tooLong: string[] = [];
  for (const category of categories) {
    const events = await readSubject(source, partition, [category], subject, HISTORY);
    if (events === null) tooLong.push(category);
    for (const { bytes, revision, type } of events ?? []) {
      if (!types.includes(type)) continue;
      const { header, entryId } = readHistoryElement(bytes);
      const event = subjectEvent(partition, entryId, type, bytes, header);
      found.set(event.position, { ...event, bytes, history: { category, revision } });
    }
  }
  const open = new Set<OpenStream>();
  // Events of streams count as far back as all streams were read: no event is missing in between.
  const inOrder = (): SubjectEvent[] => {
    const next = newestOf(open);
    return [...found.values()]
      .filter(
        ({ history, entryId }) =>
          history !== null || next === undefined || isBehind(entryId, next.reached),
      )
      .sort((a, b) => compareEntryIds(a.entryId, b.entryId) || a.place - b.place);
  };
  let scanned = 0;
  let complete = true;
  if (!query.enough(inOrder()))
    for (const type of types)
      open.add({
        type,
        key: source.keys.events(partition, type),
        page: PAGE.first,
        reached: null,
      });
  for (let stream = newestOf(open); stream !== undefined; stream = newestOf(open)) {
    if (scanned >= query.scan || found.size >= KEPT) {
      complete = false;
      break;
    }
    const entries = await readBackwards(source, stream);
    const isEnd = entries.length < stream.page;
    let size = 0;
    for (const [id, fields] of entries) {
      const entryId = id.toString('latin1');
      stream.reached = entryId;
      const { bytes } = entryFields(fields);
      size += bytes.length;
      const { type: own } = stream;
      scanned += search(bytes, subject, (header) => {
        const type = header.type === '' ? own : header.type;
        const event = subjectEvent(partition, entryId, type, bytes, header);
        if (types.includes(type) && !found.has(event.position)) found.set(event.position, event);
      });
    }
    if (isEnd) open.delete(stream);
    const fit = Math.floor((PAGE.bytes * entries.length) / Math.max(1, size));
    stream.page = Math.min(PAGE.most, Math.max(1, fit));
    if (query.enough(inOrder())) break;
  }
  return { events: inOrder(), categories, tooLong, scanned, complete };
}

/** A stream that is not read to its end. */
interface OpenStream {
  readonly type: string;
  readonly key: string;
  /** Entries to read at once. */
  page: number;
  /** Oldest entry that was read. Null: none was. */
  reached: string | null;
}

/** Returns the stream to read next: the one that was read least far back. */
function newestOf(streams: Iterable<OpenStream>): OpenStream | undefined {
  let newest: OpenStream | undefined;
  for (const one of streams) {
    if (one.reached === null) return one;
    if (newest === undefined || compareEntryIds(one.reached, newest.reached ?? '0-0') > 0)
      newest = one;
  }
  return newest;
}

function isBehind(entryId: string, reached: string | null): boolean {
  return reached !== null && compareEntryIds(entryId, reached) >= 0;
}

/**
 * Visits the subject's events of an entry.
 * @returns the number of the entry's events. An entry that cannot be read counts as one
 */
function search(bytes: Buffer, subject: string, visit: (header: EventHeader) => void): number {
  let events = 0;
  let has = false;
  try {
    walkSubjects(bytes, (one) => {
      events++;
      has ||= one === subject;
    });
    if (has)
      walkBatch(bytes, (header) => {
        if (header.subject === subject) visit(header);
      });
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
  }
  return Math.max(1, events);
}

async function readBackwards(
  { connection }: RedisSource,
  { key, page, reached }: OpenStream,
): Promise<[id: Buffer, fields: Buffer[]][]> {
  const before = reached === null ? '+' : `(${reached}`;
  return (await withRetry(
    () => connection.commandBuffer('XREVRANGE', key, before, '-', 'COUNT', page),
    { deadlineMs: DEADLINE_MS },
  )) as [Buffer, Buffer[]][];
}

function subjectEvent(
  partition: number,
  entryId: string,
  type: string,
  bytes: Buffer,
  header: EventHeader,
): SubjectEvent {
  const { id, source, timeMs, schema, position: place, dataOffset, dataLength } = header;
  return {
    type,
    id,
    source,
    timeMs,
    extensions: header.extensions ?? {},
    schema,
    position: formatPosition({ partition, entryId, position: place }),
    entryId,
    place,
    history: null,
    // A copy: a view would keep the whole entry in memory.
    data: Buffer.from(bytes.subarray(dataOffset, dataOffset + dataLength)),
    bytes: batchOfOne(bytes, header),
  };
}
