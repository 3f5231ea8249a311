/**
 * Turns what a batch came to into the one script call that makes it so.
 *
 * Who owns what: the lane owns its turn counter and its set of parked units; Redis owns everything
 * else. A commit whose reply was lost is sent again unchanged: commit.lua recognises the turn id.
 */
import type { DeadEntry, ErrorInfo, EventRef, Failure } from '../../core/batch-task.ts';
import { laneName, OWNER, type FunctionSpec } from '../../core/function-spec.ts';
import type { Emitted, OutboxSize } from '../../core/emitted.ts';
import { ParkedLimitError, RedisReplyError, ScheduleFullError } from '../../core/errors.ts';
import { nextDelayMs } from '../../core/retry-policy.ts';
import { CELL } from '../../core/progress-cells.ts';
import { MAX_SCHEDULED } from '../../core/when.ts';
import { cut } from '../../core/well-formed.ts';
import type { Keys } from '../../redis/keys.ts';
import type { RedisConnection } from '../../redis/connection.ts';
import { defineScript } from '../../redis/script.ts';
import { APPEND_ENTRIES, HOLDS_LEASE, SCHEDULE_EVENT } from '../../wire/entries-lua.ts';
import { batchSourceOf } from '../../wire/event-batch.ts';
import { decodeParked, encodeParked, type ParkedRecord } from '../../wire/parked.ts';
import type { Batch, StreamEntry } from '../batch/batch.ts';

const script = defineScript({
  url: new URL('./commit.lua', import.meta.url),
  with: [
    HOLDS_LEASE,
    APPEND_ENTRIES,
    SCHEDULE_EVENT,
    new URL('./emit-events.lua', import.meta.url),
  ],
  keys: 'variable',
});

/** Attempts kept in a parked record's history. */
const HISTORY = 10;
/**
 * How long after a look for its schema an event is looked at again: after a quarter of the time it
 * has waited.
 */
const SCHEMA_LOOK_MS = { min: 500, max: 30_000 };

export interface CommitContext {
  readonly keys: Keys;
  readonly spec: FunctionSpec;
  readonly partition: number;
  /** Of ordering 'none': who read it. Default: the lane's owner. */
  readonly consumer?: string;
  readonly leaseValue: string;
  readonly leaseTtlMs: number;
  /**
   * `<epoch>.<turn>`, and behind a space the one this lane has committed before: with it, a Redis
   * that has gone back in time is noticed.
   */
  readonly turnId: string;
  /**
   * Server time now, estimated, in ms since 1970: stamps in records. Delays are added to the
   * server's own clock.
   */
  readonly nowMs: number;
  readonly dispatcher: string;
  readonly version: string;
  /** Events parked in a unit's list now. */
  readonly parkedOf: (unit: string) => number;
  /** Whether what is parked in it was only not started: nothing of it has failed. Default: none. */
  readonly isLeft?: (unit: string) => boolean;
  /** How long an event waits for its schema to be registered, in ms. */
  readonly schemaWaitMs: number;
  /** What `running:<f>` says from then on; '-': nothing. Default: as before. */
  readonly running?: string;
  /** Whether the unit's head runs beside this turn. Default: none does. */
  readonly inFlight?: (unit: string) => boolean;
}

/**
 * An event that stays, or becomes, the head of its parked list without an attempt: its handler
 * runs, or died without blame.
 */
export interface Unsettled {
  readonly ref: EventRef;
  readonly delayMs: number;
  /** It is to run by itself. */
  readonly isolate: boolean;
}

export interface ResultOfRun {
  readonly states: Uint8Array;
  readonly failures: readonly Failure[];
  readonly blocked: readonly EventRef[];
  readonly deadEntries: readonly DeadEntry[];
  /** Blocks of steps (src/core/effects.ts), in order. */
  readonly effects: readonly Uint8Array[];
  /**
   * Of a function with an inbox: the events' identities (src/wire/event-identity.ts; '' where it
   * has none).
   */
  readonly ids?: readonly string[];
  /** What the events emitted, in order. Absent: nothing. */
  readonly emitted?: readonly Emitted[];
  /** Their state is RUNNING. Absent: none. */
  readonly unsettled?: readonly Unsettled[];
  /** Of `blocked`: what was only not started. Absent: none. */
  readonly left?: ReadonlySet<number>;
}

