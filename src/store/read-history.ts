/** Histories, a page at a time: bounded in events and in bytes. */
import { CorruptDataError, type MillraceError } from '../core/errors.ts';
import { formatPosition } from '../core/position.ts';
import type { RecordedEvent } from '../define/define-aggregate.ts';
import { withRetry, type RedisConnection } from '../redis/connection.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { readHistoryElement, type HistoryElement } from '../wire/event-batch.ts';

const pageScript = defineScript({ url: new URL('./read-history.lua', import.meta.url), keys: 3 });
const atScript = defineScript({ url: new URL('./revision-at.lua', import.meta.url), keys: 1 });

/** Of a page: few enough that a reader of many histories stays small, enough that a round trip costs little. */
const PAGE = { events: 512, bytes: 1_048_576 } as const;

export interface HistoryAddress {
  readonly partition: number;
  readonly category: string;
  readonly id: string;
}

export interface PageQuery {
  /** Both from 1, in the order of reading. */
  readonly first: number;
  readonly last: number;
  readonly backwards?: boolean;
  /** Most of the page. */
  readonly events?: number;
  /** Start behind a snapshot of this schema, if one fits. Forwards only. */
  readonly snapshot?: string;
  /** First event id of an append to look for. */
  readonly remembered?: string;
}

export interface HistoryPage {
  /** Of the history: its number of events. */
  readonly revision: number;
  readonly elements: readonly Buffer[];
  /** Revision of the first element. */
  readonly first: number;
  readonly snapshot: { readonly revision: number; readonly state: Buffer } | null;
  readonly remembered: { readonly before: number; readonly events: number } | null;
}

export interface HistorySource {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Reads change nothing: they are made again for so long, in ms. */
  readonly deadlineMs: number;
}

/** @throws UnknownOutcomeError after the deadline, RedisReplyError */
export async function readPage({ connection, keys, deadlineMs }: HistorySource, at: HistoryAddress, query: PageQuery): Promise<HistoryPage> {
  const { partition, category, id } = at;
  const reply = (await withRetry(
    (_attempt, untilMs) => pageScript.runBuffer(
      connection.until(untilMs),
      [keys.history(partition, category, id), keys.snapshot(partition, category, id), keys.appends(partition, category, id)],
      [query.first, query.last, Math.min(query.events ?? PAGE.events, PAGE.events), PAGE.bytes, query.snapshot ?? '', query.remembered ?? '', query.backwards ? 'backwards' : 'forwards'],
    ),
    { deadlineMs, minDelayMs: 20 },
  )) as Buffer[];
  const [revision, remembered, snapshotRevision, state, ...elements] = reply as [Buffer, Buffer, Buffer, Buffer, ...Buffer[]];
  const length = Number(revision.toString('latin1'));
  const [before, events] = remembered.toString('latin1').split(':').map(Number);
  const snapshot = snapshotRevision.length === 0 ? null : { revision: Number(snapshotRevision.toString('latin1')), state };
  return {
    revision: length, elements, snapshot,
    first: snapshot !== null ? snapshot.revision + 1 : query.backwards ? Math.min(query.first, length) : query.first,
    remembered: remembered.length === 0 ? null : { before: before as number, events: events as number },
  };
}

/** @throws UnknownOutcomeError after the deadline, RedisReplyError */
export async function revisionAt({ connection, keys, deadlineMs }: HistorySource, at: HistoryAddress, ms: number): Promise<number> {
  return Number(await withRetry(
    (_attempt, untilMs) => atScript.run(connection.until(untilMs), [keys.history(at.partition, at.category, at.id)], [Math.floor(ms)]),
    { deadlineMs, minDelayMs: 20 },
  ));
}

/**
 * Ids of a category's histories in one partition, sorted by their bytes.
 * @param after the last one of the page before
 * @throws UnknownOutcomeError after the deadline, RedisReplyError
 */
export async function readIds({ connection, keys, deadlineMs }: HistorySource, partition: number, category: string, after: string | null, count: number): Promise<string[]> {
  const from = after === null ? '-' : `(${after}`;
  return (await withRetry(
    (_attempt, untilMs) => connection.until(untilMs).command('ZRANGEBYLEX', keys.histories(partition, category), from, '+', 'LIMIT', 0, count),
    { deadlineMs, minDelayMs: 20 },
  )) as string[];
}

const NO_EXTENSIONS: Readonly<Record<string, string>> = Object.freeze({});

/** Payload → plain data; a promise where that takes asking. */
export type ReadData = (type: string, schema: number, bytes: Buffer, start: number, end: number) => unknown;

/**
 * The event an element holds; a promise only where `readData` gives one.
 * @throws CorruptDataError naming the history and the revision, UnknownEventTypeError
 */
export function readElement(bytes: Buffer, element: HistoryElement, at: HistoryAddress, revision: number, readData: ReadData): RecordedEvent | Promise<RecordedEvent> {
  const { header, type, entryId } = element;
  const { dataOffset, dataLength } = header;
  const withData = (data: unknown) => ({
    id: header.id, type, subject: header.subject, source: header.source, time: new Date(header.timeMs), schema: header.schema, data,
    position: formatPosition({ partition: at.partition, entryId, position: header.position }),
    extensions: header.extensions ?? NO_EXTENSIONS,
    revision,
  }) as RecordedEvent;
  const failed = (error: unknown): never => {
    throw error instanceof CorruptDataError ? broken(at, revision, error) : error;
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

function broken(at: HistoryAddress, revision: number, error: unknown): MillraceError {
  const reason = error instanceof CorruptDataError ? error.reason : 'decode';
  return new CorruptDataError(reason, `history ${at.category} ${at.id}, revision ${revision}: ${(error as Error).message}`, { cause: error });
}
