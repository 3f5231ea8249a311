/**
 * Parked records that cannot be read: each costs itself. It goes to the dead letters as it is (kind
 * `record`, reason `decode`), counted under the type it was counted under while it was parked.
 */
import { CorruptDataError, RedisReplyError } from '../../core/errors.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS } from '../../redis/lua/shared.ts';
import { decodeParked, salvageParked } from '../../wire/parked.ts';

const script = defineScript({
  url: new URL('./set-aside.lua', import.meta.url),
  with: COUNTS,
  keys: 6,
});
const PAGE = 64;

/** The lane whose parked lists are read, as its owner. */
export interface ParkedPlace {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partition: number;
  readonly fn: string;
  readonly types: readonly string[];
  readonly ordering: 'key' | 'none';
  /** A dead event holds its subject. */
  readonly holds: boolean;
  readonly leaseValue: string;
  readonly dispatcher: string;
  readonly version: string;
  readonly log: (level: 'error', message: string, fields: Record<string, unknown>) => void;
}

/** Null: it can be read. */
export function problemOf(record: Buffer): CorruptDataError | null {
  try {
    decodeParked(record);
    return null;
  } catch (error) {
    if (error instanceof CorruptDataError) return error;
    throw error;
  }
}

/** @throws UnknownOutcomeError, RedisReplyError: look again */
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
 * The key of a parked list is none. What was in it is not known: it stands for what is counted as
 * parked and in no list.
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
  const { connection, keys, partition, fn, ordering } = place;
  const [seconds] = (await connection.command('TIME')) as [string, string];
  const atMs = Number(seconds) * 1000;
  const id = ordering === 'none' ? unit : letter.eventId;
  const fields = [
    'kind',
    'record',
    'type',
    letter.type,
    'partition',
    partition,
    'entry',
    letter.entryId,
    'index',
    letter.index,
    'position',
    0,
    'id',
    id,
    'subject',
    ordering === 'key' ? unit : '',
    'reason',
    'decode',
    'name',
    'CorruptDataError',
    'message',
    letter.message,
    'stack',
    '',
    'attempts',
    0,
    'first',
    atMs,
    'last',
    atMs,
    'dispatcher',
    place.dispatcher,
    'version',
    place.version,
    'events',
    letter.events,
    'history',
    '[]',
  ];
  const [kind] = (await script.run(
    connection,
    [
      keys.lease(partition, fn),
      keys.counters(partition),
      keys.due(partition, fn),
      keys.dead(partition, fn),
      keys.held(partition, fn),
      keys.parked(partition, fn, unit),
    ],
    [
      place.leaseValue,
      fn,
      unit,
      record,
      letter.type,
      letter.events,
      place.holds && unit !== '' ? '1' : '',
      ...fields,
    ],
  )) as [string];
  if (kind !== 'aside') return;
  place.log(
    'error',
    'a parked record cannot be read and is set aside in the dead letters; what stands behind it goes on',
    {
      function: fn,
      partition,
      unit,
      events: letter.events,
      error: letter.message,
    },
  );
}

/** The type of which an event is missing in the lists. */
async function typeShort(place: ParkedPlace): Promise<string> {
  if (place.types.length === 1) return place.types[0] as string;
  const missing = await missingOf(place);
  return [...missing].sort(([, a], [, b]) => b - a)[0]?.[0] ?? '';
}

/**
 * Per type: events counted as parked that are in no list, or in none that can be read. Reads all
 * that is parked.
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
    ...types.map((type) => `parked:${fn}:${type}`),
  )) as (string | null)[];
  const missing = new Map(types.map((type, i) => [type, Number(counts[i] ?? 0)]));
  for (const unit of (await connection.command(
    'ZRANGE',
    keys.due(partition, fn),
    0,
    -1,
  )) as string[]) {
    for (let from = 0; ; from += PAGE) {
      let page: Buffer[];
      try {
        page = (await connection.commandBuffer(
          'LRANGE',
          keys.parked(partition, fn, unit),
          from,
          from + PAGE - 1,
        )) as Buffer[];
      } catch (error) {
        if (!isWrongType(error)) throw error;
        break;
      }
      for (const record of page) {
        if (problemOf(record) !== null) continue;
        const { type } = decodeParked(record);
        if (missing.has(type)) missing.set(type, (missing.get(type) as number) - 1);
      }
      if (page.length < PAGE) break;
    }
  }
  return missing;
}