/** One failed attempt, for the log. */
export interface FailedAttempt {
  readonly eventId: string;
  readonly type: string;
  readonly subject: string;
  /** Where the event is: entry id in its type's stream, index in the entry. */
  readonly entry: string;
  readonly index: number;
  readonly attempt: number;
  /** When it is tried again, in ms from the commit; null: never, it is dead. */
  readonly nextMs: number | null;
  readonly reason: string;
  readonly error: ErrorInfo;
}

export interface CommitPlan {
  readonly partition: number;
  readonly keys: readonly string[];
  readonly args: readonly (string | number | Buffer)[];
  readonly done: number;
  readonly retried: number;
  readonly dead: number;
  /**
   * Units that have a parked list once this is committed (unless it is told to be empty), and by
   * how many events it grows.
   */
  readonly parked: ReadonlyMap<string, number>;
  /** Records of the unsettled, by index in the batch. */
  readonly unsettled: ReadonlyMap<number, Buffer>;
  /** Units of `parked` that hold nothing but what was not started, and what came behind that. */
  readonly left: ReadonlySet<string>;
  /** For the log: every attempt that failed, and what is dead without one. */
  readonly failed: readonly FailedAttempt[];
}

export type CommitReply =
  | { readonly kind: 'stale' }
  /**
   * Nothing was written: the turn has effects or parks events of several types, and these entries
   * are no longer pending.
   */
  | { readonly kind: 'refused'; readonly missing: readonly string[] }
  /** Redis has forgotten the lane's last commit. Nothing was done. */
  | { readonly kind: 'back' }
  | {
      readonly kind: 'ok';
      readonly repeated: boolean;
      readonly nextDueMs: number | null;
      readonly missing: readonly string[];
      readonly emptied: readonly string[];
      /** Null: nothing was put there, or not known. */
      readonly outbox: OutboxSize | null;
      /** Keys of a view's indexes that are of another type: what belongs there was not written. */
      readonly noIndexes: readonly string[];
    };

type Arg = string | number | Buffer;

