/**
 * Where an event is for each function, what was tried, and why it is not running. Reads only, in
 * bounded pages.
 *
 * A function's states are looked at in the order in which an event goes through them (not read,
 * pending, parked, dead), each move being one script: an event that moves meanwhile is found where
 * it was or where it went.
 */
import { compareEntryIds, entryIdTime } from '../core/position.ts';
import { parseSetupFailure, type SetupFailure } from '../core/setup-failure.ts';
import { partitionOf } from '../core/partition.ts';
import { checkText } from '../core/well-formed.ts';
import type { Deployment } from '../deployment.ts';
import { formatLetterId, lettersOf, type DeadLetter } from '../pipeline/dead/dead-letters.ts';
import { readRunning, type RunningUnit } from '../pipeline/lane/in-flight.ts';
import { isWrongType } from '../pipeline/retry/set-aside.ts';
import {
  readPartition,
  readPartitions,
  type PartitionState,
  type RegisteredFunction,
} from '../pipeline/dead/registered-functions.ts';
import { countEntry, entryFields } from '../rewind/count-entry.ts';
import { readEvent, walkBatch, type EventHeader } from '../wire/event-batch.ts';
import { decodeParked, type ParkedRecord } from '../wire/parked.ts';
import { waitingEvents, type WaitingEvent } from './waiting.ts';

export type ExplainQuery = { readonly eventId: string } | { readonly subject: string };

export interface ExplainOptions {
  /** Most events to search through, newest first. Default 100,000. */
  readonly scan?: number;
  /** Most events to explain. Default 100. */
  readonly limit?: number;
}

export interface Attempt {
  readonly atMs: number;
  readonly attempt: number;
  readonly name: string;
  readonly message: string;
  /** What the error was caused by, where it says so. */
  readonly cause?: string;
}

export type EventState =
  /** `unknown`: done, or what a dead letter holds that cannot be read; `why` names it. */
  | { readonly state: 'done' | 'skipped' | 'unknown' }
  | {
      readonly state: 'pending';
      readonly deliveredMsAgo: number;
      readonly deliveries: number;
      readonly dispatcher: string | null;
      /** Its function's setup fails: it was not tried. */
      readonly setup?: SetupFailure;
    }
  /** `eventsBefore` null: too many to be counted one by one. */
  | {
      readonly state: 'lag';
      readonly eventsBefore: number | null;
      readonly dispatcher: string | null;
    }
  | {
      readonly state: 'parked';
      readonly attempts: number;
      readonly history: readonly Attempt[];
      /** When the head of its queue runs; negative: overdue. Null: not known. */
      readonly dueInMs: number | null;
      /** 0: the head. */
      readonly place: number;
      /** Event id of the head it waits behind. */
      readonly behind: string | null;
      /** Its handler runs, beside the turns of its lane. `sinceMs`: ms since 1970. */
      readonly running?: { readonly sinceMs: number; readonly attempt: number };
      readonly dispatcher: string | null;
    }
  | {
      readonly state: 'dead';
      readonly letter: string;
      readonly reason: string;
      readonly attempts: number;
      readonly history: readonly Attempt[];
      readonly error: { readonly name: string; readonly message: string; readonly cause?: string };
    };

export type FunctionState = EventState & { readonly function: string; readonly why: string };

export interface ExplainedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly partition: number;
  readonly entryId: string;
  /** Place in its entry, and in its flush. */
  readonly index: number;
  readonly position: number;
  readonly appendedMs: number;
  /** The entry is not in its stream any more (trimmed), or was too far back to be looked at. */
  readonly inStream: boolean;
  readonly functions: readonly FunctionState[];
}

export interface ExplainReport {
  readonly events: readonly ExplainedEvent[];
  /** In no stream yet: scheduled, or on their way to another partition. */
  readonly waiting: readonly WaitingEvent[];
  readonly searched: {
    readonly events: number;
    readonly partitions: number;
    /** Everything that is retained was looked at. False also where the search ended with a find. */
    readonly complete: boolean;
  };
}

