/**
 * An append's expectation of its history: a number of events, none ('no-stream', the same as 0), at
 * least one ('stream-exists'), or nothing in particular ('any').
 */
export type ExpectedRevision = number | 'no-stream' | 'stream-exists' | 'any';

/**
 * Whether a history of `actual` events meets the expectation. append-history.lua decides the same.
 */
export function meets(expected: ExpectedRevision, actual: number): boolean {
  switch (expected) {
    case 'any':
      return true;
    case 'stream-exists':
      return actual > 0;
    case 'no-stream':
      return actual === 0;
    default:
      return actual === expected;
  }
}
