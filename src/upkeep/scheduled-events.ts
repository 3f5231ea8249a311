/** Lists the events that wait for their time, and takes one back. */
import { CorruptDataError } from '../core/errors/data-errors.ts';
import { TYPE_PATTERN } from '../core/function-spec.ts';
import { showAs } from '../core/shown.ts';
import { checkText } from '../core/well-formed.ts';
import type { RedisConnection } from '../redis/contract.ts';
import type { Keys } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { SCHEDULE_EVENT } from '../redis/lua/shared.ts';

const cancel = defineScript({
  url: new URL('./cancel-scheduled.lua', import.meta.url),
  with: SCHEDULE_EVENT,
  keys: 2,
});

export interface ScheduledEvent {
  readonly partition: number;
  readonly id: string;
  readonly type: string;
  /** Time at which the event is appended, by the server's clock, ms since 1970. */
  readonly dueMs: number;
  /** Its member in the schedule's zset. */
  readonly member: string;
  /** Bytes of the Event message. */
  readonly bytes: Buffer;
}

/** A record of the schedule that cannot be appended. */
export interface UnreadableEvent {
  readonly member: string;
  readonly id: string;
  /** Bytes of the record. Empty: there is no record. */
  readonly record: Buffer;
  readonly problem: string;
}

export interface ScheduledPage {
  readonly events: readonly ScheduledEvent[];
  readonly unreadable: readonly UnreadableEvent[];
  /** Whether more may follow. */
  readonly full: boolean;
}

const NOTHING: ScheduledPage = { events: [], unreadable: [], full: false };

/**
 * Reads the next scheduled events of a partition, in the order of their appending.
 * @param due only events that are due by the server's clock
 * @throws UnknownOutcomeError, RedisReplyError
 */
export async function scheduledFrom(
  connection: RedisConnection,
  keys: Keys,
  partition: number,
  limit: number,
  due = false,
): Promise<ScheduledPage> {
  const [first] = (await connection.command(
    'ZRANGE',
    keys.scheduled(partition),
    0,
    0,
    'WITHSCORES',
  )) as [string?, string?];
  if (first === undefined) return NOTHING;
  let until = '+inf';
  if (due) {
    const [seconds, micros] = (await connection.command('TIME')) as [string, string];
    until = String(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000));
  }
  const members = (await connection.command(
    'ZRANGEBYSCORE',
    keys.scheduled(partition),
    '-inf',
    until,
    'LIMIT',
    0,
    limit,
  )) as string[];
  if (members.length === 0) return NOTHING;
  const ids = members.map((member) => member.slice(member.indexOf(':') + 1));
  const records = (await connection.commandBuffer(
    'HMGET',
    keys.scheduledEvents(partition),
    ...ids,
  )) as (Buffer | null)[];
  const events: ScheduledEvent[] = [];
  const unreadable: UnreadableEvent[] = [];
  members.forEach((member, i) => {
    const [id, record] = [ids[i] as string, records[i] ?? Buffer.alloc(0)];
    try {
      events.push({ partition, id, member, ...parseScheduled(record) });
    } catch (error) {
      if (!(error instanceof CorruptDataError)) throw error;
      unreadable.push({
        member,
        id,
        record,
        problem: `scheduled event ${JSON.stringify(id)}: ${error.message}`,
      });
    }
  });
  return { events, unreadable, full: members.length === limit };
}

/**
 * Parses `<due> <number> <type> <bytes>`, as schedule.lua writes it.
 * @throws CorruptDataError
 */
export function parseScheduled(record: Buffer): { dueMs: number; type: string; bytes: Buffer } {
  if (record.length === 0) throw new CorruptDataError('missing', 'its record is gone');
  const first = record.indexOf(0x20);
  const second = record.indexOf(0x20, first + 1);
  const third = record.indexOf(0x20, second + 1);
  const due = record.toString('latin1', 0, Math.max(0, first));
  const type = record.toString('latin1', second + 1, Math.max(0, third));
  if (first < 0 || second < 0 || third < 0 || !/^-?\d{1,16}$/.test(due))
    throw new CorruptDataError('decode', 'its record does not begin with its due time');
  if (!TYPE_PATTERN.test(type))
    throw new CorruptDataError('decode', 'its record names an event type that is none');
  return { dueMs: Number(due), type, bytes: record.subarray(third + 1) };
}

interface Source {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partitions: number;
}

/** Lists the scheduled events of all partitions, the next ones first. */
export async function listScheduled(
  { connection, keys, partitions }: Source,
  limit: number,
): Promise<ScheduledEvent[]> {
  const all = await Promise.all(
    Array.from({ length: partitions }, (_, partition) =>
      scheduledFrom(connection, keys, partition, limit),
    ),
  );
  return all
    .flatMap(({ events }) => events)
    .sort((a, b) => a.dueMs - b.dueMs || a.partition - b.partition)
    .slice(0, limit)
    .map((event) =>
      showAs(event, '', () => ({
        partition: event.partition,
        id: event.id,
        type: event.type,
        dueMs: event.dueMs,
        bytes: event.bytes.length,
      })),
    );
}

/**
 * Takes a scheduled event back in one step: it is cancelled, or it was appended.
 * @returns false where no event with this id waits any more
 * @throws InvalidTextError
 */
export async function cancelScheduled(
  { connection, keys, partitions }: Source,
  eventId: string,
): Promise<boolean> {
  checkText('the event id', eventId);
  const found = await Promise.all(
    Array.from({ length: partitions }, (_, partition) =>
      cancel.run(
        connection,
        [keys.scheduled(partition), keys.scheduledEvents(partition)],
        [eventId],
      ),
    ),
  );
  return found.some((count) => count === 1);
}
