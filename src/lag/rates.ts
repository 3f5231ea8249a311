/**
 * The arithmetic of rates: arrival, service, time to drain, time until a limit is reached, change
 * within a window. Pure. `millrace lag --rates`, `millrace top`, metrics and alerts take their
 * rates from here, each over its own looks.
 */
import type { FunctionLag, LagReport } from './lag.ts';
import type { LagCounts, TypeLag } from './lag-counts.ts';

/** Rates over the time between two readings. */
export interface Rate {
  /** Time between the readings, by the server's clock, ms. */
  readonly windowMs: number;
  /** Events appended for the function, per second. */
  readonly arrivalPerSecond: number;
  /** Events that have ended as done or dead, per second. */
  readonly servicePerSecond: number;
  /**
   * Time until no event waits any more at these rates, ms. Held events do not count. Null: more
   * events arrive than are settled.
   */
  readonly drainMs: number | null;
}

/**
 * Distance of a function from the backlog limit of a type (`millrace limits --max-backlog`). Each
 * partition has an even part of the limit. This is the partition that reaches its part first, or
 * that is the fullest.
 */
export interface BacklogForecast {
  readonly type: string;
  readonly partition: number;
  /** Events that the function is behind there: those of the states lag and pending. */
  readonly events: number;
  /** Part of the limit that the partition has. */
  readonly limit: number;
  /** Time until the part is reached, ms; 0: it is. Null: not at this rate. */
  readonly reachedInMs: number | null;
}

export interface PartitionRate extends Rate {
  readonly partition: number;
  /** Absent: the type has no limit, or the deployment does not have the partition. */
  readonly backlogLimit?: BacklogForecast;
}

export interface TypeRate extends Rate {
  readonly type: string;
  readonly partitions: readonly PartitionRate[];
  /** Absent: the type has no limit. */
  readonly backlogLimit?: BacklogForecast;
}

export interface FunctionRate extends Rate {
  readonly types: readonly TypeRate[];
  /** The limit of its types that is reached first. Absent: no type has one. */
  readonly backlogLimit?: BacklogForecast;
}

export interface RatedFunction extends FunctionLag {
  /** Null: there are no two readings yet since the function began, or was rewound. */
  readonly rate: FunctionRate | null;
}

export interface RatedLag extends LagReport {
  readonly functions: readonly RatedFunction[];
}

/** Backlog limits of the types, and the partitions that share them. */
export interface BacklogLimitsOf {
  readonly partitions: number;
  readonly maxBacklogs: ReadonlyMap<string, number>;
}

/**
 * Adds the rates to the last reading. They count from the first reading that the function has in
 * common with the last one, without a rewind between them.
 * @param readings oldest first, at least one
 */
export function rateLag(readings: readonly LagReport[], limits: BacklogLimitsOf): RatedLag {
  const last = readings.at(-1) as LagReport;
  return {
    ...last,
    functions: last.functions.map((fn) => ({ ...fn, rate: rateOf(fn, readings, limits) })),
  };
}

function rateOf(
  fn: FunctionLag,
  readings: readonly LagReport[],
  limits: BacklogLimitsOf,
): FunctionRate | null {
  const last = readings.at(-1) as LagReport;
  let [later, from] = [fn, last];
  for (const reading of readings.slice(0, -1).reverse()) {
    const earlier = reading.functions.find(({ name }) => name === fn.name);
    // After a failover the clock may be another server's.
    if (!earlier || (reading.nowMs ?? 0) > (from.nowMs ?? 0) || !goesOn(earlier, later)) break;
    [later, from] = [earlier, reading];
  }
  const windowMs = (last.nowMs ?? 0) - (from.nowMs ?? 0);
  if (windowMs <= 0) return null;
  const types = [...new Set(fn.types.map((row) => row.type))].map((type) => {
    const of = ({ types }: FunctionLag): TypeLag[] => types.filter((row) => row.type === type);
    const max = limits.maxBacklogs.get(type);
    const limit = max === undefined ? null : { max, partitions: limits.partitions };
    return typeRate(type, { before: of(later), after: of(fn), windowMs }, limit);
  });
  return { ...between(later.types, fn.types, windowMs), types, ...soonestOf(types) };
}

/** The rows of a type at two looks, and the time between them. */
interface TypeLooks {
  readonly before: readonly TypeLag[];
  readonly after: readonly TypeLag[];
  readonly windowMs: number;
}

function typeRate(
  type: string,
  { before, after, windowMs }: TypeLooks,
  limit: SharedLimit | null,
): TypeRate {
  const partitions = after.map((row, i): PartitionRate => {
    const earlier = before[i] as TypeLag;
    const backlogLimit = limit && forecast(earlier, row, limit, windowMs);
    return {
      partition: row.partition,
      ...between([earlier], [row], windowMs),
      ...(backlogLimit && { backlogLimit }),
    };
  });
  return { type, ...between(before, after, windowMs), partitions, ...soonestOf(partitions) };
}

/** The counters that rates are made of. */
type Counters = Pick<LagCounts, 'appended' | 'done' | 'dead'>;

/** Counters of a function, and of its types and partitions. */
export interface CountedFunction extends Counters {
  readonly types: readonly (Counters & Pick<TypeLag, 'type' | 'partition'>)[];
}

/**
 * Whether a function's counts go on from those of an earlier look. A rewind, a removal and a flush
 * of the server set counts anew, and a new type begins with its own.
 */