type Source = Pick<Deployment, 'connection' | 'keys' | 'partitions'>;

interface Place {
  readonly id: string;
  readonly subject: string;
  readonly type: string;
  readonly partition: number;
  readonly entryId: string;
  readonly index: number;
  readonly position: number;
  /**
   * Of the entry's last event, with the entry's number of events; null: foreign, or not in the
   * stream.
   */
  readonly ordinal: number | null;
  readonly count: number;
  readonly inStream: boolean;
}

const PAGE = 32;
const PARALLEL = 16;
const LIMITS = { records: 10_000, units: 2_000, letters: 10_000, countedEntries: 4_096 } as const;

/** @throws InvalidTextError, UnknownOutcomeError, RedisReplyError */
export async function explain(
  source: Source,
  query: ExplainQuery,
  options: ExplainOptions = {},
): Promise<ExplainReport> {
  if ('subject' in query) checkText('the subject', query.subject);
  else checkText('the event id', query.eventId);
  const scan = options.scan ?? 100_000;
  const limit = options.limit ?? 100;
  const states =
    'subject' in query
      ? [await readPartition(source, partitionOf(query.subject, source.partitions))]
      : await readPartitions(source);
  const search = await searchStreams(source, states, query, scan, limit);
  const places = search.places;
  // The streams may have lost it to retention, or it lies beyond the scan.
  if ('subject' in query || places.length === 0) {
    const known = new Set(places.map(addressOf));
    for (const place of await searchAside(source, states, query, limit)) {
      if (known.has(addressOf(place))) continue;
      known.add(addressOf(place));
      places.push(place);
    }
  }
  places.sort(
    (a, b) =>
      a.partition - b.partition ||
      compareEntryIds(a.entryId, b.entryId) ||
      a.position - b.position ||
      a.index - b.index,
  );
  const shown = places.slice(-limit);
  const nowMs = await serverNow(source);
  const events: ExplainedEvent[] = [];
  for (const place of shown) {
    const state = states.find((s) => s.partition === place.partition) as PartitionState;
    const functions = await Promise.all(
      state.functions
        .filter((fn) => fn.types.includes(place.type))
        .map((fn) => stateFor(source, state, fn, place, nowMs)),
    );
    events.push({
      id: place.id,
      type: place.type,
      subject: place.subject,
      partition: place.partition,
      entryId: place.entryId,
      index: place.index,
      position: place.position,
      appendedMs: entryIdTime(place.entryId),
      inStream: place.inStream,
      functions,
    });
  }
  const waiting =
    places.length > 0 && 'eventId' in query ? [] : await waitingEvents(source, query, limit);
  return {
    events,
    waiting,
    searched: { events: search.events, partitions: states.length, complete: search.complete },
  };
}

/** Whether the head of the unit's list runs now: under the lease that says so. */
async function runningOf(
  { connection, keys }: Source,
  fn: string,
  partition: number,
  unit: string,
): Promise<RunningUnit | null> {
  const [text, lease] = (await Promise.all([
    connection.command('HGET', keys.counters(partition), `running:${fn}`),
    connection.command('GET', keys.lease(partition, fn)),
  ])) as [string | null, string | null];
  const running = readRunning(text ?? undefined);
  return running.lease === lease ? (running.units.find((one) => one.unit === unit) ?? null) : null;
}

function addressOf(place: Place): string {
  return `${place.partition}/${place.type}/${place.entryId}/${place.index}`;
}

async function serverNow(source: Source): Promise<number> {
  const [s, us] = (await source.connection.command('TIME')) as [string, string];
  return Number(s) * 1000 + Math.floor(Number(us) / 1000);
}

// ---------------------------------------------------------------- finding

/**
 * Newest first, a page of each stream in turn; the search for an id ends with the round that found
 * it.
 */
