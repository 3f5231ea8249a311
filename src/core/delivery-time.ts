import { wallClockMs } from './clock.ts';
import { InvalidEventError } from './errors.ts';

/**
 * When a scheduled event is to be appended: at a moment of the server's clock, or so many ms from
 * the moment it is scheduled.
 */
export interface When {
  readonly kind: 'time' | 'delay';
  readonly ms: number;
}

/** What callers say of it: at most one of the two. */
export interface Scheduling {
  readonly deliverAt?: number | Date | undefined;
  readonly delayMs?: number | undefined;
}

/** Scheduled events of a partition. */
export const MAX_SCHEDULED = 1_000_000;

/** Longest way ahead: ten years. */
const MAX_AHEAD_MS = 10 * 366 * 86_400_000;

/**
 * @returns null: now
 * @throws InvalidEventError
 */
export function whenOf(type: string, { deliverAt, delayMs }: Scheduling): When | null {
  if (deliverAt === undefined && delayMs === undefined) return null;
  if (deliverAt !== undefined && delayMs !== undefined)
    throw new InvalidEventError(type, 'deliverAt', 'give deliverAt or delayMs, not both');
  // Of another kind than its type says, null included, it is no time.
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
