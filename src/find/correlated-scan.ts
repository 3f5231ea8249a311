/**
 * Scans streams for the events of one correlation. An entry is taken apart only if its bytes hold
 * the correlation id, which is rare.
 */
import { monotonicMs } from '../core/clock.ts';
import { CAUSATION } from '../core/emitted.ts';
import { entryIdTime, formatPosition } from '../core/position.ts';
import type { EventPlace } from '../explain/find-event.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { RedisSpace } from '../redis/source.ts';
import { EntryMerge, type ScannedStream } from './entry-merge.ts';
import type { TracedEvent } from './event-tree.ts';
import { eventsOf, type EntryEvent } from './found-event.ts';
import type { RedisShare } from './redis-share.ts';

/** An event that was found in a stream. */
export interface Correlated {
  readonly traced: TracedEvent;
  readonly place: EventPlace;
}

export interface ScanParts {
  readonly source: RedisSpace;
  readonly streams: readonly ScannedStream[];
  readonly share: RedisShare;
  readonly signal: AbortSignal | undefined;
  readonly maxEvents: number;
  /** Monotonic time at which the scan ends. */
  readonly untilMs: number;
}

/** Reason for which a scan ended. `asked`: the caller had enough. */
export type ScanEnd = 'all' | 'events' | 'time' | 'aborted' | 'asked';

export interface Scanned {
  readonly events: number;
  readonly end: ScanEnd;
  /** Time of the last entry, ms since 1970. Null: there was none. */
  readonly reachedMs: number | null;
}

/**
 * Times of a Cluster's masters may differ by so much, ms. A cause may then seem younger than its
 * effect.
 */
const SLACK_MS = 1000;

/**
 * Visits the events of a correlation from a time on, the newest or the oldest first.
 * @param visit returns whether it has enough; it is called once for each flush
 */
export async function scanCorrelated(
  parts: ScanParts,
  { correlation, fromMs, order }: CorrelationQuery,
  visit: (events: readonly Correlated[]) => boolean,
): Promise<Scanned> {
  const needle = Buffer.from(correlation);
  const newest = order === 'newest';
  const slackMs = parts.source.connection.isCluster ? SLACK_MS : 0;
  const merge = new EntryMerge({
    ...parts,
    order,
    from: String(Math.max(0, newest ? fromMs + slackMs : fromMs - slackMs)),
    to: newest ? '-' : '+',
  });
  let events = 0;
  let reachedMs: number | null = null;
  const ended = (end: ScanEnd): Scanned => ({ events, end, reachedMs });
  for (;;) {
    if (parts.signal?.aborted) return ended('aborted');
    if (events >= parts.maxEvents) return ended('events');
    if (monotonicMs() >= parts.untilMs) return ended('time');
    const group = await merge.next();
    if (group === null) return ended(parts.signal?.aborted ? 'aborted' : 'all');
    const found: Correlated[] = [];
    for (const entry of group) {
      events += entry.count;
      reachedMs = entryIdTime(entry.entryId);
      if (!entry.bytes.includes(needle)) continue;
      for (const event of eventsOf(entry) ?? [])
        if (correlationOf(event.header) === correlation) found.push(correlatedOf(event));
    }
    if (found.length > 0 && visit(found)) return ended('asked');
  }
}

export interface CorrelationQuery {
  readonly correlation: string;
  /** Time of the entries at which the scan begins, ms since 1970. */
  readonly fromMs: number;
  readonly order: 'newest' | 'oldest';
}

/** Returns the correlation of an event: its extension, else its own id. */
export function correlationOf({
  id,
  extensions,
}: {
  readonly id: string;
  readonly extensions: Readonly<Record<string, string>> | null;
}): string {
  return extensions?.[CAUSATION.correlation] || id;
}

function correlatedOf({ entry, header, type }: EntryEvent): Correlated {
  const { partition, entryId, ordinal, count } = entry;
  const { id, subject, index, position } = header;
  const place = { id, subject, type: entry.type, partition, entryId, index, position };
  return correlatedAt({ ...place, ordinal, count, inStream: true }, { ...header, type });
}

/** @param header its attributes; its type is the one that the event names */
export function correlatedAt(
  place: EventPlace,
  {
    type,
    source,
    timeMs,
    extensions,
  }: Pick<EventHeader, 'source' | 'timeMs' | 'extensions'> & { readonly type: string },
): Correlated {
  const { id, subject, partition, entryId } = place;
  return {
    traced: {
      id,
      type,
      subject,
      source,
      partition,
      where: formatPosition(place),
      publishedMs: timeMs > 0 ? timeMs : null,
      appendedMs: entryIdTime(entryId),
      cause: extensions?.[CAUSATION.cause] || null,
      waits: null,
    },
    place,
  };
}
