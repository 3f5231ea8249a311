/**
 * Sets unreadable records of the outbox and of the schedule aside, so that each costs only itself.
 * These records belong to no function. Each goes, whole, to the dead letters of RECORD_STORES: kind
 * `record`, reason `decode`.
 */
import { groupKeyOf } from '../../core/letter-fingerprint.ts';
import type { Log } from '../../core/log.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisArg, RedisConnection } from '../../redis/contract.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS, LETTER_GROUPS } from '../../redis/lua/shared.ts';
import { letterFields } from '../../wire/letter-fields.ts';

const script = defineScript({
  url: new URL('./set-record-aside.lua', import.meta.url),
  with: [COUNTS, LETTER_GROUPS],
  keys: 5,
});

/** Names used in place of a function's. No function has such a name: theirs begin with a letter. */
export const RECORD_STORES = { outbox: '_outbox', schedule: '_schedule' } as const;

export interface UnreadableRecord {
  readonly store: keyof typeof RECORD_STORES;
  readonly partition: number;
  /** Entry id in the outbox; member of the schedule's zset. */
  readonly place: string;
  /** Id of the scheduled event; '' for the outbox. */
  readonly eventId: string;
  /** Bytes of the scheduled event's record, as they were read. */
  readonly record: Buffer;
  /** Event type; '' where it cannot be told. */
  readonly type: string;
  /** Events of the record, at least 1. */
  readonly events: number;
  /** Bytes of the record in the outbox's count; 0 for the schedule. */
  readonly outboxBytes: number;
  readonly problem: string;
}

interface Source {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly log: Log;
}

/**
 * Moves an unreadable record to the dead letters.
 * @throws UnknownOutcomeError, RedisReplyError: read the record again
 */
export async function setRecordAside(
  { connection, keys, log }: Source,
  unread: UnreadableRecord,
): Promise<void> {
  const { store, partition, place, eventId, record, type, events, outboxBytes } = unread;
  const name = RECORD_STORES[store];
  const [seconds] = (await connection.command('TIME')) as [string, string];
  const error = { name: 'CorruptDataError', message: unread.problem, stack: '' };
  const { fingerprint, about } = groupKeyOf({ fn: name, type, schema: 0, error });
  const letter = fieldsOf(unread, fingerprint, Number(seconds) * 1000);
  const [kind, letterId] = (await script.run(
    connection,
    [
      store === 'outbox' ? keys.outbox(partition) : keys.scheduled(partition),
      keys.dead(partition, name),
      keys.counters(partition),
      keys.scheduledEvents(partition),
      keys.groups(partition, name),
    ],
    [name, place, eventId, record, type, events, outboxBytes, fingerprint, about, ...letter],
  )) as [string, string];
  if (kind !== 'aside') return;
  log(
    'error',
    `a record of the ${store} cannot be read and is set aside in the dead letters; the others go on`,
    {
      letter: `${name}/${partition}/${letterId}`,
      partition,
      ...(eventId === '' ? {} : { eventId }),
      events,
      error: unread.problem,
    },
  );
}

/** Fields of the letter, without the record's bytes: set-record-aside.lua adds those. */
function fieldsOf(
  unread: UnreadableRecord,
  fingerprint: string,
  atMs: number,
): readonly RedisArg[] {
  return letterFields({
    kind: 'record',
    type: unread.type,
    partition: unread.partition,
    entry: unread.store === 'outbox' ? unread.place : '',
    index: 0,
    position: 0,
    id: unread.eventId,
    subject: '',
    reason: 'decode',
    name: 'CorruptDataError',
    message: unread.problem,
    stack: '',
    attempts: 0,
    first: atMs,
    last: atMs,
    dispatcher: '',
    version: '',
    events: unread.events,
    history: '[]',
    fingerprint,
  });
}
