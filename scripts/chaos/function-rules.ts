import type { FunctionRules } from '../../src/torture/run-record.ts';

/** More than the longest fault takes: about three a second. */
export const HELD_ATTEMPTS = 1000;

/** What scripts/chaos/functions/ holds, but for the view, which is judged by its rows. */
export const RULES_OF_FUNCTIONS: readonly FunctionRules[] = [
  { name: 'keyed', on: ['test.event', 'test.other'], ordering: 'key', attempts: 3, batch: false },
  { name: 'loose', on: ['test.other'], ordering: 'none', attempts: 3, batch: false },
  { name: 'batched', on: ['test.event'], ordering: 'key', attempts: 3, batch: true },
  { name: 'emitted', on: ['test.third'], ordering: 'key', attempts: 3, batch: false },
  { name: 'once', on: ['test.twice'], ordering: 'key', attempts: 3, batch: false, dedupe: true },
  { name: 'later', on: ['test.later'], ordering: 'none', attempts: 3, batch: false },
  { name: 'held', on: ['test.held'], ordering: 'key', attempts: HELD_ATTEMPTS, batch: false },
];

/** Published twice in part, for the function with `dedupe`. */
export const TWICE = 'test.twice';

/** Scheduled, all of them. */
export const LATER = { file: 'later', type: 'test.later', delayMs: [100, 1500] } as const;

/** Fails while the sink says so: every fault meets parked lists. */
export const HELD = { file: 'held', type: 'test.held' } as const;

/**
 * `keyed` emits for events of one of its types, before it does as ordered: what it emits where it
 * then fails must not be seen.
 */
export const EMITS = { fn: 'keyed', on: 'test.other', type: 'test.third' } as const;

export interface PlannedEmission {
  readonly subject: string;
  readonly order: string;
}

/**
 * Two: one to the own subject, so to the own partition and in the commit; one to a subject in most
 * cases elsewhere, through the outbox.
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
  /** Events folded behind one with a higher number. */
  readonly disordered: number;
}
