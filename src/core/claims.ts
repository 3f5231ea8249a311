/**
 * Claims on the batches of one message, in shared memory. The thread claims each batch before it
 * runs it. The dispatcher takes batches back where the thread is stuck in an earlier one.
 *
 * One Int32 per batch. A batch goes to the side that changes its claim first.
 */
const OPEN = 0;
const TAKEN = 1;
const REVOKED = 2;

export function createClaims(batches: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(batches * Int32Array.BYTES_PER_ELEMENT));
}

/** For the thread. @returns whether it may run the batch */
export function claim(claims: Int32Array, batch: number): boolean {
  return Atomics.compareExchange(claims, batch, OPEN, TAKEN) === OPEN;
}

/** For the dispatcher. @returns whether the thread will not run the batch */
export function revoke(claims: Int32Array, batch: number): boolean {
  return Atomics.compareExchange(claims, batch, OPEN, REVOKED) === OPEN;
}

/** Index of the batch that the thread runs, or has run last. -1: none so far. */
export function lastClaimed(claims: Int32Array): number {
  let batch = claims.length - 1;
  while (batch >= 0 && Atomics.load(claims, batch) !== TAKEN) batch--;
  return batch;
}
