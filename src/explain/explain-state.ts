/**
 * The state of one event for one function, and why. Probes are tried in the order in which an event
 * goes through its states. Each move is one script. So an event that moves meanwhile is found at
 * its old place or at its new one.
 */
import { dispatcherOf } from '../core/lease-value.ts';
import { parseSetupFailure, type SetupFailure } from '../core/setup-failure.ts';
import { compareEntryIds } from '../core/position.ts';
import { formatLetterId } from '../pipeline/dead/dead-letters.ts';
import { readRunning, type RunningUnit } from '../pipeline/lane/in-flight.ts';
import {
  counterFields,
  countOf,
  type PartitionState,
  type RegisteredFunction,
} from '../redis/counters.ts';
import { readEvent } from '../wire/batch-reader.ts';
import type { ParkedRecord } from '../wire/parked.ts';
import { countBefore, lastDelivered } from './count-before.ts';
import type { RedisSource } from '../redis/source.ts';
import type { EventPlace } from './find-event.ts';
import { findLetter } from './find-letter.ts';
import { parkedRecords } from './parked-records.ts';
import type { EventState, FunctionState } from './report.ts';
import { Unseen } from './unseen.ts';

/** An event and a function, with the facts that all probes need. */
interface Case {
  readonly source: RedisSource;
  readonly state: PartitionState;
  readonly fn: RegisteredFunction;
  readonly place: EventPlace;
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /** Owner of the lane; null: nobody. */
  readonly dispatcher: string | null;
  /** The owner in words, as a clause. */
  readonly owner: string;
  readonly setup: SetupFailure | null;
  readonly unseen: Unseen;
  /** Whether messages of errors are told. They may quote payloads. */
  readonly quotes: boolean;
}

export interface StateOptions {
  /** Time by the server's clock, ms since 1970. */
  readonly nowMs: number;
  /** Whether messages and causes of errors are told, which may quote payloads. Default true. */
  readonly quotes?: boolean;
}

type Answer = EventState & { readonly why: string };

/** Answers for an event in its state. Null: the event is in another state. */
type Probe = (asked: Case) => Promise<Answer | null>;

const PROBES: readonly Probe[] = [notRead, pending, parked, dead, skipped];

export async function explainState(
  source: RedisSource,
  state: PartitionState,
  fn: RegisteredFunction,
  place: EventPlace,
  { nowMs, quotes = true }: StateOptions,
): Promise<FunctionState> {
  const { connection, keys } = source;
  const { partition } = place;
  const lease = (await connection.command('GET', keys.lease(partition, fn.name))) as string | null;
  const dispatcher = lease === null ? null : dispatcherOf(lease);
  const lane = `${fn.name}/${partition}`;
  const asked: Case = {
    source,
    state,
    fn,
    place,
    nowMs,
    dispatcher,
    owner:
      dispatcher === null
        ? `no dispatcher owns lane ${lane}`
        : `dispatcher ${dispatcher} owns lane ${lane}`,
    setup: parseSetupFailure(
      (await connection.command('GET', keys.setupFailure(partition, fn.name))) as string | null,
    ),
    unseen: new Unseen(),
    quotes,
  };
  for (const probe of PROBES) {
    const answer = await probe(asked);
    if (answer !== null) return { function: fn.name, ...(quotes ? answer : unquoted(answer)) };
  }
  return { function: fn.name, ...done(asked) };
}

const HIDDEN = '(masked)';

/** Hides messages and causes of errors. `why` has none of them then. */
function unquoted(answer: Answer): Answer {
  if (answer.state !== 'parked' && answer.state !== 'dead') return answer;
  const history = answer.history.map(({ cause: _cause, ...one }) => ({ ...one, message: HIDDEN }));
  if (answer.state === 'parked') return { ...answer, history };
  return { ...answer, history, error: { name: answer.error.name, message: HIDDEN } };
}

// ---------------------------------------------------------------- in the stream

async function notRead(asked: Case): Promise<Answer | null> {
  const { source, state, fn, place, dispatcher, owner } = asked;
  if (!place.inStream) return null;
  const stream = source.keys.events(place.partition, place.type);
  const delivered = await lastDelivered(source, stream, fn.name);
  if (delivered !== null && compareEntryIds(place.entryId, delivered) <= 0) return null;
  const eventsBefore = await countBefore(source, state, stream, delivered ?? '0-0', place);
  return {
    state: 'lag',
    eventsBefore,
    dispatcher,
    why:
      delivered === null
        ? `it was not read yet: the consumer group is gone; the next dispatcher to run ${fn.name} recreates it behind the last commit`
        : `it was not read yet: ${aheadOf(place.type, eventsBefore)}, and ${owner}${andSetup(asked)}`,
  };
}

