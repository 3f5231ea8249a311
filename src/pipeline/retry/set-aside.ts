/**
 * Sets unreadable parked records aside, so that each costs only itself. The record goes to the dead
 * letters as it is: kind `record`, reason `decode`. It counts under the same type as while it was
 * parked.
 */
import { CorruptDataError } from '../../core/errors/data-errors.ts';
import { RedisReplyError } from '../../core/errors/server-errors.ts';
import { groupKeyOf } from '../../core/letter-fingerprint.ts';
import type { Log } from '../../core/log.ts';
import { counterFields } from '../../redis/counters.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisArg, RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { ARRIVALS, COUNTS, LETTER_GROUPS } from '../../redis/lua/shared.ts';
import { letterFields } from '../../wire/letter-fields.ts';
import { decodeParked, salvageParked } from '../../wire/parked.ts';

const script = defineScript({
  url: new URL('./set-aside.lua', import.meta.url),
  with: [COUNTS, ARRIVALS, LETTER_GROUPS],
  keys: 8,
});
/** Records of a list in one read. */
const PAGE = 64;

/** The lane whose parked lists its owner reads. */
export interface ParkedPlace {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partition: number;
  readonly fn: string;
  readonly types: readonly string[];
  readonly ordering: 'key' | 'none';
  /** Whether a dead event holds its subject (onDead: 'hold'). */
  readonly holds: boolean;
  readonly leaseValue: string;
  readonly dispatcher: string;
  readonly version: string;
  readonly log: Log;
}

/** Returns why the record cannot be read. Null: it can be. */
export function problemOf(record: Buffer): CorruptDataError | null {
  try {
    decodeParked(record);
    return null;
  } catch (error) {
    if (error instanceof CorruptDataError) return error;
    throw error;
  }
}

/**
 * Moves an unreadable record to the dead letters.
 * @throws UnknownOutcomeError, RedisReplyError: read the list again
 */
export async function setAside(
  place: ParkedPlace,
  unit: string,
  record: Buffer,
  problem: CorruptDataError,
): Promise<void> {
  const { entryId, index, eventId, ...found } = salvageParked(record);
  const short = place.types.includes(found.type) ? found.type : await typeShort(place);
  await send(place, unit, record, {
    type: short,
    events: 1,
    entryId,
    index,
    eventId,
    message: problem.message,
  });
}

/**
 * Moves the key of a parked list that is no list to the dead letters. Its records are not known.
 * The letter stands for the events that are counted as parked and are in no list.
 */
export async function setKeyAside(place: ParkedPlace, unit: string): Promise<void> {
  const missing = await missingOf(place);
  const [type, events] = [...missing].find(([, count]) => count > 0) ?? [place.types[0] ?? '', 0];
  const message = `the key of the parked list of ${JSON.stringify(unit)} is no list: somebody else has written it`;
  await send(place, unit, Buffer.alloc(0), {
    type,
    events,
    entryId: '',
    index: 0,
    eventId: '',
    message,
  });
}

export function isWrongType(error: unknown): boolean {
  return error instanceof RedisReplyError && error.reply === 'WRONGTYPE';
}

interface Letter {
  readonly type: string;
  readonly events: number;
  readonly entryId: string;
  readonly index: number;
  readonly eventId: string;
  readonly message: string;
}

async function send(
  place: ParkedPlace,
  unit: string,
  record: Buffer,
  letter: Letter,
): Promise<void> {
  const { connection, keys, partition, fn } = place;
  const { type, events } = letter;
  const [seconds] = (await connection.command('TIME')) as [string, string];
  const error = { name: 'CorruptDataError', message: letter.message, stack: '' };
  const { fingerprint, about } = groupKeyOf({ fn, type, schema: 0, error });
  const fields = fieldsOf(place, unit, { ...letter, fingerprint }, Number(seconds) * 1000);
  const holds = place.holds && unit !== '' ? '1' : '';
  const [kind] = (await script.run(
    connection,
    [
      keys.lease(partition, fn),
      keys.counters(partition),
      keys.due(partition, fn),
      keys.dead(partition, fn),
      keys.held(partition, fn),
      keys.parked(partition, fn, unit),
      keys.arrived(partition, fn),
      keys.groups(partition, fn),
    ],
    [place.leaseValue, fn, unit, record, type, events, holds, fingerprint, about, ...fields],
  )) as [string];
  if (kind !== 'aside') return;
  place.log(
    'error',
    'a parked record cannot be read and is set aside in the dead letters; the events behind it go on',
    { function: fn, partition, unit, events, error: letter.message },
  );
}

/** Fields of the letter, without the record's bytes: set-aside.lua adds those. */
function fieldsOf(
  { partition, ordering, dispatcher, version }: ParkedPlace,
  unit: string,
  letter: Letter & { readonly fingerprint: string },
  atMs: number,
): readonly RedisArg[] {
  return letterFields({
    kind: 'record',
    type: letter.type,
    partition,
    entry: letter.entryId,
    index: letter.index,
    position: 0,
    id: ordering === 'none' ? unit : letter.eventId,
    subject: ordering === 'key' ? unit : '',
    reason: 'decode',
    name: 'CorruptDataError',
    message: letter.message,
    stack: '',
    attempts: 0,
    first: atMs,
    last: atMs,
    dispatcher,
    version,
    events: letter.events,
    history: '[]',
    fingerprint: letter.fingerprint,
  });
}

/** The type with the most events that are counted as parked and missing in the lists. */
async function typeShort(place: ParkedPlace): Promise<string> {
  if (place.types.length === 1) return place.types[0] as string;
  const missing = await missingOf(place);
  return [...missing].sort(([, a], [, b]) => b - a)[0]?.[0] ?? '';
}

/**
 * Counts, by type, the events that are counted as parked and are in no readable record. Reads all
 * parked lists.
 */
async function missingOf({
  connection,
  keys,
  partition,
  fn,
  types,
}: ParkedPlace): Promise<Map<string, number>> {
  const counts = (await connection.command(
    'HMGET',
    keys.counters(partition),
    ...types.map((type) => counterFields.parked(fn, type)),
  )) as (string | null)[];
  const missing = new Map(types.map((type, i) => [type, Number(counts[i] ?? 0)]));
  const due = (await connection.command('ZRANGE', keys.due(partition, fn), 0, -1)) as string[];
  for (const unit of due) {
    for await (const record of recordsOf(connection, keys.parked(partition, fn, unit))) {
      if (problemOf(record) !== null) continue;
      const { type } = decodeParked(record);
      if (missing.has(type)) missing.set(type, (missing.get(type) as number) - 1);
    }
  }
  return missing;
}

/** Yields a list's records, page by page. Yields none where the key is no list. */
async function* recordsOf(connection: RedisConnection, key: string): AsyncGenerator<Buffer> {
  for (let from = 0; ; from += PAGE) {
    let page: Buffer[];
    try {
      page = (await connection.commandBuffer('LRANGE', key, from, from + PAGE - 1)) as Buffer[];
    } catch (error) {
      if (!isWrongType(error)) throw error;
      return;
    }
    yield* page;
    if (page.length < PAGE) return;
  }
}