export function planCommit(batch: Batch, result: ResultOfRun, context: CommitContext): CommitPlan {
  const { spec, partition, keys } = context;
  checkOutcomes(batch, result, context);

  // entries: done = all that neither failed nor was held back
  const notDone = new Array<number>(batch.entries.length).fill(0);
  for (const { ref } of result.failures)
    if (ref.entry >= 0) notDone[ref.entry] = (notDone[ref.entry] as number) + 1;
  for (const ref of result.blocked) notDone[ref.entry] = (notDone[ref.entry] as number) + 1;
  const unsettledOf = new Map((result.unsettled ?? []).map((one) => [one.ref.index, one]));
  for (const { ref } of unsettledOf.values())
    if (ref.entry >= 0) notDone[ref.entry] = (notDone[ref.entry] as number) + 1;
  const unsettled = new Map<number, Buffer>();
  const unitNameOf = (ref: EventRef): string => (spec.ordering === 'key' ? ref.subject : ref.id);
  for (const { entry } of result.deadEntries)
    notDone[entry] = (batch.entries[entry] as StreamEntry).count;

  const units: string[] = [];
  const unitIndex = new Map<string, number>();
  const unitOf = (unit: string): number => {
    let at = unitIndex.get(unit);
    if (at === undefined) {
      units.push(unit);
      at = units.length;
      unitIndex.set(unit, at);
    }
    return at;
  };

  const growth = new Map<string, number>();
  const grow = (unit: string, by: number): void =>
    void growth.set(unit, (growth.get(unit) ?? 0) + by);
  const holdOf = (unit: string): number => {
    // Without a subject it holds nothing.
    if (spec.onDead !== 'hold' || unit === '') return 0;
    grow(unit, 0);
    return unitOf(unit);
  };
  let done = 0;
  let retried = 0;
  let dead = 0;
  const failed: FailedAttempt[] = [];
  const entryArgs: Arg[] = [];
  batch.entries.forEach((entry, i) => {
    const completed = entry.count - (notDone[i] as number);
    done += completed;
    entryArgs.push(entry.type + 1, entry.id, completed);
  });

  // parked: heads and what waits behind them, in stream order
  const parkArgs: Arg[] = [];
  let parked = 0;
  const deadArgs: Arg[] = [];
  let deadCount = 0;
  const letter = (
    at: { entry: number; stream: number; type: string; events: number; holds: number },
    fields: readonly Arg[],
  ): void => {
    deadArgs.push(at.entry, at.stream, at.type, at.events, at.holds, fields.length, ...fields);
    deadCount++;
    dead += at.events;
  };

  const leftUnits = new Set<string>();
  /**
   * Nothing has failed in it: it is not for want of success that events wait there, and they are
   * not too many.
   */
  const isLeft = (unit: string, ref: EventRef): boolean => {
    const parkedBefore = context.parkedOf(unit) + (growth.get(unit) ?? 0);
    if (leftUnits.has(unit)) return true;
    const fresh =
      parkedBefore === 0
        ? (result.left?.has(ref.index) ?? false)
        : (context.isLeft?.(unit) ?? false);
    if (fresh) leftUnits.add(unit);
    return fresh;
  };
  /** Events dead-lettered by this turn. */
  const died = new Set<number>();
  const failureOf = new Map(result.failures.map((f) => [f.ref.index, f]));
  const parkedRefs = [...result.failures, ...unsettledOf.values()]
    .map((one) => one.ref)
    .filter((ref) => ref.entry >= 0);
  /** Units whose head runs: what waits for it is not too much. */
  const runs = new Set(
    unsettledOf.size > 0 ? [...unsettledOf.values()].map(({ ref }) => unitNameOf(ref)) : [],
  );
  const held = [...parkedRefs, ...result.blocked].sort(
    (a, b) => a.index - b.index || a.position - b.position,
  );
  // Within one flush the types' events are ordered by position, not by index.
  held.sort((a, b) => {
    const idA = (batch.entries[a.entry] as StreamEntry).id;
    const idB = (batch.entries[b.entry] as StreamEntry).id;
    return idA === idB ? a.position - b.position : a.index - b.index;
  });
  const sources = new Map<number, Uint8Array>();
  /** Looked up once an entry, and only where something of it is parked or dead. */
  const sourceOf = (at: number, bytes: Uint8Array): Uint8Array => {
    let source = sources.get(at);
    if (source === undefined) sources.set(at, (source = batchSourceOf(bytes)));
    return source;
  };
  for (const ref of held) {
    const entry = batch.entries[ref.entry] as StreamEntry;
    const type = batch.types[entry.type] as string;
    const bytes = entry.bytes.subarray(ref.offset, ref.offset + ref.length);
    const unit = unitNameOf(ref);
    const failure = failureOf.get(ref.index);
    const base: ParkedRecord = {
      event: bytes,
      type,
      entryId: entry.id,
      index: ref.indexInEntry,
      position: ref.position,
      attempts: 0,
      firstFailedMs: 0,
      lastFailedMs: 0,
      waitingSinceMs: 0,
      history: [],
      isolate: false,
      eventId: ref.id,
      subject: ref.subject,
      batchSource: sourceOf(ref.entry, entry.bytes),
    };
    const open = unsettledOf.get(ref.index);
    if (open) {
      const record = encodeParked({ ...base, isolate: open.isolate });
      unsettled.set(ref.index, record);
      parked++;
      grow(unit, 1);
      parkArgs.push(unitOf(unit), ref.entry + 1, `wait:${Math.ceil(open.delayMs)}`, record);
      continue;
    }
    if (!failure) {
      const running = runs.has(unit) || (context.inFlight?.(unit) ?? false);
      const own = isLeft(unit, ref);
      if (
        !running &&
        !own &&
        context.parkedOf(unit) + (growth.get(unit) ?? 0) >= spec.maxParkedPerSubject
      ) {
        const error = new ParkedLimitError(spec.name, ref.subject, spec.maxParkedPerSubject);
        const over: Failure = {
          ref,
          retryable: false,
          reason: 'parked-limit',
          error: { name: error.name, message: error.message, stack: '' },
        };
        letter(
          { entry: ref.entry + 1, stream: entry.type + 1, type, events: 1, holds: 0 },
          letterOfEvent(base, over, context),
        );
        died.add(ref.index);
        failed.push(attemptOf(base, over, null));
        continue;
      }
      parked++;
      grow(unit, 1);
      // Should its schema turn out to be unknown, its time is running: not one bound after the
      // other for a line of events.
      parkArgs.push(
        unitOf(unit),
        ref.entry + 1,
        '',
        encodeParked({ ...base, waitingSinceMs: own ? 0 : context.nowMs }),
      );
      continue;
    }
    const { record, delay } = after(base, failure, context);
    if (delay !== null) {
      parked++;
      if (typeof delay === 'number') {
        retried++;
        failed.push(attemptOf(record, failure, delay));
      }
      grow(unit, 1);
      parkArgs.push(unitOf(unit), ref.entry + 1, delay, encodeParked(record));
    } else {
      letter(
        { entry: ref.entry + 1, stream: entry.type + 1, type, events: 1, holds: holdOf(unit) },
        letterOfEvent(record, failure, context),
      );
      died.add(ref.index);
      failed.push(attemptOf(record, failure, null));
    }
  }
  for (const gone of result.deadEntries) {
    const entry = batch.entries[gone.entry] as StreamEntry;
    const type = batch.types[entry.type] as string;
    letter(
      { entry: gone.entry + 1, stream: entry.type + 1, type, events: entry.count, holds: 0 },
      letterOfEntry(entry, type, gone, context),
    );
    failed.push({
      eventId: '',
      type,
      subject: '',
      entry: entry.id,
      index: 0,
      attempt: 0,
      nextMs: null,
      reason: gone.reason,
      error: { name: 'CorruptDataError', message: gone.message, stack: '' },
    });
  }

  // retries: what was settled comes off the head of its list
  const retryArgs: Arg[] = [];
  /** Retried records that stay where they are. */
  const left = new Set<number>();
  let index = 0;
  for (const unit of batch.retries) {
    const settled: Arg[] = [];
    let taken = 0;
    let head: Buffer | '' = '';
    let delayArg: number | string = '';
    let waits = false;
    for (const bytes of unit.records) {
      const at = index++;
      const state = result.states[at];
      waits ||= state === CELL.BLOCKED || head !== '';
      if (waits) {
        left.add(at);
        continue;
      }
      const record = decodeParked(bytes);
      const open = unsettledOf.get(at);
      if (open) {
        waits = true;
        left.add(at);
        unsettled.set(
          at,
          open.isolate === record.isolate
            ? bytes
            : encodeParked({ ...record, isolate: open.isolate }),
        );
        if (unsettled.get(at) !== bytes) head = unsettled.get(at) as Buffer;
        delayArg = `wait:${Math.ceil(open.delayMs)}`;
        continue;
      }
      if (state === CELL.DONE || state === CELL.SKIP) {
        done++;
        taken++;
        settled.push(record.type, state === CELL.DONE ? 'done' : 'skipped');
        continue;
      }
      const failure = failureOf.get(at) as Failure;
      const { record: next, delay } = after(record, failure, context);
      if (delay !== null) {
        if (typeof delay === 'number') {
          retried++;
          failed.push(attemptOf(next, failure, delay));
        }
        head = encodeParked(next);
        delayArg = delay;
      } else {
        taken++;
        died.add(at);
        settled.push(record.type, 'dead');
        letter(
          {
            entry: 0,
            stream: batch.types.indexOf(record.type) + 1,
            type: record.type,
            events: 1,
            holds: holdOf(unit.unit),
          },
          letterOfEvent(next, failure, context),
        );
        failed.push(attemptOf(next, failure, null));
      }
    }
    grow(unit.unit, -taken);
    retryArgs.push(unitOf(unit.unit), taken, settled.length / 2, ...settled, head, delayArg);
  }

  const fn = spec.name;
  const consumer = context.consumer ?? OWNER;
  const inbox =
    result.ids && spec.dedupe
      ? inboxArgs(batch, result.states, result.ids, died, left, spec.dedupe)
      : [];
  const emitted = result.emitted ?? [];
  const emittedTypes = [...new Set(emitted.flatMap(({ types }) => types))];
  return {
    partition,
    keys: [
      keys.lease(partition, laneName(fn, consumer)),
      keys.counters(partition),
      keys.due(partition, fn),
      keys.dead(partition, fn),
      keys.held(partition, fn),
      ...batch.types.map((type) => keys.events(partition, type)),
      ...units.map((unit) => keys.parked(partition, fn, unit)),
      ...(result.effects.length > 0 ? batch.effectKeys : []),
      ...(emitted.length > 0
        ? [
            keys.clock(partition),
            keys.outbox(partition),
            keys.scheduled(partition),
            keys.scheduledEvents(partition),
          ]
        : []),
      ...emittedTypes.map((type) => keys.events(partition, type)),
      ...(inbox.length > 0
        ? [keys.settledIds(partition, fn, 0), keys.settledIds(partition, fn, 1)]
        : []),
    ],
    args: [
      context.leaseValue,
      context.leaseTtlMs,
      fn,
      context.turnId,
      batch.types.length,
      units.length,
      batch.entries.length,
      parked,
      deadCount,
      batch.retries.length,
      result.effects.length,
      emittedTypes.length,
      emitted.length,
      MAX_SCHEDULED,
      5 +
        batch.types.length +
        units.length +
        (result.effects.length > 0 ? batch.effectKeys.length : 0),
      spec.ordering === 'none' ? consumer : '',
      ...batch.types,
      ...units,
      ...emittedTypes,
      ...emitted.map(({ block }) => asBuffer(block)),
      ...entryArgs,
      ...parkArgs,
      ...deadArgs,
      ...retryArgs,
      ...(context.running === undefined ? [] : ['running', context.running]),
      ...inbox,
      ...result.effects.map(asBuffer),
    ],
    done,
    retried,
    dead,
    parked: growth,
    unsettled,
    left: leftUnits,
    failed,
  };
}

