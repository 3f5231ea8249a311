/**
 * Records that cannot be read and belong to no function: of the outbox, and of the schedule. Each
 * costs itself. It goes, whole, to the dead letters of RECORD_STORES, with kind `record` and reason
 * `decode`.
 */
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { COUNTS } from '../../redis/lua/shared.ts';

const script = defineScript({
  url: new URL('./set-record-aside.lua', import.meta.url),
  with: COUNTS,
  keys: 4,
});

/** Names in the place of a function's. No function can have one: theirs begin with a letter. */
export const RECORD_STORES = { outbox: '_outbox', schedule: '_schedule' } as const;

export interface UnreadableRecord {
  readonly store: keyof typeof RECORD_STORES;
  readonly partition: number;
  /** Entry id in the outbox; member of the schedule's zset. */
  readonly place: string;
  /** Of the schedule: the event's id, and what its record was. */
  readonly eventId: string;
  readonly record: Buffer;
  /** As far as it can be told; ''. */
  readonly type: string;
  /** How many it stands for, at least 1. */
  readonly events: number;
  /** What it counts in its outbox. */
  readonly outboxBytes: number;
  readonly problem: string;
}

interface Source {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly log: (level: 'error', message: string, fields: Record<string, unknown>) => void;
}

/** @throws UnknownOutcomeError, RedisReplyError: look again */
export async function setRecordAside(
  { connection, keys, log }: Source,
  unread: UnreadableRecord,
): Promise<void> {
  const { store, partition, place, eventId, type, events, problem } = unread;
  const name = RECORD_STORES[store];
  const [seconds] = (await connection.command('TIME')) as [string, string];
  const atMs = Number(seconds) * 1000;
  const letter = [
    'kind',
    'record',
    'type',
    type,
    'partition',
    partition,
    'entry',
    store === 'outbox' ? place : '',
    'index',
    0,
    'position',
    0,
    'id',
    eventId,
    'subject',
    '',
    'reason',
    'decode',
    'name',
    'CorruptDataError',
    'message',
    problem,
    'stack',
    '',
    'attempts',
    0,
    'first',
    atMs,
    'last',
    atMs,
    'dispatcher',
    '',
    'version',
    '',
    'events',
    events,
    'history',
    '[]',
  ];
  const [kind, letterId] = (await script.run(
    connection,
    [
      store === 'outbox' ? keys.outbox(partition) : keys.scheduled(partition),
      keys.dead(partition, name),
      keys.counters(partition),
      keys.scheduledEvents(partition),
    ],
    [name, place, eventId, unread.record, type, events, unread.outboxBytes, ...letter],
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
      error: problem,
    },
  );
}
