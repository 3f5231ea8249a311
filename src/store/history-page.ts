/**
 * A page of a history as it is stored: attributes, and payloads not decoded. For readers that show
 * histories to people, who read each payload by its writer's schema.
 */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { formatPosition } from '../core/position.ts';
import type { ErrorText } from '../payload/show-error.ts';
import type { RedisSource } from '../redis/source.ts';
import { DEADLINE_MS } from '../redis/retry.ts';
import { historyAddress } from './history-address.ts';
import { parseElement, readPage, type HistoryAddress } from './read-history.ts';

export interface StoredEvent {
  /** Place in the history, from 1. */
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly source: string;
  readonly timeMs: number;
  readonly extensions: Readonly<Record<string, string>>;
  /** Id of the writer's schema; 0: none. */
  readonly schema: number;
  /** As publish() returns it: `<partition>/<entry id>/<position>`. */
  readonly position: string;
  readonly entryId: string;
  /** The encoded payload. */
  readonly data: Buffer;
  /** The history's element: an EventBatch of one. */
  readonly element: Buffer;
}

/** An event of a history that cannot be read. */
export interface DamagedEvent {
  readonly revision: number;
  /** The damage, and the cure. */
  readonly problem: string;
}

export interface StoredPage {
  readonly address: HistoryAddress;
  /** Number of events in the history; 0: there is no history. */
  readonly revision: number;
  /** In the order of the history. */
  readonly events: readonly (StoredEvent | DamagedEvent)[];
  /** First revision of the page before. Null: this is the first page. */
  readonly previous: number | null;
  /** First revision of the page behind. Null: this is the last page. */
  readonly next: number | null;
}

export interface PageOptions {
  /** Revision of the first event. Default: the page ends with the last event. */
  readonly first?: number;
  /** Most events: 1 to 512, default 50. A page has at most a mebibyte, and then fewer events. */
  readonly events?: number;
}

/** Folds a history event by event: an aggregate or a view. */
export interface StateSteps {
  /** Name of the code that folds, for people: `aggregate order`, `view order-summary@2`. */
  readonly by: string;
  /** Returns the states around the page's events. Errors of the code that folds do not reject. */
  readonly statesOf: (page: StoredPage) => Promise<StepStates>;
}

export interface StepStates {
  /** State before the first event, as plain JSON. Undefined: there is none. */
  readonly before: unknown;
  /** State after each event, in order. Shorter than the page where the fold failed. */
  readonly states: readonly unknown[];
  /** Reason for which the states end early. Null: they do not. */
  readonly problem: StepProblem | null;
}

export interface StepProblem {
  /** Revision of the event that could not be folded. Null: the fold did not come so far. */
  readonly revision: number | null;
  readonly error: ErrorText;
}

const EVENTS = { least: 1, usual: 50, most: 512 } as const;

/**
 * Reads a page in one round trip.
 * @throws StoreInputError, OversizeError for a wrong address; UnknownOutcomeError, RedisReplyError,
 *   CorruptDataError for a key of another type
 */
export async function readStoredPage(
  { connection, keys, partitions }: RedisSource,
  category: string,
  id: string,
  { first, events = EVENTS.usual }: PageOptions = {},
): Promise<StoredPage> {
  const address = historyAddress(partitions, category, id);
  const source = { connection, keys, deadlineMs: DEADLINE_MS };
  const most = Math.min(EVENTS.most, Math.max(EVENTS.least, Math.floor(events)));
  const backwards = first === undefined;
  const page = await readPage(source, address, {
    first: first === undefined ? Number.MAX_SAFE_INTEGER : Math.max(1, Math.floor(first)),
    last: backwards ? 1 : Number.MAX_SAFE_INTEGER,
    backwards,
    events: most,
  });
  const { revision } = page;
  const count = page.elements.length;
  const from = backwards ? page.first - count + 1 : page.first;
  const elements = backwards ? page.elements.toReversed() : page.elements;
  const next = from + count;
  return {
    address,
    revision,
    events: elements.map((element, i) => storedEvent(element, address, from + i)),
    previous: from > 1 && revision > 0 ? Math.max(1, Math.min(from, revision + 1) - most) : null,
    next: next <= revision ? next : null,
  };
}

export function isDamaged(event: StoredEvent | DamagedEvent): event is DamagedEvent {
  return 'problem' in event;
}

function storedEvent(
  element: Buffer,
  address: HistoryAddress,
  revision: number,
): StoredEvent | DamagedEvent {
  try {
    const { header, type, entryId } = parseElement(element, address, revision);
    return {
      revision,
      id: header.id,
      type,
      source: header.source,
      timeMs: header.timeMs,
      extensions: header.extensions ?? {},
      schema: header.schema,
      position: formatPosition({
        partition: address.partition,
        entryId,
        position: header.position,
      }),
      entryId,
      data: element.subarray(header.dataOffset, header.dataOffset + header.dataLength),
      element,
    };
  } catch (error) {
    if (!(error instanceof CorruptDataError)) throw error;
    return { revision, problem: error.message };
  }
}
