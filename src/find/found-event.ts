/** Events as Find shows them: place, attributes, and data decoded with the writer's schema. */
import { entryIdTime, formatPosition } from '../core/position.ts';
import { CorruptDataError } from '../core/errors/data-errors.ts';
import type { EventPlace } from '../explain/find-event.ts';
import { checkBatch, walkBatch } from '../wire/batch-reader.ts';
import { envelopeProblem } from '../wire/envelope-problem.ts';
import type { EventHeader } from '../wire/event-header.ts';
import type { ScannedEntry } from './entry-merge.ts';
import type { WriterPayloads } from './writer-payloads.ts';

export interface FoundEvent extends EventPlace {
  /** Position as text: `<partition>/<entry id>/<position>`. */
  readonly where: string;
  readonly source: string;
  /** Time that the publisher gave, ms since 1970; 0: none. Its clock is not the server's. */
  readonly timeMs: number;
  /** Nanoseconds behind `timeMs`. */
  readonly timeNanos: number;
  /** Time of its entry by the server's clock, ms since 1970. A foreign entry may bear any id. */
  readonly appendedMs: number;
  readonly extensions: Readonly<Record<string, string>>;
  /** Id of the writer's schema; 0: none. */
  readonly schema: number;
  /**
   * Data in the shape that handlers see. 64-bit integers beyond 2^53 are bigints. Null: it could
   * not be read.
   */
  readonly data: Readonly<Record<string, unknown>> | null;
  /** Paths of the values in `data` that masks have made null, such as `items.0.email`. */
  readonly masked: readonly string[];
  /** Reason for which the data, or an attribute, could not be read. Null: all could. */
  readonly problem: string | null;
}

/** An event of an entry that was read. */
export interface EntryEvent {
  readonly entry: ScannedEntry;
  readonly header: EventHeader;
  /** Type that the event names, else that of its stream. */
  readonly type: string;
}

/**
 * Returns the events of an entry, in its order. Null: the entry is damaged, and dead as a whole.
 */
export function eventsOf(entry: ScannedEntry): EntryEvent[] | null {
  const events: EntryEvent[] = [];
  try {
    checkBatch(entry.bytes, entry.crc);
    walkBatch(entry.bytes, (header) => {
      events.push({ entry, header, type: header.type === '' ? entry.type : header.type });
    });
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return null;
  }
  return events;
}

/** Returns the event, and decodes its data. */
export async function foundEvent(event: EntryEvent, payloads: WriterPayloads): Promise<FoundEvent> {
  const { entry, header, type } = event;
  const { partition, entryId, ordinal, count } = entry;
  const { dataOffset: start, dataLength } = header;
  const envelope = envelopeProblem(header);
  const { data, masked, problem } =
    envelope === null
      ? await payloads.read(type, header.schema, {
          bytes: entry.bytes,
          start,
          end: start + dataLength,
        })
      : { data: null, masked: [], problem: envelope.message };
  return {
    id: header.id,
    subject: header.subject,
    type: entry.type,
    partition,
    entryId,
    index: header.index,
    position: header.position,
    ordinal,
    count,
    inStream: true,
    where: formatPosition({ partition, entryId, position: header.position }),
    source: header.source,
    timeMs: header.timeMs,
    timeNanos: header.timeNanos,
    appendedMs: entryIdTime(entryId),
    extensions: header.extensions ?? {},
    schema: header.schema,
    data,
    masked,
    problem,
  };
}
