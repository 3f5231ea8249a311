/**
 * Follows an event to its causes and to its effects, over functions and partitions. Emitted events
 * name their cause and their correlation, and no event knows the place of another one. So the
 * streams are scanned: back from the event for its causes, and forward from it for its effects.
 */
import { monotonicMs } from '../core/clock.ts';
import { CAUSATION } from '../core/emitted.ts';
import { knownTypes, readPartitions, type PartitionState } from '../redis/counters.ts';
import { serverTime } from '../redis/server-time.ts';
import { buildNodes, lastAppendOf } from './build-tree.ts';
import {
  correlatedAt,
  correlationOf,
  scanCorrelated,
  type Correlated,
  type Scanned,
  type ScanParts,
} from './correlated-scan.ts';
import type { EventTree, TracedEvent } from './event-tree.ts';
import { EventNotFoundError, FindOptionError } from './find-errors.ts';
import type { FoundEvent } from './found-event.ts';
import { lookUpEvents } from './look-up-events.ts';
import { PendingEffects, type CauseOfEffects } from './pending-effects.ts';
import { RedisShare } from './redis-share.ts';
import type { FindSource } from './search-events.ts';

export type TraceWhere = { readonly eventId: string } | { readonly position: string };

export interface TraceOptions {
  /** Most events to search in each direction. Default 200,000. */
  readonly maxEvents?: number;
  /** Longest time of the search, ms. Default 20,000. */
  readonly maxMs?: number;
  /** Most events of the tree. Default 200. */
  readonly most?: number;
  /** Most states of events and functions to ask for. Default 64. */
  readonly states?: number;
  /** Largest share of Redis' time, above 0, at most 1. Default 0.25. */
  readonly share?: number;
  readonly signal?: AbortSignal;
}

const DEFAULTS = { maxEvents: 200_000, maxMs: 20_000, most: 200, states: 64, share: 0.25 };
/** Longest time of a timer of Node, ms. */
const LONGEST_TIMER = 2_147_483_647;
/** Events of one correlation that are kept while their causes are not known. */
const KEPT = 1000;

/**
 * @throws EventNotFoundError, FindOptionError, InvalidTextError, UnknownOutcomeError,
 *   RedisReplyError
 */
export async function traceEvent(
  source: FindSource,
  where: TraceWhere,
  options: TraceOptions = {},
): Promise<EventTree> {
  const limits = { ...DEFAULTS, ...options };
  checkLimits(limits);
  const untilMs = monotonicMs() + limits.maxMs;
  const event = await findTraced(source, where, limits);
  const states = await readPartitions(source);
  const share = new RedisShare(limits.share, { signal: options.signal, untilMs });
  const parts: ScanParts = {
    source,
    streams: states.flatMap(({ partition }) =>
      [...knownTypes(states)].map((type) => ({ partition, type })),
    ),
    share,
    signal: options.signal,
    maxEvents: limits.maxEvents,
    untilMs,
  };
  const notes: string[] = [];
  const climb = await causesOf(event, parts, notes);
  const descent = await effectsOf(event, parts, limits.most, notes);
  const pending = new PendingEffects(source, causesIn(descent, states), share);
  await pending.find();
  notes.push(...pending.notes);
  for (const waiting of pending.found) descent.wait(waiting);
  const nowMs = await serverTime(source);
  const { root, events } = await buildNodes(
    { source, nowMs, left: limits.states, missed: 0 },
    { root: descent.root, effects: descent.effects, partitions: states },
    notes,
  );
  return {
    causes: climb.causes,
    complete: climb.complete,
    root,
    events,
    totalMs: totalOf(climb.causes[0] ?? root.event, lastAppendOf(root)),
    searched: { back: climb.searched, forward: descent.searched },
    commands: share.commands,
    redisMs: share.waitedMs,
    notes,
  };
}

/** @throws FindOptionError */
function checkLimits(limits: Required<Omit<TraceOptions, 'signal'>>): void {
  for (const name of ['maxEvents', 'maxMs', 'most', 'states'] as const)
    if (!(Number.isSafeInteger(limits[name]) && limits[name] >= 1))
      throw new FindOptionError(name, `it must be a whole number from 1, it is ${limits[name]}`);
  const { share } = limits;
  if (!(share > 0 && share <= 1))
    throw new FindOptionError('share', `it must be above 0, and at most 1, it is ${share}`);
}

/** @throws EventNotFoundError, FindOptionError, InvalidTextError */
async function findTraced(
  source: FindSource,
  where: TraceWhere,
  { maxEvents, maxMs, signal }: Pick<TraceOptions, 'signal'> & typeof DEFAULTS,
): Promise<FoundEvent> {
  const { events, searched, complete } = await lookUpEvents(source, where, {
    scan: maxEvents,
    limit: 1,
    signal: AbortSignal.any([
      AbortSignal.timeout(Math.min(maxMs, LONGEST_TIMER)),
      ...(signal ? [signal] : []),
    ]),
  });
  const inStream = events.find((event) => event.inStream);
  if (inStream) return inStream;
  const what = 'position' in where ? `the event at ${where.position}` : `event ${where.eventId}`;
  if (events.length > 0)
    throw new EventNotFoundError(what, 'Its entry has left its stream, so its cause is not known');
  throw new EventNotFoundError(
    what,
    'position' in where
      ? 'Retention may have trimmed it'
      : `${searched} events were searched${complete ? ', which are all' : ', the newest ones: give the position of an older event'}`,
  );
}

// ---------------------------------------------------------------- causes

