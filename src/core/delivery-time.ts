import { wallClockMs } from './clock.ts';
import { InvalidEventError } from './errors/input-errors.ts';

/**
 * Time at which a scheduled event is to be appended: a moment of the server's clock, or a delay
 * from the moment of scheduling. `ms` counts from 1970, or is the delay.
 */
export interface DeliveryTime {
  readonly kind: 'time' | 'delay';
  readonly ms: number;
}

/** Delivery time as callers give it: at most one of the two. */
export interface Scheduling {
  readonly deliverAt?: number | Date | undefined;
  readonly delayMs?: number | undefined;
}

/** Most scheduled events of a partition. */
export const MAX_SCHEDULED = 1_000_000;

/** Longest time ahead: ten years. */
const MAX_AHEAD_MS = 10 * 366 * 86_400_000;

/**
 * Reads the delivery time of an event of a type.
 * @returns null: now
 * @throws InvalidEventError for both fields at once, for no number, and beyond ten years
 */
export function whenOf(type: string, { deliverAt, delayMs }: Scheduling): DeliveryTime | null {
  if (deliverAt === undefined && delayMs === undefined) return null;
  if (deliverAt !== undefined && delayMs !== undefined)
    throw new InvalidEventError(type, 'deliverAt', 'give deliverAt or delayMs, not both');
  // A caller without types may give null or any other value: that is no time.
  const given: unknown = deliverAt === undefined ? delayMs : deliverAt;
  const ms =
    given instanceof Date && deliverAt !== undefined
      ? given.getTime()
      : typeof given === 'number'
        ? given
        : NaN;
  const ahead = deliverAt === undefined ? ms : ms - wallClockMs();
  if (!Number.isFinite(ms) || ms < 0 || ahead > MAX_AHEAD_MS) {
    throw new InvalidEventError(
      type,
      deliverAt === undefined ? 'delayMs' : 'deliverAt',
      deliverAt === undefined
        ? 'not a time in ms, ten years at most'
        : 'not a time in ms since 1970, ten years ahead at most',
    );
  }
  return { kind: deliverAt === undefined ? 'delay' : 'time', ms: Math.floor(ms) };
}