function aheadOf(type: string, eventsBefore: number | null): string {
  if (eventsBefore === null) return `many events of ${type} are before it`;
  if (eventsBefore === 0) return 'it is the next one';
  return `${eventsBefore} events of ${type} are before it`;
}

async function pending(asked: Case): Promise<Answer | null> {
  const { source, fn, place, dispatcher, owner, setup } = asked;
  if (!place.inStream) return null;
  const [found] = (await source.connection.command(
    'XPENDING',
    source.keys.events(place.partition, place.type),
    fn.name,
    place.entryId,
    place.entryId,
    1,
  )) as [string, string, number, number][];
  if (!found) return null;
  const [, , idle, deliveries] = found;
  return {
    state: 'pending',
    deliveredMsAgo: Number(idle),
    deliveries: Number(deliveries),
    dispatcher,
    ...(setup ? { setup } : {}),
    why: setup
      ? `${setupText(asked, setup)}; the event was not tried, and ${owner}`
      : dispatcher === null
        ? `it was delivered ${idle} ms ago and not settled, but ${owner} now: the next owner takes it up again`
        : `it was delivered ${idle} ms ago and is running, or waits in its batch; ${owner}`,
  };
}

function setupText({ dispatcher }: Case, setup: SetupFailure): string {
  const next =
    dispatcher === null
      ? 'no dispatcher tries it now'
      : `the next try is due at ${isoOf(setup.nextMs)}`;
  return `${setup.error}. It fails since ${isoOf(setup.sinceMs)}, last at ${isoOf(setup.atMs)}; ${next}`;
}