async function searchStreams(
  source: Source,
  states: readonly PartitionState[],
  query: ExplainQuery,
  scan: number,
  limit: number,
): Promise<{ places: Place[]; events: number; complete: boolean }> {
  const byId = 'eventId' in query;
  const wanted = byId ? query.eventId : query.subject;
  const needle = Buffer.from(wanted);
  let streams = states.flatMap((state) =>
    [...typesOf(state)].map((type) => ({ partition: state.partition, type, before: '+' })),
  );
  const places: Place[] = [];
  let events = 0;
  while (streams.length > 0) {
    const open: typeof streams = [];
    for (let i = 0; i < streams.length; i += PARALLEL) {
      if (events >= scan || places.length >= limit) return { places, events, complete: false };
      await Promise.all(
        streams.slice(i, i + PARALLEL).map(async (stream) => {
          const page = (await source.connection.commandBuffer(
            'XREVRANGE',
            source.keys.events(stream.partition, stream.type),
            stream.before,
            '-',
            'COUNT',
            PAGE,
          )) as [Buffer, Buffer[]][];
          for (const [idBytes, fields] of page) {
            const entryId = idBytes.toString('latin1');
            stream.before = `(${entryId}`;
            const { bytes, ordinal } = entryFields(fields);
            const count = countEntry(fields);
            events += count;
            if (needle.length === 0 || !bytes.includes(needle)) continue;
            for (const header of headersOf(bytes)) {
              if ((byId ? header.id : header.subject) !== wanted) continue;
              places.push({
                id: header.id,
                subject: header.subject,
                type: stream.type,
                partition: stream.partition,
                entryId,
                index: header.index,
                position: header.position,
                ordinal,
                count,
                inStream: true,
              });
            }
          }
          if (page.length === PAGE) open.push(stream);
        }),
      );
    }
    streams = open;
    if (byId && places.length > 0) return { places, events, complete: streams.length === 0 };
  }
  return { places, events, complete: true };
}

/**
 * Those that could be read before the bytes turned out corrupt; the entry is then dead as a whole.
 */
function headersOf(bytes: Buffer): EventHeader[] {
  const headers: EventHeader[] = [];
  try {
    walkBatch(bytes, (header) => headers.push(header));
  } catch {
    // dead letters say what is wrong with it
  }
  return headers;
}

function typesOf(state: PartitionState): Set<string> {
  const types = new Set(state.functions.flatMap((fn) => fn.types));
  for (const field of state.counters.keys())
    if (field.startsWith('appended:')) types.add(field.slice('appended:'.length));
  return types;
}

/** Parked lists and dead letters. */
async function searchAside(
  source: Source,
  states: readonly PartitionState[],
  query: ExplainQuery,
  limit: number,
): Promise<Place[]> {
  const places: Place[] = [];
  const wanted = (id: string, subject: string): boolean =>
    'eventId' in query ? id === query.eventId : subject === query.subject;
  for (const state of states) {
    for (const fn of state.functions) {
      if (places.length >= limit) return places;
      const direct =
        'eventId' in query
          ? fn.ordering === 'none'
            ? query.eventId
            : null
          : fn.ordering === 'key'
            ? query.subject
            : null;
      const units =
        direct !== null
          ? [direct]
          : ((await source.connection.command(
              'ZRANGE',
              source.keys.due(state.partition, fn.name),
              0,
              LIMITS.units - 1,
            )) as string[]);
      let left: number = LIMITS.records;
      for (const unit of units) {
        for await (const { record } of parkedRecords(source, state.partition, fn.name, unit)) {
          if (--left < 0) break;
          if (!wanted(record.eventId, record.subject)) continue;
          places.push(placeOf(state.partition, record));
          if (places.length >= limit) break;
        }
      }
      let letters: number = LIMITS.letters;
      for await (const letter of lettersOf(source, fn.name, state.partition)) {
        if (--letters < 0) break;
        if (letter.kind !== 'event' || !wanted(letter.eventId, letter.subject)) continue;
        places.push(placeOf(state.partition, letter));
        if (places.length >= limit) break;
      }
    }
  }
  return places;
}

