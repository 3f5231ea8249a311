/** The figures of a lag report, and how those of several partitions add up. Pure. */
import { oldestOf, sumOf, type Age, type Bound, type BoundedCount } from './oldest.ts';

/** The events of a function in one state. */
export interface StateLag {
  readonly events: number;
  /** Absent: `events` is exact. */
  readonly eventsBound?: Bound;
  /**
   * Time since the arrival of the oldest of these events in its stream, by the server's clock, ms.
   * Null: there is none.
   */
  readonly oldestMs: number | null;
  /** Absent: `oldestMs` is exact. */
  readonly oldestBound?: Bound;
}

/** The events that are not settled, by state. An event is in one state. */
export interface LagStates {
  /** Not delivered yet. */
  readonly lag: StateLag;
  /** Delivered, and neither settled nor parked. */
  readonly pending: StateLag;
  /** Waiting for a retry, or behind such an event of the same subject. */
  readonly parked: StateLag;
  /**
   * Behind a dead letter of the same subject (`onDead: 'hold'`): these events run once the letter
   * is replayed or purged. The other figures count them as parked.
   */
  readonly held: StateLag;
}

export interface LagCounts {
  readonly appended: number;
  readonly done: number;
  /**
   * Events of `done` that did not run, because the function had settled their ids before
   * (`dedupe`).
   */
  readonly skipped: number;
  /** Parked events, including the held ones. */
  readonly parked: number;
  /** Dead events, including the purged ones: those have ended as dead too. */
  readonly dead: number;
  /** Events of `dead` whose letters were purged. */
  readonly purged: number;
  /** Events that are delivered, and neither settled nor parked. */
  readonly pending: number;
  /** Events that are not delivered yet. */
  readonly lag: number;
  /**
   * Age of the oldest event that waits and will run: of the states lag, pending and parked. By the
   * server's clock, ms. Null: there is none.
   */
  readonly oldestMs: number | null;
  /** Absent: `oldestMs` is exact. */
  readonly oldestBound?: Bound;
  readonly states: LagStates;
}

export interface TypeLag extends LagCounts {
  readonly type: string;
  readonly partition: number;
}

/** The events of a function, type and partition. */
export interface LagRow extends TypeLag {
  readonly fn: string;
  readonly conserved: boolean;
}

const LEAST: Age = { ms: 0, bound: 'at-least' };

/** Puts a state together. A state without events has no age. */
export function stateOf({ events, bound }: BoundedCount, age: Age | null): StateLag {
  const none = events === 0 && bound !== 'at-least';
  // An event that is counted, and not found, has come or gone between two looks.
  const missed = events > 0 && bound !== 'at-most' ? LEAST : null;
  return {
    events,
    ...(bound && { eventsBound: bound }),
    ...agedOf(none ? null : (age ?? missed)),
  };
}

/** Returns an age as a report shows it. */
export function agedOf(age: Age | null): Pick<LagCounts, 'oldestMs' | 'oldestBound'> {
  return { oldestMs: age?.ms ?? null, ...(age?.bound && { oldestBound: age.bound }) };
}

/** Returns the age of the oldest event that waits and will run. */
export function oldestWaiting({ lag, pending, parked }: LagStates): Age | null {
  return oldestOf([lag, pending, parked].map(ageIn));
}

/** Adds up the rows of a function. */
export function sumRows(rows: readonly LagCounts[]): LagCounts {
  const sum = (of: (row: LagCounts) => number): number =>
    rows.reduce((total, row) => total + of(row), 0);
  const state = (of: (states: LagStates) => StateLag): StateLag => {
    const states = rows.map((row) => of(row.states));
    const counted = sumOf(
      states.map(({ events, eventsBound }) => ({
        events,
        ...(eventsBound && { bound: eventsBound }),
      })),
    );
    return stateOf(counted, oldestOf(states.map(ageIn)));
  };
  return {
    appended: sum((row) => row.appended),
    done: sum((row) => row.done),
    skipped: sum((row) => row.skipped),
    parked: sum((row) => row.parked),
    dead: sum((row) => row.dead),
    purged: sum((row) => row.purged),
    pending: sum((row) => row.pending),
    lag: sum((row) => row.lag),
    ...agedOf(oldestOf(rows.map(ageIn))),
    states: {
      lag: state((states) => states.lag),
      pending: state((states) => states.pending),
      parked: state((states) => states.parked),
      held: state((states) => states.held),
    },
  };
}

function ageIn({ oldestMs, oldestBound }: Pick<LagCounts, 'oldestMs' | 'oldestBound'>): Age | null {
  return oldestMs === null ? null : { ms: oldestMs, ...(oldestBound && { bound: oldestBound }) };
}
