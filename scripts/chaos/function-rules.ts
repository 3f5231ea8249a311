import type { FunctionRules } from '../../src/torture/history.ts';

/** What scripts/chaos/functions/ holds. */
export const RULES_OF_FUNCTIONS: readonly FunctionRules[] = [
  { name: 'keyed', on: ['test.event', 'test.other'], ordering: 'key', attempts: 3, batch: false },
  { name: 'loose', on: ['test.other'], ordering: 'none', attempts: 3, batch: false },
  { name: 'batched', on: ['test.event'], ordering: 'key', attempts: 3, batch: true },
];
