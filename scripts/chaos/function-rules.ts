import type { FunctionRules } from '../../src/torture/history.ts';

/** What scripts/chaos/functions/ holds, but for the view, which is judged by its rows. */
export const RULES_OF_FUNCTIONS: readonly FunctionRules[] = [
  { name: 'keyed', on: ['test.event', 'test.other'], ordering: 'key', attempts: 3, batch: false },
  { name: 'loose', on: ['test.other'], ordering: 'none', attempts: 3, batch: false },
  { name: 'batched', on: ['test.event'], ordering: 'key', attempts: 3, batch: true },
];

export const VIEW = { file: 'folded', name: 'folded@1' } as const;

export interface FoldedRow {
  readonly count: number;
  readonly last: number;
  /** Events folded behind one with a higher number. */
  readonly disordered: number;
}
