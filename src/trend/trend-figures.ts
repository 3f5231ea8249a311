/**
 * The figures of a sample, in the order in which they are stored. A new figure goes to the end: a
 * sample without it is older. The table in docs/operations.md is printed from here.
 */
export interface TrendFigure {
  /**
   * - `count`: a total that rises. Readers get its growth per minute.
   * - `level`: readers get the highest value of a step.
   */
  readonly kind: 'count' | 'level';
  /** Whether the total may fall although nothing was set back: a replay takes dead events off. */
  readonly falls?: boolean;
  /** Whether the total is set back apart from the others. Those are set back together. */
  readonly alone?: boolean;
  /** Unit that readers get. */
  readonly unit: string;
  readonly text: string;
}

export type TrendFigures = Readonly<Record<string, TrendFigure>>;

const PER_MINUTE = 'events/min';

export const FUNCTION_FIGURES = {
  appended: { kind: 'count', unit: PER_MINUTE, text: 'events appended for the function' },
  done: { kind: 'count', unit: PER_MINUTE, text: 'events that became done' },
  skipped: {
    kind: 'count',
    unit: PER_MINUTE,
    text: 'done events that did not run, because their ids were settled before',
  },
  died: {
    kind: 'count',
    falls: true,
    unit: PER_MINUTE,
    text: 'events that died, less those replayed; 0 where more were replayed',
  },
  lag: { kind: 'level', unit: 'events', text: 'events not delivered yet' },
  pending: { kind: 'level', unit: 'events', text: 'events delivered and not settled' },
  parked: { kind: 'level', unit: 'events', text: 'events that wait for a retry, held ones too' },
  held: { kind: 'level', unit: 'events', text: 'events behind a dead letter of their subject' },
  dead: { kind: 'level', unit: 'events', text: 'dead events whose letters are kept' },
  oldestMs: { kind: 'level', unit: 'ms', text: 'age of the oldest event that waits and will run' },
} as const satisfies TrendFigures;

export const DEPLOYMENT_FIGURES = {
  appended: { kind: 'count', alone: true, unit: PER_MINUTE, text: 'events appended, of all types' },
  done: { kind: 'count', unit: PER_MINUTE, text: 'events that became done, of all functions' },
  died: {
    kind: 'count',
    falls: true,
    unit: PER_MINUTE,
    text: 'events that died in all functions, less those replayed',
  },
  waiting: {
    kind: 'level',
    unit: 'events',
    text: 'events in lag, pending or parked, of all functions',
  },
  usedBytes: { kind: 'level', unit: 'bytes', text: 'used memory of all masters' },
  limitBytes: {
    kind: 'level',
    unit: 'bytes',
    text: 'their `maxmemory`, or the memory of their machines',
  },
  dispatchers: { kind: 'level', unit: 'dispatchers', text: 'dispatchers that serve functions' },
  threads: { kind: 'level', unit: 'threads', text: 'threads of their pools' },
  busy: { kind: 'level', unit: 'threads', text: 'threads that had a batch at the look' },
} as const satisfies TrendFigures;

/** Values of a sample, by figure. Null: the value is not known. */
export type TrendValues<F extends TrendFigures> = Readonly<Record<keyof F & string, number | null>>;
