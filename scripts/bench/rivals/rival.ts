/** The parts that all rivals share: what they are given, and what they tell. */
import { note, type Order, type Seen } from '../order.ts';

export interface RivalTask {
  /** Path of the server's socket, or its address. */
  readonly server: string;
  readonly events: number;
  /** Number of jobs under way at once; only where the rival has such a setting. */
  readonly concurrency: number;
}

export interface RivalRun {
  readonly events: number;
  readonly ms: number;
  readonly seen: Seen;
}

/** A rival publishes orders in one process, and works through them in another. */
export interface Rival {
  publish(task: RivalTask): Promise<RivalRun>;
  drain(task: RivalTask): Promise<RivalRun>;
}

/** Number of events of a pipeline and of a read. */
export const BATCH = 500;
export const STREAM = 'orders';
export const GROUP = 'workers';

export function nothingSeen(): Seen {
  return { count: 0, sum: 0, mixed: 0 };
}

export function noteOrder(seen: Seen, order: unknown): void {
  note(seen, (order as Order).number);
}

/**
 * Calls `send` with the numbers of each batch in turn.
 * @returns the time that it took, ms
 */
export async function inBatches(
  events: number,
  size: number,
  send: (from: number, to: number) => Promise<void>,
): Promise<number> {
  const began = performance.now();
  for (let from = 0; from < events; from += size) await send(from, Math.min(events, from + size));
  return performance.now() - began;
}
