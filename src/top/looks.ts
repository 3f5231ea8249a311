/** The looks of `millrace top` so far, and the rates between them. No server, no terminal. */
import { flowBetween, goesOn } from '../lag/rates.ts';
import type { FunctionSample, TopSample } from './sample.ts';

/** Looks that the trends keep. */
const KEPT = 240;

/** Values of one function over time, the newest last. */
export interface Series {
  /**
   * Events appended for the function, and settled by it, a second. They begin anew where its counts
   * were set back.
   */
  readonly inRate: readonly number[];
  readonly outRate: readonly number[];
  readonly lag: readonly number[];
  /** Age of the oldest event that is not settled, ms. */
  readonly ageMs: readonly number[];
}

export interface TopModel {
  /** Null: there was no look yet. */
  readonly sample: TopSample | null;
  readonly series: ReadonlyMap<string, Series>;
  /** Reason why the last look failed. Null: it did not. */
  readonly problem: string | null;
}

export const NO_LOOK: TopModel = { sample: null, series: new Map(), problem: null };
const NO_SERIES: Series = { inRate: [], outRate: [], lag: [], ageMs: [] };

/** Adds a look. Functions that are gone lose their series. */
export function withSample(model: TopModel, sample: TopSample): TopModel {
  const before = new Map(model.sample?.functions.map((fn) => [fn.name, fn]));
  const overMs = model.sample === null ? 0 : sample.atMs - model.sample.atMs;
  const series = new Map<string, Series>();
  for (const fn of sample.functions)
    series.set(fn.name, extended(model.series.get(fn.name) ?? NO_SERIES, fn, before, overMs));
  return { sample, series, problem: null };
}

/** Notes that a look failed. The last one stays. */
export function withProblem(model: TopModel, problem: string): TopModel {
  return { ...model, problem };
}

export function seriesOf(model: TopModel, fn: string): Series {
  return model.series.get(fn) ?? NO_SERIES;
}

/** Returns the newest value; null without one. */
export function newest(values: readonly number[]): number | null {
  return values.at(-1) ?? null;
}

function extended(
  { inRate, outRate, lag, ageMs }: Series,
  fn: FunctionSample,
  before: ReadonlyMap<string, FunctionSample>,
  overMs: number,
): Series {
  const last = before.get(fn.name);
  return {
    ...(last && overMs > 0 ? rates({ inRate, outRate }, last, fn, overMs) : { inRate, outRate }),
    lag: pushed(lag, waiting(fn)),
    ageMs: pushed(ageMs, fn.oldestMs ?? 0),
  };
}

function rates(
  { inRate, outRate }: Pick<Series, 'inRate' | 'outRate'>,
  last: FunctionSample,
  fn: FunctionSample,
  overMs: number,
): Pick<Series, 'inRate' | 'outRate'> {
  if (!goesOn(last, fn)) return { inRate: [], outRate: [] };
  const { arrivalPerSecond, servicePerSecond } = flowBetween([last], [fn], overMs);
  return {
    inRate: pushed(inRate, arrivalPerSecond),
    outRate: pushed(outRate, servicePerSecond),
  };
}

function pushed(values: readonly number[], value: number): readonly number[] {
  return [...values, value].slice(-KEPT);
}

/** Events that are not settled. */
export function waiting({ lag, pending, parked }: FunctionSample): number {
  return lag + pending + parked;
}
