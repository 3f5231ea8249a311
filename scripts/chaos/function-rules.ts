import type { FunctionRules } from '../../src/torture/run-record.ts';

/** More attempts than the longest fault takes: about three a second. */
export const HELD_ATTEMPTS = 1000;

/**
 * Rules of the functions in scripts/chaos/functions/. The view is left out: its rows are judged.
 */
export const RULES_OF_FUNCTIONS: readonly FunctionRules[] = [
  { name: 'keyed', on: ['test.event', 'test.other'], ordering: 'key', attempts: 3, batch: false },
  { name: 'loose', on: ['test.other'], ordering: 'none', attempts: 3, batch: false },
  { name: 'batched', on: ['test.event'], ordering: 'key', attempts: 3, batch: true },
  { name: 'emitted', on: ['test.third'], ordering: 'key', attempts: 3, batch: false },
  { name: 'once', on: ['test.twice'], ordering: 'key', attempts: 3, batch: false, dedupe: true },
  { name: 'later', on: ['test.later'], ordering: 'none', attempts: 3, batch: false },
  { name: 'held', on: ['test.held'], ordering: 'key', attempts: HELD_ATTEMPTS, batch: false },
];

/** The type of which a part is published twice, for the function with `dedupe`. */
export const TWICE = 'test.twice';

/** The type whose events are all scheduled. */
export const LATER = { file: 'later', type: 'test.later', delayMs: [100, 1500] } as const;

/** The type whose events fail while the sink says so, so that every fault meets parked lists. */
export const HELD = { file: 'held', type: 'test.held' } as const;

/**
 * `keyed` emits for events of one of its types before it follows the order. Emissions of a failed
 * attempt must not be seen.
 */
export const EMITS = { fn: 'keyed', on: 'test.other', type: 'test.third' } as const;

export interface PlannedEmission {
  readonly subject: string;
  readonly order: string;
}

/**
 * Returns the two emissions of an event. One has the event's own subject, so it goes to the own
 * partition, in the commit. The other has a subject that is in most cases elsewhere, so it goes
 * through the outbox.
 */
export function plannedEmissions(subject: string, number: number): readonly PlannedEmission[] {
  const order = number % 25 === 0 ? 'throw' : number % 10 === 3 ? 'throw-once' : 'ok';
  return [
    { subject, order },
    { subject: `to/${subject}`, order },
  ];
}

export const VIEW = { file: 'folded', name: 'folded@1' } as const;

export interface FoldedRow {
  readonly count: number;
  readonly last: number;
  /** Number of events folded behind an event with a higher number. */
  readonly disordered: number;
}
