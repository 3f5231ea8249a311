import { StoreInputError } from './store-errors.ts';

/**
 * What an append expects of its history: so many events, none ('no-stream', the same as 0), at
 * least one ('stream-exists'), or nothing in particular ('any').
 */
export type ExpectedRevision = number | 'no-stream' | 'stream-exists' | 'any';

/** As append-history.lua takes it. */
const ANY = 0xffff_ffff;
const EXISTS = 0xffff_fffe;

/** @throws StoreInputError for what is none */
export function encodeExpected(expected: ExpectedRevision): number {
  switch (expected) {
    case 'any':
      return ANY;
    case 'stream-exists':
      return EXISTS;
    case 'no-stream':
      return 0;
    default:
      if (!Number.isInteger(expected) || expected < 0 || expected >= EXISTS) {
        throw new StoreInputError(
          'expectedRevision',
          `must be a whole number from 0, 'no-stream', 'stream-exists' or 'any', it is ${String(expected)}`,
        );
      }
      return expected;
  }
}

/**
 * Whether a history of so many events is where it is expected to be: what append-history.lua
 * decides.
 */
export function meets(expected: ExpectedRevision, actual: number): boolean {
  const wanted = encodeExpected(expected);
  return wanted === ANY || (wanted === EXISTS ? actual > 0 : actual === wanted);
}