function placeOf(
  partition: number,
  from: Pick<ParkedRecord, 'eventId' | 'subject' | 'type' | 'entryId' | 'index' | 'position'>,
): Place {
  return {
    id: from.eventId,
    subject: from.subject,
    type: from.type,
    partition,
    entryId: from.entryId,
    index: from.index,
    position: from.position,
    ordinal: null,
    count: 0,
    inStream: false,
  };
}

async function* parkedRecords(
  source: Source,
  partition: number,
  fn: string,
  unit: string,
): AsyncGenerator<{ record: ParkedRecord; place: number }> {
  const key = source.keys.parked(partition, fn, unit);
  for (let from = 0; from < LIMITS.records; from += PAGE) {
    let page: Buffer[];
    try {
      page = (await source.connection.commandBuffer(
        'LRANGE',
        key,
        from,
        from + PAGE - 1,
      )) as Buffer[];
    } catch (error) {
      if (!isWrongType(error)) throw error;
      return; // set aside when it is due
    }
    for (const [i, bytes] of page.entries()) {
      let record: ParkedRecord;
      try {
        record = decodeParked(bytes);
      } catch {
        continue;
      }
      yield { record, place: from + i };
    }
    if (page.length < PAGE) return;
  }
}

// ---------------------------------------------------------------- explaining

