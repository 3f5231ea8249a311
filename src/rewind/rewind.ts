/**
 * Sets a function back or forward: all events from the target on are delivered to it, again or for
 * the first time. Parked events and dead letters stay. Those behind the target are delivered once
 * more.
 */
import { DEADLINE_MS, withRetry } from '../redis/retry.ts';
import { MillraceError } from '../core/errors/millrace-error.ts';
import { laneName } from '../core/function-spec.ts';
import { compareEntryIds } from '../core/position.ts';
import { END_OF_TIME_MS, formatRfc3339, parseTimeArgument } from '../core/rfc3339.ts';
import { parseGeneration } from '../core/view-spec.ts';
import type { RedisSource, RedisSpace } from '../redis/source.ts';
import { adoptForeign } from '../lag/adopt.ts';
import { counterFields, readPartitions, requireFunction } from '../redis/counters.ts';
import { defineScript } from '../redis/script.ts';
import { ENTRIES } from '../redis/lua/shared.ts';
import { countEntry } from '../wire/count-entry.ts';

const script = defineScript({
  with: ENTRIES,
  url: new URL('./rewind.lua', import.meta.url),
  keys: 'variable',
});

export type RewindTarget =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  /** Entries appended at this time or later: ms since 1970 by the server's clock. */
  | { readonly kind: 'time'; readonly ms: number }
  /** This entry and later ones, of one partition; null: of all. */
  | { readonly kind: 'entry'; readonly partition: number | null; readonly entryId: string };

export interface RewoundPartition {
  readonly partition: number;
  readonly types: readonly {
    readonly type: string;
    /** Entry id behind which the function goes on. */ readonly after: string;
    /** Events that will be delivered. */ readonly events: number;
  }[];
}

export interface RewindReport {
  readonly function: string;
  readonly partitions: readonly RewoundPartition[];
  /** Events that will be delivered, among those appended until now. */
  readonly events: number;
}

/**
 * The target is none of start, end, a time, a position or an entry id; or it lies outside the
 * deployment.
 */
export class RewindTargetError extends MillraceError {
  readonly code = 'REWIND_TARGET';
  constructor(text: string, problem: string) {
    super(
      `cannot rewind to ${JSON.stringify(text.slice(0, 200))}: ${problem}. Targets: start, end, a time (2026-01-31T12:00:00Z, or ms since 1970), ` +
        'an entry id (1795450694309-0), a position (3/1795450694309-0/17)',
    );
  }
}

/**
 * The function must not see old events again: its file says so, or it is a view. Nothing was
 * changed.
 */
export class NotReplaySafeError extends MillraceError {
  readonly code = 'NOT_REPLAY_SAFE';
  readonly functionName: string;
  constructor(fn: string) {
    const view = parseGeneration(fn);
    super(
      view
        ? `"${fn}" is a version of a view: its rows would not be folded anew. Raise its version and build that: millrace view rebuild ${view.view}`
        : `function "${fn}" says that it must not see events again (replaySafe: false). --force rewinds it all the same`,
    );
    this.functionName = fn;
  }
}

const MAX_SEQUENCE = 18_446_744_073_709_551_615n;
const PAGE = 64;
/**
 * Attempts while a foreign producer appends all the time. Behind them its latest entries are left
 * uncounted for now.
 */
const TRIES = 20;