/**
 * By itself, because it is the only loop over all events: inside planCommit it had V8 compile the
 * whole of that again and again (0.3 s of a core each time), whenever a failure had shown it
 * something new.
 */
function checkOutcomes(
  batch: Batch,
  result: ResultOfRun,
  { spec, partition }: CommitContext,
): void {
  for (let i = 0; i < batch.events; i++) {
    const state = result.states[i];
    if (state === CELL.RUNNING && result.unsettled) continue;
    if (
      state !== CELL.DONE &&
      state !== CELL.FAILED &&
      state !== CELL.BLOCKED &&
      !(state === CELL.SKIP && result.ids)
    ) {
      throw new Error(
        `event ${i} of a batch of ${spec.name}/${partition} has no outcome (state ${String(state)}); nothing is committed`,
      );
    }
  }
}

/**
 * The events that this turn settles, by the entry they came in, and how many of it were skipped.
 */
function inboxArgs(
  batch: Batch,
  states: Uint8Array,
  ids: readonly string[],
  died: ReadonlySet<number>,
  left: ReadonlySet<number>,
  dedupe: NonNullable<FunctionSpec['dedupe']>,
): Arg[] {
  const groups: Arg[] = [];
  let count = 0;
  const group = (entry: number, from: number, to: number): void => {
    const settled: string[] = [];
    let skipped = 0;
    for (let i = from; i < to; i++) {
      if (states[i] === CELL.SKIP) skipped++;
      else if (ids[i] !== '' && !left.has(i) && (states[i] === CELL.DONE || died.has(i)))
        settled.push(ids[i] as string);
    }
    if (skipped === 0 && settled.length === 0) return;
    count++;
    // What was skipped of the retries is told with them.
    groups.push(entry, entry === 0 ? 0 : skipped, settled.length, ...settled);
  };
  group(0, 0, batch.retryEvents);
  batch.entries.forEach((entry, at) =>
    group(at + 1, batch.firsts[at] as number, (batch.firsts[at] as number) + entry.count),
  );
  return count > 0 ? ['inbox', dedupe.windowMs, dedupe.maxIds, count, ...groups] : [];
}

