/** Reads histories a page at a time. A page is bounded in events and in bytes. */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { RedisReplyError } from '../core/errors/server-errors.ts';
import { formatPosition } from '../core/position.ts';
import type { RecordedEvent } from '../define/define-aggregate.ts';
import { withRetry } from '../redis/retry.ts';
import { defineScript } from '../redis/script.ts';
import type { RedisSpace } from '../redis/source.ts';
import { readHistoryElement, type HistoryElement } from '../wire/batch-reader.ts';

const pageScript = defineScript({
  url: new URL('./read-history.lua', import.meta.url),
  keys: 3,
  readOnly: true,
});
const atScript = defineScript({
  url: new URL('./revision-at.lua', import.meta.url),
  keys: 1,
  readOnly: true,
});

/**
 * Limits of a page: small enough for a reader of many histories, large enough that a round trip
 * costs little.
 */
const PAGE = { events: 512, bytes: 1_048_576 } as const;

export interface HistoryAddress {
  readonly partition: number;
  readonly category: string;
  readonly id: string;
}

export interface PageQuery {
  /** First and last revision, from 1, in the order of reading. */
  readonly first: number;
  readonly last: number;
  readonly backwards?: boolean;
  /** Most events of the page. */
  readonly events?: number;
  /** Schema of a snapshot to start behind, if one fits. Forwards only. */
  readonly snapshot?: string;
  /** First event id of an append to look for. */
  readonly remembered?: string;
}

export interface HistoryPage {
  /** Revision of the history: its number of events. */
  readonly revision: number;
  readonly elements: readonly Buffer[];
  /** Revision of the first element. */
  readonly first: number;
  readonly snapshot: { readonly revision: number; readonly state: Buffer } | null;
  /** Reason why the kept snapshot cannot be used; null: it can, or there is none. */
  readonly noSnapshot: string | null;
  readonly remembered: { readonly before: number; readonly events: number } | null;
}

export interface HistorySource extends RedisSpace {
  /** Time for repeating a failed read, ms. A read changes nothing, so it may be repeated. */
  readonly deadlineMs: number;
}

/**
 * @throws UnknownOutcomeError after the deadline, RedisReplyError
 * @throws CorruptDataError where the history, or the remembered append, is damaged
 */
export async function readPage(
  { connection, keys, deadlineMs }: HistorySource,
  at: HistoryAddress,
  query: PageQuery,
): Promise<HistoryPage> {
  const { partition, category, id } = at;
  const reply = (await withRetry(
    (_attempt, untilMs) =>
      pageScript.runBuffer(
        connection.until(untilMs),
        [
          keys.history(partition, category, id),
          keys.snapshot(partition, category, id),
          keys.appends(partition, category, id),
        ],
        [
          query.first,
          query.last,
          Math.min(query.events ?? PAGE.events, PAGE.events),
          PAGE.bytes,
          query.snapshot ?? '',
          query.remembered ?? '',
          query.backwards ? 'backwards' : 'forwards',
        ],
      ),
    { deadlineMs, minDelayMs: 20 },
  ).catch(
    anotherType(keys.history(partition, category, id), `history ${category} ${id}`),
  )) as Buffer[];
  const [revision, remembered, snapshotRevision, state, ...elements] = reply as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    ...Buffer[],
  ];
  const length = Number(revision.toString('latin1'));
  const [before, events] = remembered.toString('latin1').split(':').map(Number);
  const noAppend = problemOf(remembered);
  if (noAppend !== null) {
    throw new CorruptDataError(
      'decode',
      `history ${category} ${id}: the record of the append of event ${query.remembered ?? ''} cannot be read: ` +
        `${noAppend} (key ${keys.appends(partition, category, id)}). Delete that field, or the key if it is of another type`,
    );
  }
  const noSnapshot = problemOf(snapshotRevision);
  const snapshot =
    snapshotRevision.length === 0 || noSnapshot !== null
      ? null
      : { revision: Number(snapshotRevision.toString('latin1')), state };
  return {
    revision: length,
    elements,
    snapshot,
    noSnapshot,
    first:
      snapshot !== null
        ? snapshot.revision + 1
        : query.backwards
          ? Math.min(query.first, length)
          : query.first,
    remembered:
      remembered.length === 0 ? null : { before: before as number, events: events as number },
  };
}

