/**
 * The explanation of a function's worst event, for alerts: the oldest event that is not settled, or
 * the newest dead one. Nothing is searched, so the cost is small and bounded.
 */
import { compareEntryIds, entryIdTime } from '../core/position.ts';
import { cut } from '../core/well-formed.ts';
import { formatLetterId, getDeadLetter } from '../pipeline/dead/dead-letters.ts';
import { readPartition, type RegisteredFunction } from '../redis/counters.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { walkBatch } from '../wire/batch-reader.ts';
import { countEntry, entryFields } from '../wire/count-entry.ts';
import type { EventHeader } from '../wire/event-header.ts';
import { decodeParked, type ParkedRecord } from '../wire/parked.ts';
import { lastDelivered } from './count-before.ts';
import { explainState } from './explain-state.ts';
import { placeOfRecord, type EventPlace } from './find-event.ts';

/** Most parked subjects whose heads are looked at. */
const MOST_UNITS = 64;
/** Longest explanation, in UTF-16 units. Error messages come from user code. */
const MOST_LETTERS = 2000;

/** A lane and a type of its function. */
export interface WaitingPlace {
  readonly fn: string;
  readonly type: string;
  readonly partition: number;
}

/**
 * Explains the oldest unsettled event of a lane. Null: there is none any more.
 * @param nowMs time by the server's clock, ms since 1970
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function explainOldest(
  source: RedisSource,
  { fn: name, type, partition }: WaitingPlace,
  nowMs: number,
): Promise<string | null> {
  const state = await readPartition(source, partition);
  const fn = state.functions.find((one) => one.name === name);
  if (fn === undefined) return null;
  const place = await oldestPlace(source, fn, type, partition);
  if (place === null) return null;
  const { state: found, why } = await explainState(source, state, fn, place, { nowMs });
  return told(place, `${name}: ${found}: ${why}`);
}

/**
 * Explains the newest dead event of a function. Null: it has no letter.
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function explainNewestLetter(source: RedisSource, fn: string): Promise<string | null> {
  const newest = await Promise.all(
    partitionsOf(source).map(async (partition) => {
      const [last] = (await source.connection.command(
        'XREVRANGE',
        source.keys.dead(partition, fn),
        '+',
        '-',
        'COUNT',
        1,
      )) as [string, unknown][];
      return last === undefined ? null : { partition, letterId: last[0] };
    }),
  );
  const last = newest
    .filter((one) => one !== null)
    .sort((a, b) => compareEntryIds(b.letterId, a.letterId))[0];
  if (last === undefined) return null;
  const id = formatLetterId(fn, last.partition, last.letterId);
  const letter = await getDeadLetter(source, id);
  const { reason, attempts, error } = letter;
  const place = { ...letter, id: letter.eventId };
  const cause = error.cause === undefined ? '' : `; caused by ${error.cause}`;
  return told(
    place,
    `${fn}: dead after ${attempts} attempts (${reason}: ${error.name}: ${error.message}${cause}); millrace dlq replay ${id} tries it again`,
  );
}

function told(
  place: Pick<EventPlace, 'id' | 'type' | 'subject' | 'partition' | 'entryId'>,
  why: string,
): string {
  const { id, type, subject, partition, entryId } = place;
  const appended =
    entryId === '' ? '' : `, appended ${new Date(entryIdTime(entryId)).toISOString()}`;
  return cut(
    `event ${id} (${type}, subject ${subject}, partition ${partition}${appended}): ${why}`,
    MOST_LETTERS,
  );
}

async function oldestPlace(
  source: RedisSource,
  fn: RegisteredFunction,
  type: string,
  partition: number,
): Promise<EventPlace | null> {
  const stream = source.keys.events(partition, type);
  const [inStream, parked] = await Promise.all([
    oldestEntry(source, fn.name, stream),
    oldestParkedRecord(source, fn.name, type, partition),
  ]);
  if (parked && (inStream === null || compareEntryIds(parked.entryId, inStream) < 0))
    return placeOfRecord(partition, parked);
  return inStream === null ? null : firstOf(source, stream, type, partition, inStream);
}

/** Finds the oldest entry that is pending or not delivered. Null: there is none. */
async function oldestEntry(
  { connection, keys, partitions }: RedisSource,
  fn: string,
  stream: string,
): Promise<string | null> {
  const delivered = await lastDelivered({ connection, keys, partitions }, stream, fn);
  if (delivered === null) return null;
  const [pending, next] = (await Promise.all([
    connection.command('XPENDING', stream, fn, '-', '+', 1),
    connection.command('XRANGE', stream, `(${delivered}`, '+', 'COUNT', 1),
  ])) as [[string][], [string, unknown][]];
  return pending[0]?.[0] ?? next[0]?.[0] ?? null;
}

async function oldestParkedRecord(
  { connection, keys }: RedisSource,
  fn: string,
  type: string,
  partition: number,
): Promise<ParkedRecord | null> {
  // Held units are due at infinity: they wait for an operator, and are no news.
  const units = (await connection.command(
    'ZRANGEBYSCORE',
    keys.due(partition, fn),
    '-inf',
    '(+inf',
    'LIMIT',
    0,
    MOST_UNITS,
  )) as string[];
  let oldest: ParkedRecord | null = null;
  for (const unit of units) {
    const record = await headOf({ connection, keys }, partition, fn, unit);
    if (record === null || record.type !== type) continue;
    if (oldest === null || compareEntryIds(record.entryId, oldest.entryId) < 0) oldest = record;
  }
  return oldest;
}

/** Reads the first record of a unit. Null: there is none, or it cannot be read. */
async function headOf(
  { connection, keys }: Pick<RedisSource, 'connection' | 'keys'>,
  partition: number,
  fn: string,
  unit: string,
): Promise<ParkedRecord | null> {
  try {
    const key = keys.parked(partition, fn, unit);
    const bytes = (await connection.commandBuffer('LINDEX', key, 0)) as Buffer | null;
    return bytes === null ? null : decodeParked(bytes);
  } catch {
    // The lane sets an unreadable record aside when it is due.
    return null;
  }
}

/** Returns the place of the entry's first event. Null: the entry is gone, or cannot be read. */
async function firstOf(
  { connection }: RedisSource,
  stream: string,
  type: string,
  partition: number,
  entryId: string,
): Promise<EventPlace | null> {
  const [entry] = (await connection.commandBuffer('XRANGE', stream, entryId, entryId)) as [
    Buffer,
    Buffer[],
  ][];
  if (entry === undefined) return null;
  const [, fields] = entry;
  const { bytes, ordinal } = entryFields(fields);
  const headers: EventHeader[] = [];
  try {
    walkBatch(bytes, (header) => headers.push(header));
  } catch {
    // The headers before the corrupt place still name an event.
  }
  const [first] = headers;
  if (first === undefined) return null;
  const { id, subject, index, position } = first;
  const count = countEntry(fields);
  return { id, subject, type, partition, entryId, index, position, ordinal, count, inStream: true };
}