/** @throws RewindTargetError */
export function parseRewindTarget(text: string): RewindTarget {
  if (text === 'start' || text === 'end') return { kind: text };
  const place = /^(?:(\d{1,4})\/)?(\d{1,20}-\d{1,20})(?:\/\d{1,9})?$/.exec(text);
  if (place) {
    const [ms = '0', seq = '0'] = (place[2] as string).split('-');
    if (BigInt(ms) > MAX_SEQUENCE || BigInt(seq) > MAX_SEQUENCE)
      throw new RewindTargetError(text, 'ids of entries end at 2^64 - 1');
    if (place[1] === undefined && text.includes('/'))
      throw new RewindTargetError(text, 'a position begins with its partition');
    // Redis writes ids without leading zeros, and they are compared in that form.
    return {
      kind: 'entry',
      partition: place[1] === undefined ? null : Number(place[1]),
      entryId: `${BigInt(ms)}-${BigInt(seq)}`,
    };
  }
  if (/^\d{1,16}$/.test(text)) {
    const ms = Number(text);
    if (ms >= FIRST_MS && ms < END_OF_TIME_MS) return { kind: 'time', ms };
    throw new RewindTargetError(
      text,
      isSeconds(ms)
        ? `as ms since 1970 it is ${formatRfc3339({ ms, nanos: 0 })}; did you mean ${ms}000`
        : 'as ms since 1970 it is before 2000 or after 9999',
    );
  }
  const moment = parseTimeArgument(text);
  if (moment === null) throw new RewindTargetError(text, timeProblem(text));
  if (moment.ms < 0) throw new RewindTargetError(text, 'there is no such time since 1970');
  // Entry ids have whole milliseconds: an entry of the same millisecond is at the moment or behind
  // it.
  return { kind: 'time', ms: moment.ms };
}

/**
 * 2000-01-01, ms since 1970. Streams are younger, and a smaller number is most likely in seconds.
 */
const FIRST_MS = 946_684_800_000;

/** Whether the number is a time from 2000 on when it counts seconds. */
const isSeconds = (value: number): boolean =>
  value * 1000 >= FIRST_MS && value * 1000 < END_OF_TIME_MS;

function timeProblem(text: string): string {
  if (/^\d{4}-\d\d-\d\d[Tt ][\d:.]+$/.test(text))
    return 'the time has no zone; add Z or an offset such as +01:00';
  if (/^\d{4}-\d\d-\d\d/.test(text)) return 'it is no time that RFC 3339 knows';
  return 'it is none of the targets';
}

/** Returns the largest id below this one. */
export function idBefore(entryId: string): string {
  const [ms = '0', seq = '0'] = entryId.split('-');
  if (BigInt(seq) > 0n) return `${ms}-${BigInt(seq) - 1n}`;
  return BigInt(ms) > 0n ? `${BigInt(ms) - 1n}-${MAX_SEQUENCE}` : '0-0';
}

/**
 * Rewinds the function partition by partition, each in one step. After a failure a repeated call
 * does the same again.
 * @param force rewind also a function that must not see old events again (no view)
 * @throws NotReplaySafeError, UnknownFunctionError, RewindTargetError (partition),
 *   UnknownOutcomeError, RedisReplyError
 */
export async function rewindFunction(
  deployment: RedisSource,
  fn: string,
  target: RewindTarget,
  force = false,
): Promise<RewindReport> {
  const { connection, keys, partitions } = deployment;
  if (target.kind === 'entry' && target.partition !== null && target.partition >= partitions) {
    throw new RewindTargetError(
      `${target.partition}/${target.entryId}`,
      `this deployment has the partitions 0 to ${partitions - 1}`,
    );
  }
  const states = await readPartitions(deployment);
  requireFunction(states, fn);
  const unsafe = states.some(({ counters }) => counters.has(counterFields.replay(fn)));
  if (parseGeneration(fn) !== null || (unsafe && !force && target.kind !== 'end'))
    throw new NotReplaySafeError(fn);
  const place = placeOf(target);
  const rewound: RewoundPartition[] = [];
  for (const state of states) {
    if (
      target.kind === 'entry' &&
      target.partition !== null &&
      target.partition !== state.partition
    )
      continue;
    const types = state.functions.find((f) => f.name === fn)?.types ?? [];
    if (types.length === 0) continue;
    const done = await rewindPartition({ connection, keys }, fn, state.partition, {
      places: types.map((type) => ({ type, after: place })),
      recounts: false,
    });
    if (done) rewound.push(done);
  }
  return {
    function: fn,
    partitions: rewound,
    events: rewound.reduce((sum, p) => sum + p.types.reduce((inner, t) => inner + t.events, 0), 0),
  };
}

