import { createHash } from 'node:crypto';

/**
 * Id of what an event emits, where the function gives none: computed a second time here, because
 * ids must never change.
 */
export const emittedId = (cause: string, fn: string, index: number): string =>
  `${createHash('sha256').update(`${cause}\0${fn}`).digest('hex').slice(0, 32)}-${index.toString(36)}`;
