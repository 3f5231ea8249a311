/**
 * The times of the trend: two steps, each with its bound. Samples are aligned to the clock of
 * Redis. Pure.
 */
import type { TrendStep } from '../redis/keys.ts';

export const MINUTE_MS = 60_000;
/** Longest time that a reader may look back, hours. */
export const MOST_HOURS = 72;
/** Most functions that have a trend of their own. Further functions have none. */
export const MOST_TREND_FUNCTIONS = 500;

const STEPS: Readonly<Record<TrendStep, { readonly minutes: number; readonly samples: number }>> = {
  '1m': { minutes: 1, samples: 180 },
  '10m': { minutes: 10, samples: 432 },
};

/** Most samples of a step that are kept: three hours of minutes, and 72 hours. */
export function keptSamples(step: TrendStep): number {
  return STEPS[step].samples;
}

/**
 * Returns the time between two samples, ms.
 * @param minuteMs length of a minute, ms: shorter in tests
 */
export function stepMs(step: TrendStep, minuteMs: number): number {
  return STEPS[step].minutes * minuteMs;
}

/** Returns the time that the samples of a step cover, ms. */
export function keptMs(step: TrendStep, minuteMs: number): number {
  return keptSamples(step) * stepMs(step, minuteMs);
}

/** Returns the last time of the step that is not behind `atMs`. */
export function alignedTo(atMs: number, everyMs: number): number {
  return Math.floor(atMs / everyMs) * everyMs;
}

/** Returns the step whose samples cover the time. */
export function stepFor(spanMs: number, minuteMs: number): TrendStep {
  return spanMs <= keptMs('1m', minuteMs) ? '1m' : '10m';
}
