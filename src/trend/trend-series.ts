/**
 * Lays samples out on a grid of equal steps, for charts. All is pure.
 *
 * Nothing is invented: a time without a sample has no value. A total gives a rate only where the
 * sample right before it exists, and no total was set back between both.
 */
import type { TrendFigures } from './trend-figures.ts';
import { setBackSince, type TrendSample } from './trend-sample.ts';
import { alignedTo } from './trend-times.ts';

export interface TrendSeries {
  /** Time between two points, ms. */
  readonly stepMs: number;
  /** Beginning of each point's step by the server's clock, ms since 1970, oldest first. */
  readonly times: readonly number[];
  /** By figure: a value for each time, in the figure's unit. Null: nothing is known. */
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface TrendGrid {
  /** Time of the first and the last point, ms since 1970: both are rounded down. */
  readonly fromMs: number;
  readonly toMs: number;
  /** Time between two samples, ms. */
  readonly everyMs: number;
  /** Most points: 2 at least. */
  readonly points: number;
}

/** Events per minute. */
const RATE_MS = 60_000;

/** @param samples oldest first, of one function or of the deployment */
export function seriesOfSamples(
  samples: readonly TrendSample[],
  figures: TrendFigures,
  { fromMs, toMs, everyMs, points }: TrendGrid,
): TrendSeries {
  const steps = Math.max(1, Math.ceil((toMs - fromMs) / everyMs / (points - 1)));
  const step = steps * everyMs;
  const lastMs = alignedTo(toMs, step);
  const firstMs = Math.max(alignedTo(fromMs, step), lastMs - (points - 1) * step);
  const times = Array.from(
    { length: Math.max(0, Math.round((lastMs - firstMs) / step) + 1) },
    (_, i) => firstMs + i * step,
  );
  const gathered = new Map<number, Record<string, number | null>[]>(times.map((at) => [at, []]));
  for (const [i, sample] of samples.entries()) {
    const before = samples[i - 1];
    const isNext = before !== undefined && sample.slotMs - before.slotMs === everyMs;
    const shown = shownValues(sample, isNext ? before : null, figures);
    gathered.get(alignedTo(sample.slotMs, step))?.push(shown);
  }
  const series = Object.entries(figures).map(([name, { kind }]) => {
    const values = [...gathered.values()].map((ofPoint) => {
      const known = ofPoint.map((one) => one[name] ?? null).filter((value) => value !== null);
      if (known.length === 0) return null;
      return kind === 'level' ? Math.max(...known) : meanOf(known);
    });
    return [name, values] as const;
  });
  return { stepMs: step, times, series: Object.fromEntries(series) };
}

/** @param before the sample right before. Null: it is missing */
function shownValues(
  sample: TrendSample,
  before: TrendSample | null,
  figures: TrendFigures,
): Record<string, number | null> {
  const setBack = before && setBackSince(before, sample, figures);
  const shown = Object.entries(figures).map(([name, { kind }]) => {
    const value = sample.values[name] ?? null;
    if (kind === 'level') return [name, value] as const;
    const earlier = before?.values[name] ?? null;
    if (before === null || setBack?.has(name) || value === null || earlier === null)
      return [name, null] as const;
    const overMs = sample.atMs - before.atMs;
    return [name, (Math.max(0, value - earlier) * RATE_MS) / overMs] as const;
  });
  return Object.fromEntries(shown);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
