/** Waits for the end of a run's work. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Millrace } from '../../src/millrace.ts';
import { countOutboxes, countScheduled, readBooks } from '../../src/torture/end-state.ts';
import type { FunctionEnd } from '../../src/torture/run-record.ts';

const settled = (fn: FunctionEnd): boolean => fn.pending === 0 && fn.lag === 0 && fn.parked === 0;

/**
 * Looks twice. An event that left a schedule or an outbox between two looks may be in a stream that
 * was read before.
 */
async function isSettled(deployment: Millrace['deployment'], functions: number): Promise<boolean> {
  const first = await readBooks(deployment);
  if (first.length < functions || !first.every(settled)) return false;
  if ((await countScheduled(deployment)) > 0 || (await countOutboxes(deployment)) > 0) return false;
  const second = await readBooks(deployment);
  return second.every(
    (fn) =>
      settled(fn) &&
      first.some(({ name, appended }) => name === fn.name && appended === fn.appended),
  );
}

/**
 * Waits until everything is settled.
 * @returns the time since `healedMs`, ms; null: longer than `boundMs`
 */
export async function drain(
  service: Millrace,
  healedMs: number,
  boundMs: number,
  functions: number,
): Promise<number | null> {
  for (;;) {
    if (await isSettled(service.deployment, functions))
      return Math.round(performance.now() - healedMs);
    if (performance.now() - healedMs > boundMs) return null;
    await delay(60);
  }
}
