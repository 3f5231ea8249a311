import { createHash } from 'node:crypto';

/**
 * Returns the id of an emitted event where the function gives none. The formula stands here a
 * second time, because these ids must never change.
 */
export const emittedId = (cause: string, fn: string, index: number): string =>
  `${createHash('sha256').update(`${cause}\0${fn}`).digest('hex').slice(0, 32)}-${index.toString(36)}`;