export function goesOn(earlier: CountedFunction, later: CountedFunction): boolean {
  return (
    isLater(earlier, later) &&
    earlier.types.length === later.types.length &&
    later.types.every((row, i) => {
      const before = earlier.types[i];
      return (
        before !== undefined &&
        before.type === row.type &&
        before.partition === row.partition &&
        isLater(before, row)
      );
    })
  );
}

/** A replay takes its event off the dead ones: they may become fewer. */
function isLater(before: Counters, after: Counters): boolean {
  return before.appended <= after.appended && before.done <= after.done;
}

/** Events that have come and gone between two looks. */
export interface Flow {
  /** Events. */
  readonly arrived: number;
  /** Events; below zero where more dead letters were replayed than events have ended. */
  readonly settled: number;
  readonly arrivalPerSecond: number;
  readonly servicePerSecond: number;
}

/**
 * @param before counters that `after` goes on from: see goesOn()
 * @param overMs time between the two looks, above 0, ms
 */
export function flowBetween(
  before: readonly Counters[],
  after: readonly Counters[],
  overMs: number,
): Flow {
  const grown = (of: (row: Counters) => number): number => sumOver(after, of) - sumOver(before, of);
  const arrived = grown((row) => row.appended);
  const settled = grown((row) => row.done + row.dead);
  return {
    arrived,
    settled,
    arrivalPerSecond: (1000 * arrived) / overMs,
    servicePerSecond: (1000 * Math.max(0, settled)) / overMs,
  };
}

function sumOver<T>(rows: readonly T[], of: (row: T) => number): number {
  return rows.reduce((total, row) => total + of(row), 0);
}

function between(before: readonly TypeLag[], after: readonly TypeLag[], windowMs: number): Rate {
  const { arrived, settled, arrivalPerSecond, servicePerSecond } = flowBetween(
    before,
    after,
    windowMs,
  );
  const waiting = sumOver(
    after,
    ({ lag, pending, states }) => lag + pending + states.parked.events,
  );
  const drainMs = timeUntil(waiting, settled - arrived, windowMs);
  return { windowMs, arrivalPerSecond, servicePerSecond, drainMs: rounded(drainMs) };
}

/**
 * Returns the time until something is used up or full, ms; 0: it is.
 * @param left rest, in any unit
 * @param used part of it that was used within `overMs`
 * @returns null: never at this rate
 */
export function timeUntil(left: number, used: number, overMs: number): number | null {
  if (left <= 0) return 0;
  return used > 0 ? (left * overMs) / used : null;
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

/** A limit that a type has over all partitions, events. */
export interface SharedLimit {
  readonly max: number;
  readonly partitions: number;
}

/** Returns the part of a limit that each partition has, events. */
export function partOf({ max, partitions }: SharedLimit): number {
  return Math.ceil(max / partitions);
}

/**
 * Returns the used part of a backlog limit, in the partition with the largest one.
 * @param rows those of a function and type
 * @returns null: there is no partition that the deployment has
 */
export function backlogRatio(rows: readonly TypeLag[], limit: SharedLimit): number | null {
  const ratios = rows
    .filter((row) => isServed(row, limit))
    .map((row) => behind(row) / partOf(limit));
  return ratios.length === 0 ? null : Math.max(...ratios);
}

/** Nobody publishes to partitions that the deployment does not have. */
function isServed({ partition }: TypeLag, { partitions }: SharedLimit): boolean {
  return partition < partitions;
}

/** Events that count for a backlog limit. */
function behind({ lag, pending }: TypeLag): number {
  return lag + pending;
}

/** @returns null: the deployment does not have the partition */
function forecast(
  before: TypeLag,
  after: TypeLag,
  shared: SharedLimit,
  windowMs: number,
): BacklogForecast | null {
  if (!isServed(after, shared)) return null;
  const limit = partOf(shared);
  const { type, partition } = after;
  const events = behind(after);
  const grown = events - behind(before);
  const reachedInMs = rounded(timeUntil(limit - events, grown, windowMs));
  return { type, partition, events, limit, reachedInMs };
}

function soonestOf(
  rates: readonly { readonly backlogLimit?: BacklogForecast }[],
): Pick<TypeRate, 'backlogLimit'> {
  const limited = rates.flatMap(({ backlogLimit }) => backlogLimit ?? []);
  return limited.length === 0 ? {} : { backlogLimit: limited.reduce(soonest) };
}

/** Returns the limit that is reached first; where none is, the fuller one. */
function soonest(a: BacklogForecast, b: BacklogForecast): BacklogForecast {
  const [ofA, ofB] = [a.reachedInMs ?? Infinity, b.reachedInMs ?? Infinity];
  if (ofA !== ofB) return ofA < ofB ? a : b;
  return a.events / a.limit >= b.events / b.limit ? a : b;
}

/** Time in ms, and value. */
export type Point = readonly [atMs: number, value: number];

/**
 * Returns the time that lies between the first and last value used, ms, and the change.
 * @param points oldest first
 * @param kind `delta`: end less start. `increase`: all rises, so that a counter may be set back
 */
export function changeOf(
  points: readonly Point[],
  kind: 'increase' | 'delta',
  windowMs: number,
): readonly [overMs: number, change: number] {
  const last = points.at(-1);
  if (!last) return [0, 0];
  const inside = points.findIndex(([atMs]) => atMs > last[0] - windowMs);
  const used = points.slice(Math.max(0, inside - 1));
  const first = used[0] as Point;
  const overMs = last[0] - first[0];
  if (kind === 'delta') return [overMs, last[1] - first[1]];
  let sum = 0;
  for (let i = 1; i < used.length; i++)
    sum += Math.max(0, (used[i] as Point)[1] - (used[i - 1] as Point)[1]);
  return [overMs, sum];
}