async function stateFor(
  source: Source,
  state: PartitionState,
  fn: RegisteredFunction,
  place: Place,
  nowMs: number,
): Promise<FunctionState> {
  const { connection, keys } = source;
  const { partition, type, entryId } = place;
  const stream = keys.events(partition, type);
  const lease = (await connection.command('GET', keys.lease(partition, fn.name))) as string | null;
  const dispatcher = lease === null ? null : lease.slice(0, lease.lastIndexOf(':'));
  const lane = `${fn.name}/${partition}`;
  const owner =
    dispatcher === null
      ? `no dispatcher owns lane ${lane}`
      : `dispatcher ${dispatcher} owns lane ${lane}`;

  const setup = parseSetupFailure(
    (await connection.command('GET', keys.setupFailure(partition, fn.name))) as string | null,
  );
  const notSetUp =
    setup &&
    `${setup.error}. It fails since ${isoOf(setup.sinceMs)}, last at ${isoOf(setup.atMs)}; ` +
      (dispatcher === null
        ? 'no dispatcher tries it now'
        : `the next try is due at ${isoOf(setup.nextMs)}`);
  const andSetUp = notSetUp ? `; ${notSetUp}` : '';

  if (place.inStream) {
    const delivered = await lastDelivered(source, stream, fn.name);
    if (delivered === null || compareEntryIds(entryId, delivered) > 0) {
      const eventsBefore = await countBefore(source, state, stream, delivered ?? '0-0', place);
      const ahead =
        eventsBefore === null
          ? `many events of ${type} are before it`
          : eventsBefore === 0
            ? 'it is the next one'
            : `${eventsBefore} events of ${type} are before it`;
      return {
        function: fn.name,
        state: 'lag',
        eventsBefore,
        dispatcher,
        why:
          delivered === null
            ? `it was not read yet: the consumer group is gone; the next dispatcher to run ${fn.name} recreates it behind the last commit`
            : `it was not read yet: ${ahead}, and ${owner}${andSetUp}`,
      };
    }
    const pending = (await connection.command(
      'XPENDING',
      stream,
      fn.name,
      entryId,
      entryId,
      1,
    )) as [string, string, number, number][];
    if (pending[0]) {
      const [, , idle, deliveries] = pending[0];
      return {
        function: fn.name,
        state: 'pending',
        deliveredMsAgo: Number(idle),
        deliveries: Number(deliveries),
        dispatcher,
        ...(setup ? { setup } : {}),
        why: setup
          ? `${notSetUp}; the event was not tried, and ${owner}`
          : dispatcher === null
            ? `it was delivered ${idle} ms ago and not settled, but ${owner} now: the next owner takes it up again`
            : `it was delivered ${idle} ms ago and is running, or waits in its batch; ${owner}`,
      };
    }
  }

  const unit = fn.ordering === 'none' ? place.id : place.subject;
  let head: ParkedRecord | null = null;
  for await (const { record, place: at } of parkedRecords(source, partition, fn.name, unit)) {
    head ??= record;
    if (record.entryId !== entryId || record.index !== place.index || record.type !== type)
      continue;
    const due = (await connection.command('ZSCORE', keys.due(partition, fn.name), unit)) as
      string | null;
    const holder = (await connection.command('HGET', keys.held(partition, fn.name), unit)) as
      string | null;
    if (holder !== null) {
      const letter = formatLetterId(fn.name, partition, holder);
      return {
        function: fn.name,
        state: 'parked',
        attempts: record.attempts,
        history: record.history,
        dueInMs: null,
        place: at,
        behind: null,
        dispatcher,
        why: `its subject is held by dead letter ${letter} (onDead: "hold"): millrace dlq replay ${letter} or dlq purge ${letter} lets it go on`,
      };
    }
    const running = await runningOf(source, fn.name, partition, unit);
    if (running) {
      const since = `since ${Math.max(0, Math.round(nowMs - running.sinceMs))} ms`;
      return {
        function: fn.name,
        state: 'parked',
        attempts: record.attempts,
        history: record.history,
        dueInMs: null,
        place: at,
        behind: at === 0 ? null : head.eventId,
        dispatcher,
        ...(at === 0 ? { running: { sinceMs: running.sinceMs, attempt: running.attempt } } : {}),
        why:
          at === 0
            ? `its handler runs ${since} (attempt ${running.attempt}), and ${owner}`
            : `it waits behind event ${head.eventId} of the same subject (place ${at} of its queue), which runs ${since}, and ${owner}`,
      };
    }
    const dueInMs = due === null ? null : Number(due) - nowMs;
    const when =
      dueInMs === null
        ? 'at an unknown time'
        : dueInMs > 0
          ? `in ${dueInMs} ms`
          : `since ${-dueInMs} ms`;
    const last = record.history.at(-1);
    const { schema } = readEvent(record.event);
    const unknownSchema =
      at === 0 &&
      record.attempts === 0 &&
      schema > 0 &&
      (await connection.command('HEXISTS', keys.registry('ids'), schema)) === 0;
    const failed = unknownSchema
      ? `it waits for its schema, id ${schema}, which the registry does not know`
      : record.attempts === 0
        ? last
          ? 'it was replayed from the dead letters'
          : 'it was not tried yet'
        : `its attempt ${record.attempts} failed${last ? ` (${last.name}: ${last.message}${causedBy(last)})` : ''}`;
    return {
      function: fn.name,
      state: 'parked',
      attempts: record.attempts,
      history: record.history,
      dueInMs,
      place: at,
      behind: at === 0 ? null : head.eventId,
      dispatcher,
      why:
        at === 0
          ? `${failed}; its next attempt is due ${when}, and ${owner}${andSetUp}`
          : `it waits behind event ${head.eventId} of the same subject (place ${at} of its queue), which is due ${when}, and ${owner}`,
    };
  }

  const letter = await findLetter(source, fn, place);
  const settledBefore = Number(state.counters.get(`done:${fn.name}:${type}`) ?? '0') > 0;
  if (letter && !letter.identified && settledBefore) {
    return {
      function: fn.name,
      state: 'unknown',
      why: `it is done, or it is dead letter ${letter.id}: a parked record of its ${fn.ordering === 'key' ? 'subject' : 'id'} that could not be read, and does not say of which event it was`,
    };
  }
  if (letter) {
    return {
      function: fn.name,
      state: 'dead',
      letter: letter.id,
      reason: letter.reason,
      attempts: letter.attempts,
      history: letter.history,
      error: {
        name: letter.error.name,
        message: letter.error.message,
        ...(letter.error.cause ? { cause: letter.error.cause } : {}),
      },
      why:
        `it is dead letter ${letter.id} (${letter.reason}: ${letter.error.message}${causedBy(letter.error)}); ` +
        (letter.kind === 'event'
          ? `millrace dlq replay ${letter.id} tries it again`
          : `its ${letter.kind} could not be read; publish the event anew, then purge the letter`),
    };
  }

  const counter = (name: string): number =>
    Number(state.counters.get(`${name}:${fn.name}:${type}`) ?? '0');
  if (
    place.ordinal !== null &&
    place.ordinal <= counter('base') &&
    compareEntryIds(entryId, state.counters.get(`exact:${type}`) ?? '0-0') > 0
  ) {
    return {
      function: fn.name,
      state: 'skipped',
      why: `it was appended before the place at which ${fn.name} started`,
    };
  }
  if (!place.inStream) {
    return {
      function: fn.name,
      state: 'done',
      why: `it is neither parked nor dead for ${fn.name}, and its entry was not looked at: most likely done`,
    };
  }
  const purged = counter('purged');
  return {
    function: fn.name,
    state: 'done',
    why:
      purged > 0
        ? `it is settled: done, or one of ${purged} events whose dead letters were purged`
        : 'it was processed and acknowledged',
  };
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

function causedBy({ cause }: { readonly cause?: string }): string {
  return cause ? `; caused by ${cause}` : '';
}

async function lastDelivered(source: Source, stream: string, fn: string): Promise<string | null> {
  let groups: unknown[][];
  try {
    groups = (await source.connection.command('XINFO', 'GROUPS', stream)) as unknown[][];
  } catch {
    return null; // the stream was deleted meanwhile
  }
  for (const info of groups) {
    const of = (name: string): string => String(info[info.indexOf(name) + 1]);
    if (of('name') === fn) return of('last-delivered-id');
  }
  return null;
}

/** Events of the type between what was delivered and this one; null: too many to be counted. */
async function countBefore(
  source: Source,
  state: PartitionState,
  stream: string,
  delivered: string,
  place: Place,
): Promise<number | null> {
  const exact = state.counters.get(`exact:${place.type}`) ?? '0-0';
  const ordinal =
    place.ordinal !== null && compareEntryIds(place.entryId, exact) > 0 ? place.ordinal : null;
  let counted = 0;
  let entries = 0;
  let cursor = delivered;
  for (;;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      stream,
      `(${cursor}`,
      `(${place.entryId}`,
      'COUNT',
      entries === 0 ? 1 : PAGE,
    )) as [Buffer, Buffer[]][];
    if (page.length === 0) return counted + place.index;
    for (const [idBytes, fields] of page) {
      cursor = idBytes.toString('latin1');
      const first = entryFields(fields).ordinal;
      const count = countEntry(fields);
      if (ordinal !== null && first !== null && compareEntryIds(cursor, exact) > 0) {
        return counted + (ordinal - place.count) - (first - count) + place.index;
      }
      counted += count;
      entries++;
    }
    if (entries > LIMITS.countedEntries) return null;
  }
}

async function findLetter(
  source: Source,
  fn: RegisteredFunction,
  place: Place,
): Promise<(DeadLetter & { readonly identified: boolean }) | null> {
  // A letter is not older than the entry, both by the server's clock; a foreign entry may bear any
  // id.
  const after = place.ordinal === null ? '0-0' : `${Math.max(0, entryIdTime(place.entryId) - 1)}-0`;
  let left: number = LIMITS.letters;
  let maybe: DeadLetter | null = null;
  for await (const letter of lettersOf(source, fn.name, place.partition, after)) {
    if (--left < 0) break;
    if (
      letter.kind === 'record' &&
      letter.entryId === '' &&
      (fn.ordering === 'key' ? letter.subject === place.subject : letter.eventId === place.id)
    ) {
      if (fn.ordering === 'none' || letter.bytes.includes(place.id))
        return { ...letter, identified: true };
      maybe ??= letter;
    }
    if (letter.type !== place.type || letter.entryId !== place.entryId) continue;
    if (letter.kind === 'entry' || letter.index === place.index)
      return { ...letter, identified: true };
  }
  return maybe && { ...maybe, identified: false };
}