function andSetup(asked: Case): string {
  return asked.setup ? `; ${setupText(asked, asked.setup)}` : '';
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

// ---------------------------------------------------------------- parked

/** An event's record in the list of its unit. */
interface Parked {
  readonly unit: string;
  readonly record: ParkedRecord;
  /** Place of the record in the list; 0: the head. */
  readonly at: number;
  /** Head of the list. Null: the head cannot be read. */
  readonly head: ParkedRecord | null;
}

async function parked(asked: Case): Promise<Answer | null> {
  const found = await findParked(asked);
  if (found === null) return null;
  const { source, fn, place } = asked;
  const due = (await source.connection.command(
    'ZSCORE',
    source.keys.due(place.partition, fn.name),
    found.unit,
  )) as string | null;
  return (
    (await held(asked, found)) ??
    (await running(asked, found)) ??
    (await waiting(asked, found, due === null ? null : Number(due) - asked.nowMs))
  );
}

async function findParked({ source, fn, place, unseen }: Case): Promise<Parked | null> {
  const unit = fn.ordering === 'none' ? place.id : place.subject;
  let head: ParkedRecord | null = null;
  const records = parkedRecords(source, place.partition, fn.name, unit, unseen);
  for await (const { record, place: at } of records) {
    if (at === 0) head = record;
    if (
      record.entryId === place.entryId &&
      record.index === place.index &&
      record.type === place.type
    )
      return { unit, record, at, head };
  }
  return null;
}

/** Answers where a dead letter holds the unit. */
async function held(asked: Case, { unit, record, at }: Parked): Promise<Answer | null> {
  const { source, fn, place, dispatcher } = asked;
  const holder = (await source.connection.command(
    'HGET',
    source.keys.held(place.partition, fn.name),
    unit,
  )) as string | null;
  if (holder === null) return null;
  const letter = formatLetterId(fn.name, place.partition, holder);
  return {
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

/** Answers where the head of the list runs. */
async function running(asked: Case, found: Parked): Promise<Answer | null> {
  const { record, at } = found;
  const unit = await runningUnit(asked, found.unit);
  if (unit === null) return null;
  const { sinceMs, attempt } = unit;
  const since = `since ${Math.max(0, Math.round(asked.nowMs - sinceMs))} ms`;
  return {
    state: 'parked',
    attempts: record.attempts,
    history: record.history,
    dueInMs: null,
    place: at,
    behind: behindOf(found),
    dispatcher: asked.dispatcher,
    ...(at === 0 ? { running: { sinceMs, attempt } } : {}),
    why:
      at === 0
        ? `its handler runs ${since} (attempt ${attempt}), and ${asked.owner}`
        : `${behindText(found)}, which runs ${since}, and ${asked.owner}`,
  };
}

/** Finds the unit among those that run under the lane's present lease. */
async function runningUnit({ source, fn, place }: Case, unit: string): Promise<RunningUnit | null> {
  const { connection, keys } = source;
  const [text, lease] = (await Promise.all([
    connection.command('HGET', keys.counters(place.partition), counterFields.running(fn.name)),
    connection.command('GET', keys.lease(place.partition, fn.name)),
  ])) as [string | null, string | null];
  const found = readRunning(text ?? undefined);
  return found.lease === lease ? (found.units.find((one) => one.unit === unit) ?? null) : null;
}

/**
 * Answers where the head of the list waits for its time.
 * @param dueInMs null: the time is not known
 */
async function waiting(asked: Case, found: Parked, dueInMs: number | null): Promise<Answer> {
  const { record, at } = found;
  const { dispatcher, owner } = asked;
  const when = dueText(dueInMs);
  return {
    state: 'parked',
    attempts: record.attempts,
    history: record.history,
    dueInMs,
    place: at,
    behind: behindOf(found),
    dispatcher,
    why:
      at === 0
        ? `${await failedText(asked, record)}; its next attempt is due ${when}, and ${owner}${andSetup(asked)}`
        : `${behindText(found)}, which is due ${when}, and ${owner}`,
  };
}

/**
 * Id of the head that the event waits behind. Null: the event is the head, or no id can be read.
 */
function behindOf({ at, head }: Parked): string | null {
  return at === 0 ? null : (head?.eventId ?? null);
}

function behindText({ at, head }: Parked): string {
  const first = head === null ? 'an unreadable record' : `event ${head.eventId}`;
  return `it waits behind ${first} of the same subject (place ${at} of its queue)`;
}

function dueText(dueInMs: number | null): string {
  if (dueInMs === null) return 'at an unknown time';
  return dueInMs > 0 ? `in ${dueInMs} ms` : `since ${-dueInMs} ms`;
}

async function failedText({ source, quotes }: Case, record: ParkedRecord): Promise<string> {
  const last = record.history.at(-1);
  if (record.attempts > 0) {
    const error = last && quotes ? ` (${last.name}: ${last.message}${causedBy(last)})` : '';
    return `its attempt ${record.attempts} failed${error}`;
  }
  const { schema } = readEvent(record.event);
  const { connection, keys } = source;
  if (schema > 0 && (await connection.command('HEXISTS', keys.registry('ids'), schema)) === 0)
    return `it waits for its schema, id ${schema}, which the registry does not know`;
  return last ? 'it was replayed from the dead letters' : 'it was not tried yet';
}

function causedBy({ cause }: { readonly cause?: string }): string {
  return cause ? `; caused by ${cause}` : '';
}

// ---------------------------------------------------------------- settled

async function dead(asked: Case): Promise<Answer | null> {
  const { source, fn, place } = asked;
  const letter = await findLetter(source, fn, place, asked.unseen);
  if (letter === null) return null;
  if (!letter.identified && counterOf(asked, counterFields.done) > 0) {
    return {
      state: 'unknown',
      why: `it is done, or it is dead letter ${letter.id}. That letter is a parked record of its ${fn.ordering === 'key' ? 'subject' : 'id'} that could not be read, and does not say of which event it was`,
    };
  }
  const { name, message, cause } = letter.error;
  return {
    state: 'dead',
    letter: letter.id,
    reason: letter.reason,
    attempts: letter.attempts,
    history: letter.history,
    error: { name, message, ...(cause ? { cause } : {}) },
    why:
      `it is dead letter ${letter.id} (${letter.reason}${asked.quotes ? `: ${message}${causedBy(letter.error)}` : ''}); ` +
      (letter.kind === 'event'
        ? `millrace dlq replay ${letter.id} tries it again`
        : `its ${letter.kind} could not be read; publish the event anew, then purge the letter`),
  };
}

/** Answers where the event was appended before the function's start. */
function skipped(asked: Case): Promise<Answer | null> {
  const { state, fn, place } = asked;
  const isSkipped =
    place.ordinal !== null &&
    place.ordinal <= counterOf(asked, counterFields.base) &&
    compareEntryIds(place.entryId, state.counters.get(counterFields.exact(place.type)) ?? '0-0') >
      0;
  return Promise.resolve(
    isSkipped
      ? {
          state: 'skipped',
          why: `it was appended before the place at which ${fn.name} started`,
        }
      : null,
  );
}

function done(asked: Case): Answer {
  const { hidden } = asked.unseen;
  if (hidden !== null) return { state: 'unknown', why: `it is done, or it is ${hidden}` };
  if (!asked.place.inStream) {
    return {
      state: 'done',
      why: `it is neither parked nor dead for ${asked.fn.name}, and its entry was not looked at: most likely done`,
    };
  }
  const purged = counterOf(asked, counterFields.purged);
  return {
    state: 'done',
    why:
      purged > 0
        ? `it is settled: done, or one of ${purged} events whose dead letters were purged`
        : 'it was processed and acknowledged',
  };
}

function counterOf(
  { state, fn, place }: Case,
  fieldOf: (fn: string, type: string) => string,
): number {
  return countOf(state, fieldOf(fn.name, place.type));
}