/**
 * Counts again for a function with ordering 'none', whose groups of these types were lost and made
 * again. The groups go on at an earlier place. Events settled behind that place are delivered once
 * more, and must not count twice.
 * @throws UnknownOutcomeError, RedisReplyError; the next start asks for it again then
 */
export async function recount(
  deployment: RedisSource,
  fn: string,
  partition: number,
  types: readonly string[],
): Promise<void> {
  const { connection, keys } = deployment;
  const places: Place[] = [];
  for (const type of types) {
    const field = counterFields.at(fn, type);
    const at = (await connection.command('HGET', keys.counters(partition), field)) as string | null;
    places.push({ type, after: at ?? '0-0' });
  }
  await rewindPartition(deployment, fn, partition, { places, recounts: true });
}

function placeOf(target: RewindTarget): string {
  if (target.kind === 'start') return '0-0';
  if (target.kind === 'end') return '$';
  return idBefore(target.kind === 'time' ? `${target.ms}-0` : target.entryId);
}

interface Place {
  readonly type: string;
  /** Entry id behind which the function goes on; '$': behind the last one. */
  readonly after: string;
}

interface Rewind {
  readonly places: readonly Place[];
  /** Whether this is a recount: nobody has asked for the second delivery. See rewind.lua. */
  readonly recounts: boolean;
}

/** Rewinds one partition. Null: the function is not registered there. */
async function rewindPartition(
  source: RedisSpace,
  fn: string,
  partition: number,
  { places, recounts }: Rewind,
): Promise<RewoundPartition | null> {
  const { connection, keys } = source;
  for (let attempt = 1; ; attempt++) {
    const args: (string | number)[] = [];
    for (const { type, after } of places) {
      await adoptForeign(connection, keys, partition, type);
      const exact =
        ((await connection.command('HGET', keys.counters(partition), counterFields.exact(type))) as
          string | null) ?? '0-0';
      const counted = after === '$' ? 0 : await countBetween(source, partition, type, after, exact);
      args.push(type, after, exact, counted);
    }
    const helpers = (await connection.command('SMEMBERS', keys.helpers(partition, fn))) as string[];
    const reply = (await withRetry(
      () =>
        script.run(
          connection,
          [
            keys.lease(partition, fn),
            keys.counters(partition),
            keys.settledIds(partition, fn, 0),
            keys.settledIds(partition, fn, 1),
            ...places.map(({ type }) => keys.events(partition, type)),
            ...helpers.map((helper) => keys.lease(partition, laneName(fn, helper))),
          ],
          [fn, attempt >= TRIES ? '1' : '0', recounts ? '1' : '0', ...args],
        ),
      { deadlineMs: DEADLINE_MS },
    )) as string[];
    if (reply[0] === 'unknown') return null;
    if (reply[0] === 'ok') {
      return {
        partition,
        types: places.map(({ type }, i) => ({
          type,
          after: reply[1 + 2 * i] as string,
          events: Number(reply[2 + 2 * i]),
        })),
      };
    }
  }
}

/**
 * Counts the events of the entries behind `after`, up to and including `upTo`. Used where ordinals
 * are not reliable (foreign producers).
 */
async function countBetween(
  source: RedisSpace,
  partition: number,
  type: string,
  after: string,
  upTo: string,
): Promise<number> {
  if (compareEntryIds(after, upTo) >= 0) return 0;
  let events = 0;
  let cursor = after;
  for (;;) {
    const page = (await source.connection.commandBuffer(
      'XRANGE',
      source.keys.events(partition, type),
      `(${cursor}`,
      upTo,
      'COUNT',
      PAGE,
    )) as [Buffer, Buffer[]][];
    for (const [id, fields] of page) {
      events += countEntry(fields);
      cursor = id.toString('latin1');
    }
    if (page.length < PAGE) return events;
  }
}