/** @throws UnknownOutcomeError after the deadline, RedisReplyError */
export async function revisionAt(
  { connection, keys, deadlineMs }: HistorySource,
  at: HistoryAddress,
  ms: number,
): Promise<number> {
  return Number(
    await withRetry(
      (_attempt, untilMs) =>
        atScript.run(
          connection.until(untilMs),
          [keys.history(at.partition, at.category, at.id)],
          [Math.floor(ms)],
        ),
      { deadlineMs, minDelayMs: 20 },
    ).catch(
      anotherType(
        keys.history(at.partition, at.category, at.id),
        `history ${at.category} ${at.id}`,
      ),
    ),
  );
}

/** The problem that the field holds, see the reply of read-history.lua; null: none. */
function problemOf(field: Buffer): string | null {
  return field[0] === MARK ? field.toString('utf8', 1) : null;
}
const MARK = 0x21;

/** Rethrows an error. For a key of another type it throws one that names the key and the cure. */
function anotherType(key: string, what: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof RedisReplyError) || error.reply !== 'WRONGTYPE') throw error;
    const cure = 'Millrace writes no such key: move it away, or restore it from a backup';
    throw new CorruptDataError(
      'decode',
      `${what} cannot be read: its key ${key} is of another type. ${cure}`,
      { cause: error },
    );
  };
}

/**
 * Returns the ids of a category's histories in one partition, sorted by their bytes.
 * @param after the last id of the page before
 * @throws UnknownOutcomeError after the deadline, RedisReplyError
 */
export async function readIds(
  { connection, keys, deadlineMs }: HistorySource,
  partition: number,
  category: string,
  after: string | null,
  count: number,
): Promise<string[]> {
  const from = after === null ? '-' : `(${after}`;
  return (await withRetry(
    (_attempt, untilMs) =>
      connection
        .until(untilMs)
        .command('ZRANGEBYLEX', keys.histories(partition, category), from, '+', 'LIMIT', 0, count),
    { deadlineMs, minDelayMs: 20 },
  ).catch(
    anotherType(keys.histories(partition, category), `the list of histories of ${category}`),
  )) as string[];
}

const NO_EXTENSIONS: Readonly<Record<string, string>> = Object.freeze({});

/** Decodes a payload into plain data. The result is a promise if the registry must be asked. */
export type ReadData = (
  type: string,
  schema: number,
  bytes: Buffer,
  start: number,
  end: number,
) => unknown;

/**
 * Returns the event of an element. The result is a promise only if `readData` gives one.
 * @throws CorruptDataError naming the history and the revision, UnknownEventTypeError
 */
export function readElement(
  bytes: Buffer,
  element: HistoryElement,
  at: HistoryAddress,
  revision: number,
  readData: ReadData,
): RecordedEvent | Promise<RecordedEvent> {
  const { header, type, entryId } = element;
  const { dataOffset, dataLength } = header;
  const withData = (data: unknown) =>
    ({
      id: header.id,
      type,
      subject: header.subject,
      source: header.source,
      time: new Date(header.timeMs),
      schema: header.schema,
      data,
      position: formatPosition({ partition: at.partition, entryId, position: header.position }),
      extensions: header.extensions ?? NO_EXTENSIONS,
      revision,
    }) as RecordedEvent;
  const failed = (error: unknown): never => {
    throw error instanceof CorruptDataError ? broken(at, revision, error, header.id) : error;
  };
  try {
    const data = readData(type, header.schema, bytes, dataOffset, dataOffset + dataLength);
    return data instanceof Promise ? data.then(withData, failed) : withData(data);
  } catch (error) {
    return failed(error);
  }
}

/** @throws CorruptDataError naming the history and the revision */
export function parseElement(bytes: Buffer, at: HistoryAddress, revision: number): HistoryElement {
  try {
    return readHistoryElement(bytes);
  } catch (error) {
    throw broken(at, revision, error);
  }
}

function broken(
  { category, id }: HistoryAddress,
  revision: number,
  error: unknown,
  eventId: string | null = null,
): CorruptDataError {
  const reason = error instanceof CorruptDataError ? error.reason : 'decode';
  const event = eventId === null ? '' : ` (event ${eventId})`;
  return new CorruptDataError(
    reason,
    `history ${category} ${id}, revision ${revision}${event}: ${(error as Error).message}. The events around it can be read: millrace history ${category} ${id}`,
    { cause: error, history: { category, id, revision, eventId } },
  );
}
