/**
 * The age of the oldest event, where not all events can be looked at. Pure: parked-ages.ts and
 * partition-lag.ts read the facts.
 */

/**
 * A figure without a bound is exact.
 * - `at-least`: the true figure may be larger
 * - `at-most`: the true figure may be smaller
 */
export type Bound = 'at-least' | 'at-most';

export interface Age {
  readonly ms: number;
  /** Absent: `ms` is exact. */
  readonly bound?: Bound;
}

/** Arrival of the oldest event of several, ms since 1970. `bound` is that of its age. */
export interface Arrival {
  readonly atMs: number;
  readonly bound?: Bound;
}

/** The facts that a look at one parked list gives. */
export interface ParkedUnit {
  /** Arrival before which no event of the list has arrived; null: not known. */
  readonly fromMs: number | null;
  /** Whether older events may stand behind younger ones. */
  readonly unordered: boolean;
  /** Records of the list. */
  readonly length: number;
  /** Its first records; null for an unreadable one. */
  readonly records: readonly ({ readonly type: string; readonly atMs: number } | null)[];
}

/** Returns the age at `nowMs`. An event of the future says nothing about its age. */
export function ageOf({ atMs, bound }: Arrival, nowMs: number): Age {
  if (atMs > nowMs) return { ms: 0, bound: 'at-least' };
  return { ms: nowMs - atMs, ...(bound && { bound }) };
}

/** Returns the largest of the ages, and the bound of that; null without ages. */
export function oldestOf(ages: readonly (Age | null)[]): Age | null {
  let [least, most, open] = [-1, -1, false];
  for (const age of ages) {
    if (age === null) continue;
    most = Math.max(most, age.ms);
    if (age.bound !== 'at-most') least = Math.max(least, age.ms);
    open ||= age.bound === 'at-least';
  }
  if (most < 0) return null;
  if (least < most)
    return open ? { ms: Math.max(least, 0), bound: 'at-least' } : { ms: most, bound: 'at-most' };
  // An age of which only a lower bound is known may be the largest.
  return open ? { ms: least, bound: 'at-least' } : { ms: least };
}

/** The units that were looked at, and the rest. */
export interface Look {
  readonly units: readonly ParkedUnit[];
  /** Arrival before which no event of the other units has arrived; Infinity: there are none. */
  readonly restFromMs: number;
  /** Whether `restFromMs` holds for all other units. */
  readonly complete: boolean;
}

/**
 * Finds the oldest event of a type in parked lists.
 * @param type null: all events are of one type
 * @returns null: none was found, and none can be anywhere else
 */
export function oldestParked(
  { units, restFromMs, complete }: Look,
  type: string | null,
): Arrival | null {
  let [found, unseen, known] = [Infinity, restFromMs, complete];
  for (const unit of units) {
    for (const record of unit.records)
      if (record !== null && (type === null || record.type === type))
        found = Math.min(found, record.atMs);
    const from = unseenFrom(unit);
    if (from === null) known = false;
    else unseen = Math.min(unseen, from);
  }
  if (!known) return { atMs: found, bound: 'at-least' };
  if (found === Infinity && unseen === Infinity) return null;
  return found <= unseen ? { atMs: found } : { atMs: unseen, bound: 'at-most' };
}

/** Returns the time before which no unseen record of the list has arrived; null: unknown. */
function unseenFrom({ fromMs, unordered, length, records }: ParkedUnit): number | null {
  if (records.length >= length && !records.includes(null)) return Infinity;
  if (fromMs === null || unordered) return fromMs;
  const last = records.at(-1);
  return records.includes(null) ? fromMs : Math.max(fromMs, last?.atMs ?? fromMs);
}

export interface BoundedCount {
  readonly events: number;
  /** Absent: `events` is exact. */
  readonly bound?: Bound;
}

/** Adds counts up. All bounds among them must be of one kind. */
export function sumOf(counts: readonly BoundedCount[]): BoundedCount {
  const events = counts.reduce((sum, one) => sum + one.events, 0);
  const bound = counts.find((one) => one.bound !== undefined)?.bound;
  return { events, ...(bound && { bound }) };
}

/**
 * Counts the events of a type in parked lists.
 * @param type null: all events are of one type
 * @param complete whether `units` has all units
 */
export function countParked(
  units: readonly ParkedUnit[],
  type: string | null,
  complete: boolean,
): BoundedCount {
  let [events, exact] = [0, complete];
  for (const { length, records } of units) {
    if (type === null) events += length;
    else {
      events += records.filter((record) => record?.type === type).length;
      exact &&= records.length >= length && !records.includes(null);
    }
  }
  return exact ? { events } : { events, bound: 'at-least' };
}
