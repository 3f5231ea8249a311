/**
 * Rates of the functions, from readings of their lag: arrival, service, time to drain, and time
 * until a backlog limit is reached. Pure. The readings come from readLag, one after the other.
 */
import type { FunctionLag, LagReport } from './lag.ts';
import type { TypeLag } from './lag-counts.ts';

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

export interface TypeRate extends Rate {
  readonly type: string;
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
    if (!earlier || !goesOn(earlier, later)) break;
    [later, from] = [earlier, reading];
  }
  const windowMs = (last.nowMs ?? 0) - (from.nowMs ?? 0);
  if (windowMs <= 0) return null;
  const types = [...new Set(fn.types.map((row) => row.type))].map((type) => {
    const of = ({ types }: FunctionLag): TypeLag[] => types.filter((row) => row.type === type);
    const max = limits.maxBacklogs.get(type);
    const rows = { before: of(later), after: of(fn) };
    const backlogLimit =
      max === undefined
        ? undefined
        : forecast(rows.before, rows.after, { max, partitions: limits.partitions, windowMs });
    return {
      type,
      ...between(rows.before, rows.after, windowMs),
      ...(backlogLimit && { backlogLimit }),
    };
  });
  const limited = types.flatMap(({ backlogLimit }) => backlogLimit ?? []);
  return {
    ...between(later.types, fn.types, windowMs),
    types,
    ...(limited.length > 0 && { backlogLimit: limited.reduce(soonest) }),
  };
}

/** Whether a function's counts go on from those of an earlier reading. A rewind sets them anew. */
function goesOn(earlier: FunctionLag, later: FunctionLag): boolean {
  return (
    earlier.types.length === later.types.length &&
    later.types.every((row, i) => {
      const before = earlier.types[i];
      return (
        before !== undefined &&
        before.type === row.type &&
        before.partition === row.partition &&
        before.appended <= row.appended &&
        before.done <= row.done
      );
    })
  );
}

function between(before: readonly TypeLag[], after: readonly TypeLag[], windowMs: number): Rate {
  const sum = (rows: readonly TypeLag[], of: (row: TypeLag) => number): number =>
    rows.reduce((total, row) => total + of(row), 0);
  const perSecond = (of: (row: TypeLag) => number): number =>
    (1000 * (sum(after, of) - sum(before, of))) / windowMs;
  const arrivalPerSecond = perSecond((row) => row.appended);
  // A replay takes its event off the dead ones, and so the difference may be below zero.
  const settled = perSecond((row) => row.done + row.dead);
  const waiting = sum(after, ({ lag, pending, states }) => lag + pending + states.parked.events);
  return {
    windowMs,
    arrivalPerSecond,
    servicePerSecond: Math.max(0, settled),
    drainMs: drainMsOf(waiting, settled - arrivalPerSecond),
  };
}

function drainMsOf(events: number, perSecond: number): number | null {
  if (events === 0) return 0;
  return perSecond > 0 ? Math.round((1000 * events) / perSecond) : null;
}

interface Limit {
  /** Events of the whole limit. */
  readonly max: number;
  readonly partitions: number;
  readonly windowMs: number;
}

function forecast(
  before: readonly TypeLag[],
  after: readonly TypeLag[],
  { max, partitions, windowMs }: Limit,
): BacklogForecast | undefined {
  const limit = Math.ceil(max / partitions);
  const behind = ({ lag, pending }: TypeLag): number => lag + pending;
  const forecasts = after.map((row, i) => {
    const events = behind(row);
    const grown = events - behind(before[i] as TypeLag);
    const left = limit - events;
    const growsInMs = grown > 0 ? Math.round((left * windowMs) / grown) : null;
    const { type, partition } = row;
    return { type, partition, events, limit, reachedInMs: left <= 0 ? 0 : growsInMs };
  });
  // Nobody publishes to partitions that the deployment does not have.
  const served = forecasts.filter(({ partition }) => partition < partitions);
  return served.length === 0 ? undefined : served.reduce(soonest);
}

/** Returns the limit that is reached first; where none is, the fuller one. */
function soonest(a: BacklogForecast, b: BacklogForecast): BacklogForecast {
  const [ofA, ofB] = [a.reachedInMs ?? Infinity, b.reachedInMs ?? Infinity];
  if (ofA !== ofB) return ofA < ofB ? a : b;
  return a.events / a.limit >= b.events / b.limit ? a : b;
}
