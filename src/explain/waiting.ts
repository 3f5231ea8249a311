/**
 * Events that are in no stream yet: scheduled ones, and emitted ones on their way to another
 * partition. Reads only, in bounded pages.
 */
import { partitionOf } from '../core/partition.ts';
import { partitionsOf, type RedisSource } from '../redis/source.ts';
import { lettersOf } from '../pipeline/dead/dead-letters.ts';
import { RECORD_STORES } from '../pipeline/dead/set-record-aside.ts';
import { readOutboxEntry } from '../outbox/outbox-entry.ts';
import { parseScheduled } from '../upkeep/scheduled-events.ts';
import { readEvent, walkBatch } from '../wire/batch-reader.ts';
import type { ExplainQuery, WaitingEvent } from './report.ts';
import type { Unseen } from './unseen.ts';

/** Most scheduled events, outbox entries and letters looked at in a partition. */
const LIMITS = { scheduled: 10_000, outbox: 1_024, letters: 1_000 } as const;
const PAGE = 32;

/** @throws UnknownOutcomeError, RedisReplyError */
export async function waitingEvents(
  source: RedisSource,
  query: ExplainQuery,
  limit: number,
  unseen: Unseen,
): Promise<WaitingEvent[]> {
  const all = partitionsOf(source);
  const targets = 'subject' in query ? [partitionOf(query.subject, source.partitions)] : all;
  const scheduled = await Promise.all(
    targets.map((partition) => scheduledIn(source, query, partition, unseen)),
  );
  // An outbox is in the partition of the emitting function, whatever the event's own partition.
  const emitted: WaitingEvent[][] = [];
  for (const partition of all) emitted.push(await emittedIn(source, query, partition, unseen));
  const aside =
    'eventId' in query
      ? await Promise.all(
          all.map((partition) => setAsideIn(source, query.eventId, partition, unseen)),
        )
      : [];
  return [...scheduled.flat(), ...emitted.flat(), ...aside.flat()].slice(0, limit);
}

/**
 * Finds the event among unreadable records. Records of the outbox do not name their events, but
 * their bytes may hold the id.
 */
async function setAsideIn(
  source: RedisSource,
  id: string,
  partition: number,
  unseen: Unseen,
): Promise<WaitingEvent[]> {
  const events: WaitingEvent[] = [];
  for (const name of Object.values(RECORD_STORES)) {
    let left: number = LIMITS.letters;
    for await (const letter of lettersOf(source, name, partition)) {
      if (--left < 0) {
        const counted = Number(
          await source.connection.command('XLEN', source.keys.dead(partition, name)),
        );
        unseen.leave({ fn: name, partition }, LIMITS.letters, counted, 'dead letters');
        break;
      }
      if (id === '' || (letter.eventId !== id && !letter.bytes.includes(id))) continue;
      const why = `its record could not be read and was set aside: dead letter ${letter.id} (${letter.error.message}). Publish the event anew, then purge the letter`;
      events.push({
        id,
        type: letter.type,
        subject: '',
        partition,
        where: 'dead',
        dueMs: null,
        why,
      });
    }
  }
  return events;
}

async function scheduledIn(
  source: RedisSource,
  query: ExplainQuery,
  partition: number,
  unseen: Unseen,
): Promise<WaitingEvent[]> {
  const { connection, keys } = source;
  const key = keys.scheduledEvents(partition);
  if ('eventId' in query) {
    const record = (await connection.commandBuffer('HGET', key, query.eventId)) as Buffer | null;
    return record === null ? [] : found(query, partition, query.eventId, record, unseen);
  }
  const events: WaitingEvent[] = [];
  let cursor = '0';
  let looked = 0;
  while (looked < LIMITS.scheduled) {
    const [next, page] = (await connection.commandBuffer('HSCAN', key, cursor, 'COUNT', 500)) as [
      Buffer,
      Buffer[],
    ];
    for (let i = 0; i + 1 < page.length; i += 2) {
      events.push(
        ...found(query, partition, (page[i] as Buffer).toString(), page[i + 1] as Buffer, unseen),
      );
    }
    looked += page.length / 2;
    cursor = next.toString();
    if (cursor === '0') return events;
  }
  const all = Number(await connection.command('HLEN', key));
  unseen.note({ partition }, looked, all, 'scheduled events');
  return events;
}

/** Reads a scheduled event. The scheduler sets an unreadable record aside when it is due. */
function found(
  query: ExplainQuery,
  partition: number,
  id: string,
  record: Buffer,
  unseen: Unseen,
): WaitingEvent[] {
  try {
    const { dueMs, type, bytes } = parseScheduled(record);
    const { subject } = readEvent(bytes);
    if ('subject' in query && subject !== query.subject) return [];
    return [scheduledEvent({ id, type, subject, partition }, dueMs)];
  } catch {
    unseen.unreadable({ partition }, 'scheduled event');
    return [];
  }
}

function scheduledEvent(
  event: Pick<WaitingEvent, 'id' | 'type' | 'subject' | 'partition'>,
  dueMs: number,
): WaitingEvent {
  const at = dueMs > 0 && dueMs <= 8.64e15 ? new Date(dueMs).toISOString() : String(dueMs);
  return {
    ...event,
    where: 'scheduled',
    dueMs,
    why: `it is scheduled: it will be appended at ${at}. millrace scheduled cancel takes it back`,
  };
}

async function emittedIn(
  source: RedisSource,
  query: ExplainQuery,
  partition: number,
  unseen: Unseen,
): Promise<WaitingEvent[]> {
  const key = source.keys.outbox(partition);
  const events: WaitingEvent[] = [];
  let after = '-';
  let looked = 0;
  while (looked < LIMITS.outbox) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      key,
      after,
      '+',
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    for (const entry of page) {
      after = `(${entry[0].toString()}`;
      events.push(...emittedBy(query, partition, entry, unseen));
    }
    looked += page.length;
    if (page.length < PAGE) return events;
  }
  const all = Number(await source.connection.command('XLEN', key));
  unseen.note({ partition }, looked, all, 'outbox entries');
  return events;
}

/** Reads the events of an outbox entry. The relay sets unreadable entries aside. */
function emittedBy(
  query: ExplainQuery,
  from: number,
  entry: [Buffer, Buffer[]],
  unseen: Unseen,
): WaitingEvent[] {
  const events: WaitingEvent[] = [];
  const wanted = (id: string, subject: string): boolean =>
    'eventId' in query ? id === query.eventId : subject === query.subject;
  try {
    const { id: entryId, to, parts, scheduled } = readOutboxEntry(entry);
    for (const { type, bytes } of parts) {
      walkBatch(bytes, ({ id, subject }) => {
        if (!wanted(id, subject)) return;
        const why = `it was emitted in partition ${from} and waits in the outbox there (entry ${entryId}) to be relayed`;
        events.push({ id, type, subject, partition: to, where: 'outbox', dueMs: null, why });
      });
    }
    for (const { id, type, dueMs, bytes } of scheduled) {
      const { subject } = readEvent(bytes);
      if (wanted(id, subject))
        events.push(scheduledEvent({ id, type, subject, partition: to }, dueMs));
    }
  } catch {
    unseen.unreadable({ partition: from }, 'outbox record');
  }
  return events;
}