/**
 * @param setKeyAside called for a unit whose parked list is none, since somebody else has written
 *   its key
 * @throws UnknownOutcomeError, RedisReplyError, ScheduleFullError: send the same plan again
 */
export async function sendCommit(
  connection: RedisConnection,
  plan: CommitPlan,
  setKeyAside?: (unit: string) => Promise<void>,
): Promise<CommitReply> {
  const reply = (await script.run(connection, plan.keys, plan.args)) as [
    string,
    string,
    string,
    string[],
    string[],
    '' | [number, number],
    string[],
  ];
  if (reply[0] === 'stale' || reply[0] === 'back') return { kind: reply[0] };
  if (reply[0] === 'foreign') {
    if (!setKeyAside)
      throw new RedisReplyError(
        'commit.lua',
        `WRONGTYPE the key of the parked list of ${JSON.stringify(reply[1])} is no list`,
      );
    await setKeyAside(reply[1]);
    return sendCommit(connection, plan, setKeyAside);
  }
  if (reply[0] === 'refused') return { kind: 'refused', missing: reply[1] as unknown as string[] };
  if (reply[0] === 'full') throw new ScheduleFullError(plan.partition, MAX_SCHEDULED);
  if (reply[0] === 'exhausted') {
    throw new RedisReplyError(
      'commit',
      `stream ${reply[1]}, to which events were emitted, has an entry with so large an id that nothing can be appended behind it; delete that entry's stream`,
    );
  }
  if (reply[0] === 'repeat') {
    return {
      kind: 'ok',
      repeated: true,
      nextDueMs: reply[1] === '' ? null : Number(reply[1]),
      missing: [],
      emptied: [],
      outbox: null,
      noIndexes: [],
    };
  }
  const outbox = reply[5] === '' ? null : { entries: reply[5][0], bytes: reply[5][1] };
  return {
    kind: 'ok',
    repeated: false,
    nextDueMs: reply[2] === '' ? null : Number(reply[2]),
    missing: reply[3],
    emptied: reply[4],
    outbox,
    noIndexes: reply[6],
  };
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Its record from now on, and when it is to run again: ms, `wait:ms` where this was no attempt,
 * null: never.
 */
function after(
  record: ParkedRecord,
  failure: Failure,
  context: CommitContext,
): { record: ParkedRecord; delay: number | string | null } {
  if (!failure.waits) {
    const failed = failedOnce(record, failure, context.nowMs);
    return {
      record: failed,
      delay: failure.retryable ? nextDelayMs(context.spec.retry, failed.attempts) : null,
    };
  }
  const waitingSinceMs = record.waitingSinceMs || context.nowMs;
  const waitedMs = context.nowMs - waitingSinceMs;
  if (waitedMs >= context.schemaWaitMs) {
    return {
      record: {
        ...record,
        firstFailedMs: record.firstFailedMs || waitingSinceMs,
        lastFailedMs: context.nowMs,
      },
      delay: null,
    };
  }
  // Looked at ever less often, and once more when its time is over.
  const delay = Math.min(
    Math.max(SCHEMA_LOOK_MS.min, Math.min(SCHEMA_LOOK_MS.max, waitedMs / 4)),
    context.schemaWaitMs - waitedMs,
  );
  return { record: { ...record, waitingSinceMs }, delay: `wait:${Math.ceil(delay)}` };
}

function attemptOf(record: ParkedRecord, failure: Failure, nextMs: number | null): FailedAttempt {
  return {
    eventId: record.eventId,
    type: record.type,
    subject: record.subject,
    entry: record.entryId,
    index: record.index,
    attempt: record.attempts,
    nextMs,
    reason: failure.reason,
    error: failure.error,
  };
}

function failedOnce(record: ParkedRecord, failure: Failure, nowMs: number): ParkedRecord {
  const attempts = record.attempts + 1;
  return {
    ...record,
    attempts,
    firstFailedMs: record.firstFailedMs || nowMs,
    lastFailedMs: nowMs,
    waitingSinceMs: 0,
    isolate: failure.isolate === true,
    history: [
      ...record.history,
      {
        atMs: nowMs,
        attempt: attempts,
        name: failure.error.name,
        message: cut(failure.error.message, 500),
        cause: cut(failure.error.cause ?? '', 500),
      },
    ].slice(-HISTORY),
  };
}

function letterOfEvent(record: ParkedRecord, failure: Failure, context: CommitContext): Arg[] {
  return [
    'event',
    Buffer.from(record.event),
    'kind',
    'event',
    'type',
    record.type,
    'partition',
    context.partition,
    'entry',
    record.entryId,
    'index',
    record.index,
    'position',
    record.position,
    'id',
    record.eventId,
    'subject',
    record.subject,
    'reason',
    failure.reason,
    'name',
    failure.error.name,
    'message',
    failure.error.message,
    'stack',
    failure.error.stack,
    ...(failure.error.cause ? ['cause', failure.error.cause] : []),
    'attempts',
    record.attempts,
    'first',
    record.firstFailedMs,
    'last',
    record.lastFailedMs,
    ...(record.batchSource?.length ? ['source', Buffer.from(record.batchSource)] : []),
    'dispatcher',
    context.dispatcher,
    'version',
    context.version,
    'events',
    1,
    'history',
    JSON.stringify(
      record.history.map((h) => ({
        at: h.atMs,
        attempt: h.attempt,
        name: h.name,
        message: h.message,
        ...(h.cause ? { cause: h.cause } : {}),
      })),
    ),
  ];
}

function letterOfEntry(
  entry: StreamEntry,
  type: string,
  gone: DeadEntry,
  context: CommitContext,
): Arg[] {
  return [
    'event',
    entry.bytes,
    'kind',
    'entry',
    'type',
    type,
    'partition',
    context.partition,
    'entry',
    entry.id,
    'index',
    0,
    'position',
    0,
    'id',
    '',
    'subject',
    '',
    'reason',
    gone.reason,
    'name',
    'CorruptDataError',
    'message',
    gone.message,
    'stack',
    '',
    'attempts',
    1,
    'first',
    context.nowMs,
    'last',
    context.nowMs,
    'dispatcher',
    context.dispatcher,
    'version',
    context.version,
    'events',
    entry.count,
    'history',
    '[]',
  ];
}