interface Climb {
  /** The first cause first. */
  readonly causes: readonly TracedEvent[];
  readonly complete: boolean;
  readonly searched: number;
}

/** Scans back for the causes, until the first one is found. */
async function causesOf(event: FoundEvent, parts: ScanParts, notes: string[]): Promise<Climb> {
  const causes: TracedEvent[] = [];
  let wanted = event.extensions[CAUSATION.cause] || null;
  if (wanted === null) return { causes, complete: true, searched: 0 };
  const seen = new Map<string, TracedEvent>();
  const scanned = await scanCorrelated(
    parts,
    { correlation: correlationOf(event), fromMs: event.appendedMs, order: 'newest' },
    (found) => {
      for (const { traced } of found)
        if (!seen.has(traced.id) && (traced.id === wanted || seen.size < KEPT))
          seen.set(traced.id, traced);
      for (let cause = take(seen, wanted); cause; cause = take(seen, wanted)) {
        causes.unshift(cause);
        wanted = cause.cause;
      }
      return wanted === null;
    },
  );
  if (wanted !== null) notes.push(`The cause ${wanted} was not found: ${endOf(scanned, parts)}`);
  return { causes, complete: wanted === null, searched: scanned.events };
}

/** Takes an event out, so that a circle of causes has an end. */
function take(seen: Map<string, TracedEvent>, id: string | null): TracedEvent | undefined {
  if (id === null) return undefined;
  const found = seen.get(id);
  seen.delete(id);
  return found;
}

/** Tells the end of a scan, as a clause. */
function endOf({ events, end, reachedMs }: Scanned, { maxEvents }: ScanParts): string {
  const reached = reachedMs === null ? '' : `, up to ${timeText(reachedMs)}`;
  switch (end) {
    case 'all':
      return `all ${events} retained events in that direction were searched`;
    case 'events':
      return `the limit of ${maxEvents} events was reached${reached}`;
    case 'time':
      return `the time limit was reached after ${events} events${reached}`;
    case 'aborted':
      return `the search was ended after ${events} events${reached}`;
    case 'asked':
      return `the limit of the tree was reached after ${events} events${reached}`;
  }
}

/** The id of a foreign entry may hold any number. */
function timeText(ms: number): string {
  return ms <= 8.64e15 ? new Date(ms).toISOString() : String(ms);
}

// ---------------------------------------------------------------- effects

/** The effects of an event that were found so far. */
export class Descent {
  searched = 0;
  readonly root: Correlated;
  /** Events of the tree by id. */
  readonly known = new Map<string, Correlated>();
  /** Effects by the id of the cause, in the order of their entries. */
  readonly effects = new Map<string, (Correlated | TracedEvent)[]>();
  /** Number of effects. */
  size = 0;
  readonly #most: number;
  /** Effects whose cause is not known yet, by the id of the cause. */
  readonly #orphans = new Map<string, Correlated[]>();
  #kept = 0;

  /** @param most most effects */
  constructor(root: Correlated, most: number) {
    this.root = root;
    this.#most = most;
    this.known.set(root.traced.id, root);
  }

  get full(): boolean {
    return this.size >= this.#most;
  }

  add(effect: Correlated): void {
    const { cause } = effect.traced;
    if (cause === null) return;
    if (!this.known.has(cause)) {
      // Clocks of a Cluster's masters differ: the cause may come later.
      if (this.#kept++ < KEPT) append(this.#orphans, cause, effect);
      return;
    }
    const adopted = [effect];
    for (let one = adopted.shift(); one && !this.full; one = adopted.shift()) {
      append(this.effects, one.traced.cause as string, one);
      this.size++;
      if (this.known.has(one.traced.id)) continue;
      this.known.set(one.traced.id, one);
      adopted.push(...(this.#orphans.get(one.traced.id) ?? []));
      this.#orphans.delete(one.traced.id);
    }
  }

  /** Adds an effect that is in no stream yet, unless it has been appended meanwhile. */
  wait(effect: TracedEvent): void {
    if (effect.cause === null || this.known.has(effect.id) || this.full) return;
    const before = this.effects.get(effect.cause) ?? [];
    if (before.some((one) => 'waits' in one && one.id === effect.id)) return;
    append(this.effects, effect.cause, effect);
    this.size++;
  }
}

function append<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

/** Scans forward for the effects, up to the present or a limit. */
async function effectsOf(
  event: FoundEvent,
  parts: ScanParts,
  most: number,
  notes: string[],
): Promise<Descent> {
  const descent = new Descent(correlatedAt(event, event), most);
  const scanned = await scanCorrelated(
    parts,
    { correlation: correlationOf(event), fromMs: event.appendedMs, order: 'oldest' },
    (found) => {
      for (const effect of found) descent.add(effect);
      return descent.full;
    },
  );
  descent.searched = scanned.events;
  if (scanned.end !== 'all') notes.push(`Later effects may be missing: ${endOf(scanned, parts)}`);
  return descent;
}

/** Returns the events of the tree, each with the functions that read it. */
function causesIn(
  { known }: Descent,
  states: readonly PartitionState[],
): Map<string, CauseOfEffects> {
  const causes = new Map<string, CauseOfEffects>();
  for (const [id, { traced, place }] of known) {
    const functions = states.find(({ partition }) => partition === traced.partition)?.functions;
    causes.set(id, {
      event: traced,
      functions: (functions ?? []).filter(({ types }) => types.includes(place.type)),
    });
  }
  return causes;
}

function totalOf(first: TracedEvent, lastMs: number | null): number | null {
  const from = first.publishedMs ?? first.appendedMs;
  return from === null || lastMs === null ? null : lastMs - from;
}
